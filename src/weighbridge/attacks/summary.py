"""Rows of the table, from its trials: how often an attack was caught, and what it cost both sides."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from weighbridge.attacks.table import Line, newest
from weighbridge.attacks.trial import Attack, Control
from weighbridge.statistics import clopper_pearson_upper

__all__ = ["Row", "interval", "summarise"]

_ALPHA: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Row:
    """What all trials of one attack, or of one honest control, came to.

    Attributes:
        name: of the attack or control.
        what: what it does.
        source: the paper; empty for a control.
        expected: the check that should catch it; None where nothing does, and for a control.
        detected: trials in which a check failed.
        seeds: trials counted, one a seed; 0 where none was run here.
        rate: detected over seeds; None where none was run.
        low, high: interval of the rate, two-sided, 95 % (Clopper and Pearson 1934); None where none was run.
        caught_by: checks that failed, most frequent first.
        adversary_cost: median over trials, as a share of honest training; None for a control.
        verifier_cost: median over trials: steps replayed as a share of the run's.
        reproduced: trials in which the attack succeeded against its original target; None where it has none.
        original: what was seen there, in the newest trial.
        errors: trials that ended in an error and count for nothing.
        present: trials of the counted that were run with the present sources.
        commits: commits of the counted trials.
        machines: machines of the counted trials.
    """

    name: str
    what: str
    source: str
    expected: str | None
    detected: int
    seeds: int
    rate: float | None
    low: float | None
    high: float | None
    caught_by: tuple[str, ...]
    adversary_cost: float | None
    verifier_cost: float | None
    reproduced: int | None
    original: str
    errors: int
    present: int
    commits: tuple[str, ...]
    machines: tuple[str, ...]

    @property
    def wrong(self) -> str:
        """What is not as it should be, in words; empty where all is, or nothing was run."""
        if self.errors:
            return f"{self.errors} trials ended in an error"
        if self.reproduced is not None and self.reproduced < self.seeds:
            return f"failed against its own target in {self.seeds - self.reproduced} trials: a weak copy"
        if self.source and self.expected is not None and self.detected < self.seeds:
            return f"not caught in {self.seeds - self.detected} trials"
        if self.source and self.expected is not None and self.seeds and self.expected not in self.caught_by:
            return f"{self.expected} should have caught it, and did not"
        if not self.source and self.detected:
            return f"accused in {self.detected} trials"
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data, as ``redteam --json`` prints it."""
        data = asdict(self)
        low, high = data.pop("low"), data.pop("high")
        data["attack" if self.source else "control"] = data.pop("name")
        data["interval"] = None if low is None else [low, high]
        data["caught_by"] = list(self.caught_by)
        data["commits"], data["machines"] = list(self.commits), list(self.machines)
        data["status"] = "not run" if not self.seeds else "wrong" if self.wrong else "as expected"
        data["wrong"] = self.wrong
        if not self.source:
            for name in ("source", "expected", "adversary_cost", "reproduced", "original"):
                del data[name]
        return data


def interval(detected: int, seeds: int) -> tuple[float, float]:
    """Returns the two-sided 95 % interval of a rate (Clopper and Pearson 1934)."""
    return (
        1 - clopper_pearson_upper(seeds - detected, seeds, _ALPHA / 2),
        clopper_pearson_upper(detected, seeds, _ALPHA / 2),
    )


def summarise(entries: Iterable[Attack | Control], lines: Sequence[Line], *, code: str) -> list[Row]:
    """Returns a row for each attack or control, whether it was run or not.

    Args:
        entries: attacks or controls of the registry.
        lines: trials of the table.
        code: digest of the present sources.
    """
    kept = list(newest(lines).values())
    return [_row(entry, [line for line in kept if _belongs(line, entry)], code) for entry in entries]


def _belongs(line: Line, entry: Attack | Control) -> bool:
    return line.name == entry.name and (line.kind == "attack") == isinstance(entry, Attack)


def _row(entry: Attack | Control, lines: Sequence[Line], code: str) -> Row:
    counted = [line for line in lines if line.trial is not None]
    trials = [line.trial for line in counted if line.trial is not None]
    detected = sum(trial.detected for trial in trials)
    low, high = interval(detected, len(trials)) if trials else (None, None)
    checks = Counter(name for trial in trials for name in trial.caught_by)
    costs = [trial.adversary_cost for trial in trials if trial.adversary_cost is not None]
    targeted = [trial for trial in trials if trial.reproduced is not None]
    attack = entry if isinstance(entry, Attack) else None
    return Row(
        name=entry.name,
        what=entry.what,
        source=attack.source if attack else "",
        expected=attack.expected if attack else None,
        detected=detected,
        seeds=len(trials),
        rate=detected / len(trials) if trials else None,
        low=low,
        high=high,
        caught_by=tuple(name for name, _ in checks.most_common()),
        adversary_cost=_median(costs),
        verifier_cost=_median([trial.verifier_cost for trial in trials]),
        reproduced=sum(bool(trial.reproduced) for trial in targeted) if targeted else None,
        original=trials[-1].original if trials else "",
        errors=len(lines) - len(counted),
        present=sum(line.code == code for line in counted),
        commits=tuple(dict.fromkeys(line.commit for line in counted)),
        machines=tuple(dict.fromkeys(line.machine for line in counted)),
    )


def _median(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else None
