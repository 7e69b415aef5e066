"""Declared windows: the stretches of a boot between the first and the last freeze that one run claims.

Only inside a window do declared steps cover time, and only there are freezes counted. A window begins and ends with a
claimed freeze and never reaches beyond, so nothing can be hidden free of charge at its edges: were it to reach to the
freeze before or after, whoever hides until a long gap has passed and is honest from then on would hide more than the
bound allows (three mean gaps pass without a freeze in 78 % of all runs of 25 mean gaps).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weighbridge.mechanisms.chip.record import ChipRecord

__all__ = ["Claims", "Window"]

Owner = tuple[str, int]
"""A run and the number of one of its segments: one process."""


@dataclass(frozen=True)
class Window:
    """One stretch of a boot.

    Attributes:
        owner: the run and segment that claim it.
        first: the first claimed sample.
        last: the last claimed sample.
        steps: replayed steps between the two.
        needed_s: CPU seconds that the verifier measured them to need.
    """

    owner: Owner
    first: ChipRecord
    last: ChipRecord
    steps: int
    needed_s: float

    def holds(self, record: ChipRecord) -> bool:
        """Returns whether a record of the same boot lies in it, edges included."""
        return self.first.sequence <= record.sequence <= self.last.sequence


class Claims:
    """What accepted runs say about one chip's records, and what audits found in them.

    Args:
        chip: chip id.
        audits: payloads of run audits; rejected ones and those committed for other chips claim nothing.
    """

    def __init__(self, chip: str, audits: Sequence[Mapping[str, Any]]) -> None:
        self._ranges: dict[int, list[tuple[int, int, Owner]]] = {}
        self._spans: dict[tuple[Owner, int], tuple[int, float]] = {}
        self._found: dict[tuple[str, int], Mapping[str, Any]] = {}
        self.runs: dict[str, Mapping[str, Any]] = {}
        for audit in audits:
            if not audit["accepted"] or chip not in audit["chips"]:
                continue
            run = audit["run"]
            self.runs[run] = audit
            for claim in audit["claims"]:
                if claim["chip"] == chip:
                    owner = (run, claim["segment"])
                    self._ranges.setdefault(claim["boot"], []).append((claim["first"], claim["last"], owner))
            for span in audit["spans"]:
                if span["chip"] == chip:
                    needed = span["steps"] * audit["step_cpu_s"]
                    self._spans[(run, span["segment"]), span["boot"]] = span["steps"], needed
            for record in audit["records"]:
                if record["chip"] == chip:
                    self._found.setdefault((run, record["sequence"]), record)

    def owners(self, record: ChipRecord) -> set[Owner]:
        """Returns who claims a record. One record, one process: two claims on it explain nothing."""
        ranges = self._ranges.get(record.boot, ())
        return {owner for first, last, owner in ranges if first <= record.sequence <= last}

    def found(self, run: str, record: ChipRecord) -> Mapping[str, Any] | None:
        """Returns what the audit of a run found in a record, if it was audited."""
        return self._found.get((run, record.sequence))

    def windows(self, samples: Sequence[ChipRecord]) -> Iterator[Window]:
        """Yields the windows of one boot, from its samples in order."""
        claimed: dict[Owner, list[ChipRecord]] = {}
        for sample in samples:
            for owner in sorted(self.owners(sample)):
                claimed.setdefault(owner, []).append(sample)
        for owner, mine in sorted(claimed.items()):
            steps, needed = self._spans.get((owner, mine[0].boot), (0, 0.0))
            # A window without length covers nothing, whatever the transcript says of steps.
            whole = len(mine) > 1
            yield Window(owner, mine[0], mine[-1], steps if whole else 0, needed if whole else 0.0)
