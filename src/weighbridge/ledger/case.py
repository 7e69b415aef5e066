"""Public cases: a run described by published figures, each marked measured, declared or assumed.

A case is data (``ledger/cases/*.json``, or a file of the reader's own): figures with their source, evidence held or
supposed, what nobody published, and the rules to apply. :mod:`weighbridge.ledger.case_account` does its arithmetic,
and :mod:`weighbridge.ledger.case_report` assesses it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from weighbridge.errors import InputError
from weighbridge.rules import NumberFormat
from weighbridge.units import SECONDS_PER_DAY

__all__ = [
    "CASE_FILE",
    "MARKS",
    "Case",
    "Derived",
    "Figure",
    "Mark",
    "case_names",
    "case_text",
    "is_case",
    "load_case",
    "read_case",
    "weakest",
]

CASE_FILE: Final = "case.json"
"""Name of the case in a folder that can be assessed, sealed and checked."""
Mark = Literal["measured", "declared", "assumed"]
MARKS: Final[dict[Mark, str]] = {
    "measured": "by a verifier, on evidence that can be checked",
    "declared": "said by whoever made, ran or sold it",
    "assumed": "chosen here",
}
"""What each mark means; what is computed carries the weakest mark of what it was computed from."""

_NEEDED: Final = {
    "training_flop": "FLOP",
    "parameters": "parameters",
    "tokens": "tokens",
    "layers": "layers",
    "width": "dimensions",
    "context": "tokens",
    "chips": "chips",
    "chip_hours": "chip-hours",
    "batch_tokens": "tokens",
    "step_flop_rate": "FLOP/s",
    "interruptions": "interruptions",
    "observed_days": "days",
    "cluster_chips": "chips",
    "chip_memory": "bytes",
    "storage": "bytes",
    "capacity": "FLOP/s",
    "peak_bf16": "FLOP/s",
    "alpha": "chance",
    "copy_rate": "bytes/s",
    "state_bytes": "bytes",
    "segment_steps": "steps",
}
_EVIDENCE: Final = {
    "rate": "freezes per chip and day",
    "windows": "stretches",
    "segments": "segments",
    "idle_shown": "shown",
    "readings": "readings",
}
"""Evidence that a case may say is held, or suppose, and its units; ``idle_shown`` is 1 or absent."""

_CHOSEN: Final = "here"
"""Source of what is chosen for the case itself."""
_COUNTS: Final = ("chips", "cluster_chips", "windows", "segments", "idle_shown", "readings")
_LARGEST_CASE_BYTES: Final = 4 << 20
_LEAST: Final = 1e-12
_MOST: Final = 1e40
"""Figures beyond these are slips of the pen, and their products would leave what a double can hold."""


def _shown(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that a terminal would obey instead of showing")
    return text


_Text = Annotated[str, Field(max_length=1000), AfterValidator(_shown)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Figure(_Data):
    """One number: its value and unit, what it is, who says so and where.

    What is marked measured names, as ``checkable``, the evidence on which a verifier measured it.
    """

    value: Annotated[float, Field(ge=_LEAST, le=_MOST, allow_inf_nan=False)]
    unit: _Text
    mark: Mark
    source: _Text
    where: _Text
    what: _Text
    quote: _Text | None = None
    checkable: _Text | None = None


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A number computed from figures, with the formula in words and the weakest mark among them."""

    name: str
    value: float
    unit: str
    mark: Mark
    formula: str
    what: str


