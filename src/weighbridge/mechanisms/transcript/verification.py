"""Verifying one transcript from its folder to its findings: reading, the initial state, and drawn segments replayed.

Cheap checks on everything, dear ones on a draw. The steps, in their order:

1. Open: signatures, the opening, the code tree; what does not open has failed, and nothing else is looked at.
2. Read: journal, environment, receipts, the log (:mod:`.reading`).
3. Rebuild the state before step 1 from the seed (:func:`.verify.check_initial_state`).
4. Make the cheap checks on everything (:mod:`.light`), which raise suspicion where something looks odd.
5. Draw segments, and replay them in a sandbox (:mod:`.drawn_segments`, :mod:`.replay`).
6. Compare what the replay wrote out with what was committed (:func:`.verify.compare_replay`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.calibration import calibrate, evidence_file, judge_within
from weighbridge.mechanisms.transcript.declared_flop import check_declared_flop, declared_flop
from weighbridge.mechanisms.transcript.drawn_segments import draw_segments
from weighbridge.mechanisms.transcript.initial_weights import check_initial_weights
from weighbridge.mechanisms.transcript.light import LightCheck, LightChecks, light_checks
from weighbridge.mechanisms.transcript.movement import check_movement
from weighbridge.mechanisms.transcript.parents import parent_anchor
from weighbridge.mechanisms.transcript.plans import plan_segments, segments_of
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.sweep import Sweep, Terms
from weighbridge.mechanisms.transcript.traces import check_traces
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
        threads: threads to replay with in place of the recorded count.
        calibrate: folder to keep repeats in; where arithmetic differs, replays are then judged within their tolerance.
        sweep: share of the rows whose losses are looked at, where not every segment is replayed.
    """

    seed: bytes
    roots: TrustRoots | None = None
    logged: Sequence[Statement] | None = None
    segments: int | None = None
    budget: int | None = None
    data: Path | None = None
    parent: Path | None = None
    core: int | None = None
    threads: int | None = None
    calibrate: Path | None = None
    sweep: float = 0.01


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
    if request.calibrate is not None:
        evidence_file(request.calibrate, transcript)  # before anything is spent
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
            light = self._light(every, parent)
            chosen = self._draw(every)
            if chosen:
                self._replay(chosen, parent, every)
            self._findings += light.findings
            if not all(leg in chosen for leg in every):
                self._findings += light.unreplayed
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

    def _light(self, every: Sequence[Leg], parent: Path | None) -> LightChecks:
        request = self._request
        checks: list[LightCheck] = [check_initial_weights, check_movement, check_traces]
        if request.sweep > 0 and (request.segments is not None or request.budget is not None):
            self._tell("sweeping over all segments with forward passes …")
            terms = Terms(share=request.sweep, seed=request.seed, data=request.data, parent=parent, core=request.core)
            checks.append(Sweep(terms))
        return light_checks(self._transcript, every, checks=checks)

    def _draw(self, every: Sequence[Leg]) -> list[Leg]:
        request = self._request
        return draw_segments(every, request.segments, request.budget, request.seed, digests=self._transcript.digests)

    def _replay(self, legs: Sequence[Leg], parent: Path | None, every: Sequence[Leg]) -> None:
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
                threads=self._request.threads,
                count_flop=not self._transcript.observed and declared_flop(self._transcript) is not None,
            ) as outcome:
                self._findings += self._compare(outcome, plan.legs, parent, every)
                self._findings += check_declared_flop(self._transcript, outcome)
        except EvidenceError as error:
            self._note("replay", Outcome.FAIL, f"the run could not be replayed: {error}")
        except WeighbridgeError as error:
            self._note("replay", Outcome.INCONCLUSIVE, f"the run cannot be replayed here: {error}")

    def _compare(
        self, outcome: Replay, walked: Sequence[Leg], parent: Path | None, every: Sequence[Leg]
    ) -> list[Finding]:
        """Compares bit for bit; within a tolerance only where arithmetic differs and the verifier measured it."""
        transcript, request = self._transcript, self._request
        found = compare_replay(transcript, outcome)
        differs = any(f.check == "transcript.replay-threads" for f in found)
        differs = differs or check_environment(transcript).outcome is not Outcome.PASS
        failed = any(f.check == "transcript.replay" and f.outcome is Outcome.FAIL for f in found)
        if request.calibrate is None or not (differs and failed):
            return found
        self._tell("calibrating: replaying other segments in several configurations …")
        try:
            calibration = calibrate(
                transcript,
                every,
                walked,
                threads=outcome.threads,
                seed=request.seed,
                evidence=request.calibrate,
                data=request.data,
                parent=parent,
                core=request.core,
            )
        except WeighbridgeError as error:
            self._note("calibration", Outcome.INCONCLUSIVE, f"no tolerance could be measured: {error}")
            return found
        found = [finding for finding in found if finding.check != "transcript.replay"]
        return found + judge_within(transcript, outcome, walked, calibration)

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
