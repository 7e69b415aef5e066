"""Verifying one transcript from its folder to its findings: reading, the initial state, and drawn segments replayed.

Cheap checks on everything, dear ones on a draw. The steps, in their order:

1. Open: signatures, the opening, the code tree; what does not open has failed, and nothing else is looked at.
2. Read: journal, environment, receipts, the log (:mod:`.reading`).
3. Rebuild the state before step 1 from the seed (:func:`.verify.check_initial_state`).
4. Draw segments within a budget (:mod:`.selection`), and replay them in a sandbox (:mod:`.replay`).
5. Compare what the replay wrote out with what was committed (:func:`.verify.compare_replay`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.fan_out import replay_on
from weighbridge.mechanisms.transcript.parents import parent_anchor
from weighbridge.mechanisms.transcript.plans import plan_segments, segments_of
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.selection import Selection, select_replays
from weighbridge.mechanisms.transcript.spending import Account, Budget
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import (
    check_environment,
    check_initial_state,
    check_journal,
    check_log,
    check_receipts,
    compare_replay,
)
from weighbridge.mechanisms.transcript.workers import Workers

__all__ = ["Request", "Verification", "verify_run"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a verifier has at hand, and what it is willing to spend.

    Attributes:
        seed: seed of the draw (bytes), known to nobody before the transcript was handed over.
        roots: whom to trust; without them no signature is checked.
        logged: statements of the log, verified; None if no log is at hand.
        segments: segments to replay at most; None for all.
        budget: steps to replay at most, or a share of the run's compute; None for no limit.
        suspicion: how suspect a segment is, by its first step; raises no stated chance, and lowers it at most by half.
        data: training data as handed over, if not at its committed path.
        parent: transcript of the run with whose final weights this one began.
        core: processor to replay on.
        workers: where to replay each stretch by itself; None for one process here that walks them all.
    """

    seed: bytes
    roots: TrustRoots | None = None
    logged: Sequence[Statement] | None = None
    segments: int | None = None
    budget: Budget | int | None = None
    suspicion: Mapping[int, float] = field(default_factory=dict)
    data: Path | None = None
    parent: Path | None = None
    core: int | None = None
    workers: Workers | None = None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found.

    Attributes:
        run: the run's id; its folder's name where the transcript cannot be opened.
        segments: segments that the run has.
        drawn: stretches replayed, first and last step of each.
        findings: every check made, passed or not, and each that could not be made.
        selection: how they were drawn, and what that was worth; None where nothing could be opened.
        account: what was spent.
    """

    run: str
    segments: int
    drawn: tuple[tuple[int, int], ...]
    findings: tuple[Finding, ...]
    selection: Selection | None = None
    account: Account | None = None

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
            **(self.selection.as_dict() if self.selection is not None else {}),
            **({"spent": self.account.as_dict()} if self.account is not None else {}),
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
        self._account = Account.of(transcript)
        self._selection: Selection | None = None

    def verify(self) -> Verification:
        """Makes every check."""
        every: list[Leg] = []
        chosen: list[Leg] = []
        try:
            with self._account.timed("reading"):
                self._read()
            parent = self._parent()
            every = segments_of(self._transcript)
            with self._account.timed("initial state"):
                self._initial(parent)
            self._account.starts_s = self._account.entries["initial state"]
            selection = self._selection = self._draw(every)
            chosen = selection.draw.legs
            if chosen:
                with self._account.timed("replay", children=not self._spread):
                    self._replay(chosen, parent)
            if not selection.whole:
                self._findings.append(selection.finding(self._transcript))
        except EvidenceError as error:
            self._note("open", Outcome.FAIL, f"the transcript cannot be opened: {error}")
        return Verification(
            run=self._transcript.run,
            segments=len(every),
            drawn=tuple((leg.start, leg.until) for leg in chosen),
            findings=tuple(self._findings),
            selection=self._selection,
            account=self._account,
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

    def _draw(self, every: Sequence[Leg]) -> Selection:
        request = self._request
        return select_replays(
            self._transcript,
            every,
            seed=request.seed,
            segments=request.segments,
            budget=request.budget,
            account=self._account,
            suspicion=request.suspicion,
            each_starts=self._spread,
        )

    @property
    def _spread(self) -> bool:
        """Whether stretches are replayed each by itself: a program whose loop is its own has only one."""
        return self._request.workers is not None and not self._transcript.observed

    def _replay(self, legs: Sequence[Leg], parent: Path | None) -> None:
        try:
            with self._replayed(legs, parent) as outcome:
                if self._spread:
                    self._account.charge("replay", outcome.result.cpu_seconds)
                self._findings += compare_replay(self._transcript, outcome)
        except EvidenceError as error:
            self._note("replay", Outcome.FAIL, f"the run could not be replayed: {error}")
        except WeighbridgeError as error:
            self._note("replay", Outcome.INCONCLUSIVE, f"the run cannot be replayed here: {error}")

    def _replayed(self, legs: Sequence[Leg], parent: Path | None) -> AbstractContextManager[Replay]:
        request, plan = self._request, plan_segments(self._transcript, legs)
        self._tell(f"replaying {plan.steps} steps in a sandbox …")
        if request.workers is not None and self._spread:
            return replay_on(
                request.workers,
                self._transcript,
                legs=legs,
                digests=plan.digests,
                roots=request.roots,
                tell=self._tell,
                data=request.data,
                parent=parent,
            )
        return replay(
            self._transcript,
            legs=plan.legs,
            captures=plan.captures,
            digests=plan.digests,
            data=request.data,
            parent=parent,
            core=request.core,
        )


def _fault(check: str, subject: str, outcome: Outcome, reason: str) -> Finding:
    return Finding(check=f"transcript.{check}", subject=subject, outcome=outcome, reason=reason)
