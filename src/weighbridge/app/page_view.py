"""What the report's page shows, worked out from the report's body: groups, sums and shares, and no wording."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weighbridge.app.page_drawing import Bar, Scale, Timeline, stack, timeline
from weighbridge.app.page_text import flop, percent
from weighbridge.errors import InputError
from weighbridge.rules import CountingPolicy, load_rules

__all__ = ["Group", "Operator", "counting_policy", "groups", "known_limits", "operator_view", "verdicts_by_level"]

VERDICTS = ("compliant", "violation", "inconclusive")
_OUTCOMES = {"fail": 0, "inconclusive": 1, "pass": 2}
_CLASSES = ("weights", "buffers", "optimizer", "data", "zero", "unexplained", "not read")
_USES = ("around the declared steps", "uncovered", "silent")
# Two findings say the same when only digests and figures differ.
_VARIABLE = re.compile(r"\b[0-9a-f]{8,}\b|\d[\d.,]*(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Group:
    """Findings of one check that say the same of several subjects."""

    outcome: str
    check: str
    findings: tuple[Mapping[str, Any], ...]

    @property
    def figures(self) -> tuple[float, float] | None:
        """The least and the greatest figure; None where there is none."""
        found = [f["figure"] for f in self.findings if f["figure"] is not None]
        return (min(found), max(found)) if found else None

    @property
    def hidden_flop(self) -> float | None:
        """The largest FLOP that any of them leaves possible; None where they say nothing."""
        return max((f["hidden_flop"] for f in self.findings if f["hidden_flop"] is not None), default=None)


@dataclass(frozen=True)
class Part:
    """One part of an operator's account at level A: chip-seconds at capacity, or declared work."""

    kind: str
    name: str
    seconds: float | None
    flop: float


@dataclass(frozen=True)
class Level:
    """An operator's total at one trust level, drawn against the rule's threshold."""

    ruling: Mapping[str, Any]
    bars: tuple[Bar, ...]
    beyond: bool

    @property
    def total(self) -> float:
        """Declared and hidden FLOP together, as the rule counts."""
        return float(self.ruling["declared_flop"] + self.ruling["hidden_flop"])


@dataclass(frozen=True)
class MemoryClass:
    """Bytes of one class over all audited records: their sum, and the least and greatest share of writable bytes."""

    name: str
    total: int
    least: float
    most: float

    @property
    def kind(self) -> str:
        """The pattern that it is drawn with."""
        return self.name.replace(" ", "-") if self.name in _CLASSES else "other"


@dataclass(frozen=True)
class Memory:
    """Audited records explained by class, against all writable bytes."""

    records: int
    writable: int
    classes: tuple[MemoryClass, ...]
    bars: tuple[Bar, ...]
    least_share: float
    most_beyond: float | None


@dataclass(frozen=True)
class Limit:
    """A known limit, with each figure and the operators that it holds for; no names means all of them."""

    limit: str
    reason: str
    closed_by: str
    figures: tuple[tuple[Any, list[str]], ...]

    @property
    def unbounded(self) -> bool:
        """Whether it leaves room without bound for anybody."""
        return any(value == "unbounded" for value, _ in self.figures)


@dataclass(frozen=True)
class Operator:
    """One operator's part of the page; ``body`` is its part of the report."""

    body: Mapping[str, Any]
    anchor: str
    timeline: Timeline
    parts: tuple[Part, ...]
    weight: float
    levels: tuple[Level, ...]
    threshold_x: float
    memory: Memory | None
    groups: tuple[Group, ...]


def operator_view(operator: Mapping[str, Any], position: int, window: Mapping[str, Any]) -> Operator:
    """Returns what the page shows of one operator."""
    parts, weight = _parts(operator)
    levels, threshold_x = _levels(operator, parts)
    return Operator(
        body=operator,
        anchor=f"operator-{position}",
        timeline=timeline(operator, window),
        parts=parts,
        weight=weight,
        levels=levels,
        threshold_x=threshold_x,
        memory=_memory(operator),
        groups=groups(operator["findings"]),
    )


def verdicts_by_level(body: Mapping[str, Any]) -> dict[str, list[tuple[str, list[str]]]]:
    """Returns, for each trust level, every verdict with the names of the operators that got it."""
    return {
        level: [
            (verdict, [o["name"] for o in body["operators"] if o["rulings"][level]["verdict"] == verdict])
            for verdict in VERDICTS
        ]
        for level in body["levels"]
    }


def counting_policy(name: str) -> CountingPolicy | None:
    """Returns the text of a counting policy that the package carries."""
    try:
        return load_rules().policy(name)
    except InputError:
        return None


def groups(findings: Sequence[Mapping[str, Any]]) -> tuple[Group, ...]:
    """Groups findings that say the same: failures first, else in the report's order."""
    alike: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for finding in findings:
        same = (finding["outcome"], finding["check"], _VARIABLE.sub("", finding["reason"]))
        alike.setdefault(same, []).append(finding)
    found = [Group(outcome, check, tuple(members)) for (outcome, check, _), members in alike.items()]
    return tuple(sorted(found, key=lambda group: _OUTCOMES.get(group.outcome, 0)))


