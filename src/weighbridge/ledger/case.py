"""Public cases: a run described by published figures, each marked measured, declared or assumed.

A case is data (``ledger/cases/*.json``): figures with their source, what nobody published, and the rules to apply.
:mod:`weighbridge.ledger.case_account` does its arithmetic.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weighbridge.errors import InputError
from weighbridge.rules import NumberFormat

__all__ = ["MARKS", "Case", "Derived", "Figure", "Mark", "case_names", "load_case", "weakest"]

Mark = Literal["measured", "declared", "assumed"]
MARKS: Final[dict[Mark, str]] = {
    "measured": "by a verifier, on evidence that can be checked",
    "declared": "said by whoever made, ran or sold it",
    "assumed": "chosen here",
}
"""What each mark means; what is computed carries the weakest mark of what it was computed from."""

_NEEDED: Final = (
    "training_flop", "parameters", "tokens", "layers", "width", "context", "chips", "chip_hours", "batch_tokens",
    "step_flop_rate", "interruptions", "observed_days", "cluster_chips", "chip_memory", "storage", "capacity",
    "peak_bf16", "alpha", "copy_rate", "state_bytes", "segment_steps",
)  # fmt: skip

_Text = Annotated[str, Field(max_length=1000)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Figure(_Data):
    """One number: its value and unit, what it is, who says so and where."""

    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    unit: _Text
    mark: Mark
    source: _Text
    where: _Text
    what: _Text
    quote: _Text | None = None


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
        id: name on the command line.
        title: headline.
        about: what the case is, and is not.
        run: name of the run.
        evidence_until: date and kind of the newest source, for the headline.
        format: number format of the declared operations.
        capacity_format: number format of the figure ``capacity``.
        sources: short name to full reference.
        figures: every number used, by name.
        missing: what nobody published.
        rules: ids of the rules to apply.
    """

    schema_: Literal["case/1"] = Field(alias="schema")
    id: _Text
    title: _Text
    about: _Text
    run: _Text
    evidence_until: _Text
    format: NumberFormat
    capacity_format: NumberFormat
    sources: dict[str, _Text]
    figures: dict[str, Figure]
    missing: tuple[_Text, ...]
    rules: tuple[_Text, ...]

    @model_validator(mode="after")
    def _complete(self) -> "Case":
        if absent := [name for name in _NEEDED if name not in self.figures]:
            raise ValueError(f"figures are missing: {', '.join(absent)}")
        for name, figure in self.figures.items():
            if figure.source not in self.sources:
                raise ValueError(f"figures.{name}: source {figure.source!r} is not among the sources")
        return self

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


def load_case(name: str) -> Case:
    """Reads one of the carried cases.

    Raises:
        InputError: there is none of this name, or its file is not readable as a case.
    """
    if name not in case_names():
        raise InputError(f"there is no case {name!r}", field="NAME", mend=f"known: {', '.join(case_names())}")
    text = resources.files("weighbridge.ledger").joinpath("cases", f"{name}.json").read_text(encoding="utf-8")
    return read_case(text, where=f"{name}.json")


def read_case(text: str, *, where: str) -> Case:
    """Reads a case from JSON text.

    Raises:
        InputError: naming the file, the field and the fault.
    """
    try:
        return Case.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(first["msg"], where=where, field=field or None) from error