class Case(_Data):
    """A run and the fleet that it used, as published.

    Attributes:
        id: name on the command line: small letters, digits, dots and dashes.
        title: headline.
        about: what the case is, and is not.
        run: name of the run.
        evidence_until: date and kind of the newest source, for the headline.
        format: number format of the declared operations.
        capacity_format: number format of the figure ``capacity``.
        sources: short name to full reference.
        figures: every number used, by name.
        evidence: what is held, or supposed, beside publications: each piece marked like a figure.
        missing: what nobody published.
        rules: ids of the rules to apply.
    """

    schema_: Literal["case/1"] = Field(alias="schema")
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
    title: _Text
    about: _Text
    run: _Text
    evidence_until: _Text
    format: NumberFormat
    capacity_format: NumberFormat
    sources: dict[str, _Text]
    figures: dict[str, Figure]
    evidence: dict[str, Figure] = Field(default_factory=dict)
    missing: tuple[_Text, ...]
    rules: Annotated[tuple[_Text, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _complete(self) -> "Case":
        if absent := [name for name in _NEEDED if name not in self.figures]:
            raise ValueError(f"figures are missing: {', '.join(absent)}")
        if unknown := [name for name in self.evidence if name not in _EVIDENCE]:
            raise ValueError(f"evidence.{unknown[0]} is not known; known: {', '.join(_EVIDENCE)}")
        for group, units in (("figures", _NEEDED), ("evidence", _EVIDENCE)):
            for name, figure in getattr(self, group).items():
                self._check(figure, f"{group}.{name}", unit=units.get(name), whole=name in _COUNTS)
        self._agree()
        return self

    def _agree(self) -> None:
        """Refuses figures that cannot all be true."""
        held = {name: figure.value for name, figure in self.evidence.items()}
        hours = self["training_flop"] / self["step_flop_rate"] / 3600
        frozen_s = held.get("rate", 0.0) * self["chip_memory"] / self["copy_rate"]
        window_s = self["chip_hours"] * 3600 / self["chips"]
        for wrong, sentence in (
            (self["alpha"] > 0.5, "figures.alpha: above 0.5 nothing is bounded"),
            (
                self["cluster_chips"] < self["chips"],
                "figures.cluster_chips: the run used more chips than its cluster has",
            ),
            (
                self["peak_bf16"] < self["step_flop_rate"],
                "figures.peak_bf16: is below step_flop_rate, which the chips reached",
            ),
            (
                self["capacity"] < self["peak_bf16"],
                "figures.capacity: is below peak_bf16, and is the rate of a chip's fastest format",
            ),
            (
                self["chip_hours"] < hours,
                f"figures.chip_hours: the declared steps need more time at step_flop_rate, {hours:.4g} chip-hours",
            ),
            (held.get("idle_shown", 1) != 1, "evidence.idle_shown: is 1, or left out"),
            (frozen_s > SECONDS_PER_DAY, "evidence.rate: so many freezes take more than the day"),
            (held.get("readings", 0.0) > window_s, "evidence.readings: are more than one a second"),
        ):
            if wrong:
                raise ValueError(sentence)

    def _check(self, figure: Figure, where: str, *, unit: str | None, whole: bool) -> None:
        if figure.source not in self.sources:
            raise ValueError(f"{where}: source {figure.source!r} is not among the sources")
        if figure.source == _CHOSEN and figure.mark != "assumed":
            raise ValueError(f"{where}: is chosen for this case, so its mark is assumed, not {figure.mark}")
        if figure.mark == "measured" and figure.checkable is None:
            raise ValueError(f"{where}: is marked measured, and names no evidence (checkable) on which a verifier did")
        if unit is not None and figure.unit != unit:
            raise ValueError(f"{where}: is in {figure.unit!r}; give it in {unit}")
        if whole and figure.value != round(figure.value):
            raise ValueError(f"{where}: is a count, and {figure.value:g} is none")

    def __getitem__(self, name: str) -> float:
        """Returns a figure's value."""
        return self.figures[name].value

    def derived(
        self, name: str, value: float, unit: str, *, formula: str, what: str, of: Iterable[str], assuming: str
    ) -> Derived:
        """Returns a computed number, marked as weakly as the weakest of what it rests on, assumptions included."""
        mark: Mark = "assumed" if assuming else weakest(self.figures[figure].mark for figure in of)
        what = f"{what}, assuming that {assuming}" if assuming else what
        return Derived(name=name, value=value, unit=unit, mark=mark, formula=formula, what=what)


def weakest(marks: Iterable[Mark]) -> Mark:
    """Returns the weakest of some marks: assumed below declared below measured."""
    order = tuple(MARKS)
    return order[max((order.index(mark) for mark in marks), default=len(order) - 1)]


def case_names() -> tuple[str, ...]:
    """Returns the ids of the cases that are carried."""
    folder = resources.files("weighbridge.ledger").joinpath("cases")
    return tuple(sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json")))


def case_text(name: str) -> tuple[str, str]:
    """Returns a case's text and where it came from.

    Args:
        name: id of a carried case; or the path of a file, or of a folder that holds ``case.json``.

    Raises:
        InputError: there is no such case or file, or the file is not readable or too large.
    """
    if name in case_names():
        file = resources.files("weighbridge.ledger").joinpath("cases", f"{name}.json")
        return file.read_text(encoding="utf-8"), f"{name}.json"
    path = Path(name) / CASE_FILE if Path(name).is_dir() else Path(name)
    mend = f"name a file (CASE.json), or one of the cases carried: {', '.join(case_names())}"
    if not path.is_file():
        raise InputError("is neither a case that is carried nor a file", where=name, field="NAME", mend=mend)
    try:
        if path.stat().st_size > _LARGEST_CASE_BYTES:
            raise InputError("is larger than 4 MiB", where=path, field="NAME", mend=mend)
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as text ({error})", where=path, field="NAME", mend=mend) from error


def is_case(path: Path) -> bool:
    """Returns whether a path is a case: a file, or a folder that holds ``case.json``.

    Raises:
        InputError: a folder holds a case and a log: figures would stand where signed evidence is.
    """
    if path.is_file():
        return True
    found = (path / CASE_FILE).is_file()
    if found and (path / "log").exists():
        raise InputError("holds a case and a log", where=path, field=CASE_FILE, mend="keep them in folders apart")
    return found


def load_case(name: str) -> Case:
    """Reads one of the carried cases, or a file.

    Raises:
        InputError: there is none of this name, or its file is not readable as a case.
    """
    text, where = case_text(name)
    return read_case(text, where=where)


def read_case(text: str, *, where: str) -> Case:
    """Reads a case from JSON text.

    Raises:
        InputError: naming the file, the field and the fault.
    """
    try:
        json.loads(text, object_pairs_hook=_once)
        return Case.model_validate_json(text)
    except (json.JSONDecodeError, RecursionError, _NamedTwiceError) as error:
        raise InputError(f"is not readable JSON: {error}", where=where) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(first["msg"].removeprefix("Value error, "), where=where, field=field or None) from error


class _NamedTwiceError(Exception):
    """A JSON object has one name twice: which of the two figures was meant, nobody can say."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise _NamedTwiceError(f"{min(twice)!r} stands twice in one object")
    return dict(pairs)