def known_limits(operators: Sequence[Mapping[str, Any]]) -> list[Limit]:
    """Merges the operators' limits: one row a limit, the unbounded ones first."""
    merged: dict[tuple[str, str, str], dict[Any, list[str]]] = {}
    for operator in operators:
        for limit in operator["limits"]:
            figures = merged.setdefault((limit["limit"], limit["reason"], limit["closed_by"]), {})
            figures.setdefault(limit["flop"], []).append(operator["name"])
    rows = [
        Limit(*key, tuple((flop, [] if len(who) == len(operators) else who) for flop, who in figures.items()))
        for key, figures in merged.items()
    ]
    return sorted(rows, key=lambda row: not row.unbounded)


def _parts(operator: Mapping[str, Any]) -> tuple[tuple[Part, ...], float]:
    """Returns the account's parts as the rule counts them, and the factor by which it counts chip-time."""
    account, ruling = operator["account"], operator["rulings"]["A"]
    raw, speed = account["hidden_flop"]["A"], account["capacity"]["flop_per_s"]
    weight = ruling["hidden_flop"] / raw if raw > 0 else 1.0
    free: dict[str, float] = {}
    for coverage in account["coverages"]:
        if coverage["free_seconds"] > 0:
            free[coverage["use"]] = free.get(coverage["use"], 0.0) + coverage["free_seconds"]
    parts = [Part("declared", "declared", None, ruling["declared_flop"])]
    exposed = account["exposure_s"]
    parts.append(Part("exposure", "inside the declared span, by exposure", exposed, weight * exposed * speed))
    for use in sorted(free, key=lambda u: (_USES.index(u) if u in _USES else len(_USES), u)):
        kind = {"around the declared steps": "around"}.get(use, use if use in _USES else "other")
        parts.append(Part(kind, use, free[use], weight * free[use] * speed))
    return tuple(parts), weight


def _levels(operator: Mapping[str, Any], parts: Sequence[Part]) -> tuple[tuple[Level, ...], float]:
    """Draws each level's total on one scale: level A and the threshold fit, what is larger is cut off."""
    rulings = operator["rulings"]
    threshold = rulings["A"]["threshold"]
    scale = Scale(1.18 * max(sum(part.flop for part in parts), threshold))
    levels = []
    for level, ruling in rulings.items():
        declared = [("declared", ruling["declared_flop"], "declared", f"declared: {flop(ruling['declared_flop'])}")]
        if level == "A":
            drawn = [(p.kind, p.flop, p.name, f"{p.name}: {flop(p.flop)}") for p in parts]
        else:
            title = f"all chip-time of the window at capacity: {flop(ruling['hidden_flop'])}"
            drawn = [*declared, ("whole", ruling["hidden_flop"], "all chip-time of the window at capacity", title)]
        total = ruling["declared_flop"] + ruling["hidden_flop"]
        levels.append(Level(ruling, stack(drawn, scale), total > scale.length))
    return tuple(levels), scale.x(threshold)


def _memory(operator: Mapping[str, Any]) -> Memory | None:
    """Adds up what the audited records' bytes were explained as; None without an audited record."""
    audited = [r for r in operator["records"] if r["explained"]]
    writable = sum(max(r["writable_bytes"], r["explained"]["read"]) for r in audited)
    if writable == 0:
        return None
    tables = [_by_class(record) for record in audited]
    names = sorted({name for table in tables for name in table}, key=_class_order)
    classes = []
    for name in names:
        shares = [table.get(name, 0) / max(sum(table.values()), 1) for table in tables]
        classes.append(MemoryClass(name, sum(t.get(name, 0) for t in tables), min(shares), max(shares)))
    drawn = [(c.kind, float(c.total), c.name, f"{c.name}: {percent(c.total / writable)}") for c in classes]
    baselines = {run["run"]: run["baseline_bytes"] for run in operator["runs"] if run["baseline_bytes"] > 0}
    beyond = [r["explained"]["unexplained"] - baselines[r["run"]] for r in audited if r["run"] in baselines]
    return Memory(
        records=len(audited),
        writable=writable,
        classes=tuple(classes),
        bars=stack(drawn, Scale(float(writable))),
        least_share=min((r["share"] for r in audited if r["share"] is not None), default=0.0),
        most_beyond=max(0.0, *beyond) if beyond else None,
    )


def _by_class(record: Mapping[str, Any]) -> dict[str, int]:
    """Returns a record's bytes by class; writable bytes that were not resident are a class of their own."""
    found = {name: size for name, size in record["explained"].items() if name != "read"}
    return found | {"not read": max(0, record["writable_bytes"] - record["explained"]["read"])}


def _class_order(name: str) -> tuple[int, str]:
    return (_CLASSES.index(name) if name in _CLASSES else 3, name)
