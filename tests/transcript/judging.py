"""How these tests judge a run: by the checks themselves, with replay in a fork where the sandbox is not the point."""

from collections.abc import Iterable
from typing import Any

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import check_initial_state, check_journal, compare_replay

from .world import Ended, World, without_sandbox

_ORDER = [Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL]


def replayed(ended: Ended, legs: list[Leg] | None = None, **options: Any) -> Finding:
    """Replays the whole run, or legs of it, and returns what the comparison says."""
    transcript = ended.open()
    walked = legs or [Leg(0, transcript.reached)]
    covered = {step for leg in walked for step in range(leg.start, leg.until + 1)}
    digests = covered & set(transcript.digests)
    with (
        without_sandbox(ended.project.world),
        replay(transcript, legs=walked, digests=digests, **options) as outcome,
    ):
        return next(f for f in compare_replay(transcript, outcome) if f.check == "transcript.replay")


def initial(ended: Ended) -> Finding:
    """Rebuilds the state before step 1 and returns what the check says."""
    with without_sandbox(ended.project.world):
        return check_initial_state(ended.open())


def worst(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Returns the worst finding of each check, by its name without the mechanism's."""
    found: dict[str, Finding] = {}
    for finding in findings:
        name = finding.check.removeprefix("transcript.")
        if name not in found or _ORDER.index(finding.outcome) > _ORDER.index(found[name].outcome):
            found[name] = finding
    return found


def read(transcript: Transcript) -> dict[str, Finding]:
    """Returns the worst finding of each check that needs no replay."""
    return worst(check_journal(transcript))


def failing(transcript: Transcript) -> list[str]:
    """Returns the checks that need no replay and fail, in their order."""
    return [f.check.removeprefix("transcript.") for f in check_journal(transcript) if f.outcome is Outcome.FAIL]


def held(world: World) -> list[Statement]:
    """Returns everything that the log holds, verified."""
    return [verify_statement(raw, world.roots) for _, raw in world.log.entries()]
