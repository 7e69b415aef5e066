"""Verifying one transcript from its folder to its findings: reading, the initial state, and drawn segments replayed.

Cheap checks on everything, dear ones on a draw. The steps, in their order:

1. Open: signatures, the opening, the code tree; what does not open has failed, and nothing else is looked at.
2. Read: journal, environment, receipts, the log (:mod:`.reading`).
3. Rebuild the state before step 1 from the seed (:func:`.verify.check_initial_state`).
4. Draw segments, and replay them in a sandbox (:mod:`.drawn_segments`, :mod:`.replay`).
5. Compare what the replay wrote out with what was committed (:func:`.verify.compare_replay`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.drawn_segments import draw_segments
from weighbridge.mechanisms.transcript.merging import group_of
from weighbridge.mechanisms.transcript.parents import parent_anchor
from weighbridge.mechanisms.transcript.plans import plan_segments, segments_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import (
    check_environment,
    check_initial_state,
    check_journal,
    check_log,
    check_receipts,
    compare_replay,
)

__all__ = ["Request", "Verification", "verify_run"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a verifier has at hand, and what it is willing to spend.

    Attributes:
        seed: seed of the draw (bytes).
        roots: whom to trust; without them no signature is checked.
        logged: statements of the log, verified; None if no log is at hand.
        segments: segments to replay; None for all.
        budget: steps to replay at most; None for no limit.
        data: training data as handed over, if not at its committed path.
        parent: transcript of the run with whose final weights this one began.
        core: processor to replay on.
    """

    seed: bytes
    roots: TrustRoots | None = None
    logged: Sequence[Statement] | None = None
    segments: int | None = None
    budget: int | None = None
    data: Path | None = None
    parent: Path | None = None
    core: int | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found.

    Attributes:
        run: the run's id; its folder's name where the transcript cannot be opened.
        segments: segments that the run has.
        drawn: stretches replayed, first and last step of each.
        findings: every check made, passed or not, and each that could not be made.
    """

    run: str
    segments: int
    drawn: tuple[tuple[int, int], ...]
    findings: tuple[Finding, ...]

    @property
    def steps(self) -> int:
        """Steps replayed."""
        return sum(until - start for start, until in self.drawn)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {
            "run": self.run,
            "segments": self.segments,
            "drawn": [list(stretch) for stretch in self.drawn],
            "steps": self.steps,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def verify_run(folder: Path, request: Request, *, tell: Callable[[str], None] = lambda sentence: None) -> Verification:
    """Verifies the transcript in a folder.

    Args:
        folder: the run's folder.
        request: what is at hand, and what may be spent.
        tell: told, in a few words, what takes long.

    Raises:
        InputError: the request cannot be followed.
    """
    try:
        transcript = Transcript.open(folder, request.roots)
    except EvidenceError as error:
        fault = _fault("open", folder.name, Outcome.FAIL, f"the transcript cannot be opened: {error}")
        return Verification(run=folder.name, segments=0, drawn=(), findings=(fault,))
    return _Verifier(transcript, request, tell).verify()


class _Verifier:
    """One verification under way."""

    def __init__(self, transcript: Transcript, request: Request, tell: Callable[[str], None]) -> None:
        self._transcript, self._request, self._tell = transcript, request, tell
        self._findings: list[Finding] = []

    def verify(self) -> Verification:
        """Makes every check."""
        every: list[Leg] = []
        chosen: list[Leg] = []
        try:
            self._read()
            parent = self._parent()
            every = segments_of(self._transcript)
            self._initial(parent)
            chosen = self._draw(every)
            if chosen:
                self._replay(chosen, parent)
            if not all(leg in chosen for leg in every):
                self._note_share(chosen, every)
        except EvidenceError as error:
            self._note("open", Outcome.FAIL, f"the transcript cannot be opened: {error}")
        return Verification(
            run=self._transcript.run,
            segments=len(every),
            drawn=tuple((leg.start, leg.until) for leg in chosen),
            findings=tuple(self._findings),
        )

    def _note(self, check: str, outcome: Outcome, reason: str) -> None:
        self._findings.append(_fault(check, self._transcript.run, outcome, reason))

    def _read(self) -> None:
        """Makes the checks that need no replay."""
        transcript, roots, logged = self._transcript, self._request.roots, self._request.logged
        self._findings += [*check_journal(transcript), check_environment(transcript)]
        if roots is not None and roots.log_key is not None:
            self._findings.append(check_receipts(transcript, roots.log_key))
        if logged is not None:
            self._findings.append(check_log(transcript, logged))

    def _parent(self) -> Path | None:
        """Returns the file of the parent's final state, and notes that the parent itself was not verified here."""
        named = self._transcript.contents.get("parent")
        if not named:
            return None
        run = named["run"][:16]
        if self._request.parent is None:
            reason = f"it begins with the weights of run {run}, which was not shown: name it with --parent"
            self._note("parent", Outcome.INCONCLUSIVE, reason)
            return None
        anchor = parent_anchor(self._transcript, Transcript.open(self._request.parent, self._request.roots))
        reason = f"it begins with the final state of run {run}, as both committed; that run has to be verified too"
        self._note("parent", Outcome.PASS, reason)
        return anchor

    def _initial(self, parent: Path | None) -> None:
        if not self._transcript.observed:  # its replay begins at the beginning, and compares the initial state too
            self._tell("rebuilding the initial state from the seed …")
        self._findings.append(check_initial_state(self._transcript, core=self._request.core, parent=parent))

    def _draw(self, every: Sequence[Leg]) -> list[Leg]:
        request = self._request
        return draw_segments(every, request.segments, request.budget, request.seed, digests=self._transcript.digests)

    def _replay(self, legs: Sequence[Leg], parent: Path | None) -> None:
        if (group := group_of(self._transcript)) is not None:
            reason = (
                f"it is rank {group.rank} of {group.world}, which make one run and are replayed together: merge them"
            )
            self._note("replay", Outcome.INCONCLUSIVE, f"{reason} (transcript merge), and verify the merged run")
            return
        if "spawner" in self._transcript.contents["config"]:
            reason = (
                "the program started this process itself, and it is no rank of a group: nothing starts it in a replay"
            )
            self._note("replay", Outcome.INCONCLUSIVE, reason)
            return
        plan = plan_segments(self._transcript, legs)
        self._tell(f"replaying {plan.steps} steps in a sandbox …")
        try:
            with replay(
                self._transcript,
                legs=plan.legs,
                captures=plan.captures,
                digests=plan.digests,
                data=self._request.data,
                parent=parent,
                core=self._request.core,
            ) as outcome:
                self._findings += compare_replay(self._transcript, outcome)
        except EvidenceError as error:
            self._note("replay", Outcome.FAIL, f"the run could not be replayed: {error}")
        except WeighbridgeError as error:
            self._note("replay", Outcome.INCONCLUSIVE, f"the run cannot be replayed here: {error}")

    def _note_share(self, chosen: Sequence[Leg], every: Sequence[Leg]) -> None:
        whole = sum(leg in every for leg in chosen)
        steps = sum(leg.until - leg.start for leg in chosen)
        self._findings.append(
            Finding(
                check="transcript.replay-share",
                subject=self._transcript.run,
                outcome=Outcome.INCONCLUSIVE,
                reason=f"{whole} of {len(every)} segments ({steps} of {self._transcript.reached} steps) were replayed;"
                f" one forged segment is missed with chance {1 - whole / len(every):.1%}",
                figure=whole / len(every),
                unit="share",
            )
        )


def _fault(check: str, subject: str, outcome: Outcome, reason: str) -> Finding:
    return Finding(check=f"transcript.{check}", subject=subject, outcome=outcome, reason=reason)
