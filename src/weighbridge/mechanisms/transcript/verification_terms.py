"""What a verification is asked to do, and what it found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.evidence.findings import Finding
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.chip_time import Chips
from weighbridge.mechanisms.transcript.selection import Selection
from weighbridge.mechanisms.transcript.spending import Account, Budget
from weighbridge.mechanisms.transcript.workers import Workers

__all__ = ["Request", "Verification"]


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
        from_the_beginning: replay a program with a loop of its own from its beginning to the last segment drawn, in
            place of walking to each without training.
        workers: where to replay each stretch by itself; None for one process here that walks them all.
        threads: threads to replay with in place of the recorded count.
        calibrate: folder to keep repeats in; where arithmetic differs, replays are then judged within their tolerance.
        sweep: share of the rows whose losses are looked at, where not every segment is replayed.
        chips: what the run was trained on, to hold its FLOP against; None where that is not known.
        before_s: CPU seconds that the verifier had spent on this run before, which a budgeted share counts too.
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
    from_the_beginning: bool = False
    workers: Workers | None = None
    threads: int | None = None
    calibrate: Path | None = None
    sweep: float = 0.01
    chips: Chips | None = None
    before_s: float = 0.0


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

    @property
    def share(self) -> float:
        """Share of the run's steps that was replayed; 0 where nothing could be drawn."""
        return self.steps / total if self.selection is not None and (total := self.selection.steps) else 0.0

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
