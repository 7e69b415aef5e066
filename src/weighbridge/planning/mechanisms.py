"""Mechanisms of verification as data: access, readiness, cost, and what each bounds; regimes made of them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weighbridge.errors import InputError
from weighbridge.planning.interval import Interval, parse_interval

__all__ = ["CHANCES", "Catalogue", "Mechanism", "Regime", "load_mechanisms"]

Bounds = Literal["register", "label", "explain", "chance", "sample", "slowdown", "residual"]
"""What a mechanism bounds. Only the last three lower hidden FLOP; ``chance`` says where to look, never how much."""

_NEEDS_INPUT: Final[Mapping[str, tuple[str, ...]]] = {
    "chance": ("chance",),
    "sample": ("audits",),
    "slowdown": ("slowdown", "pod_chips"),
    "residual": ("residual",),
}
CHANCES: Final = ("chance", "residual")
_LEAST: Final = {"slowdown": 1.0, "pod_chips": 1.0}
_WHOLE: Final = ("audits",)
_MOST_YEARS: Final = 100.0

_Text = Annotated[str, Field(max_length=2000)]
_Name = Annotated[str, Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$", max_length=60)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_DataT = TypeVar("_DataT", bound=_Data)


class Input(_Data):
    """A range, how far it is to be trusted, and where it comes from."""

    range: tuple[float, float]
    mark: Literal["P", "S", "D", "A", "given"]
    source: _Text

    @property
    def interval(self) -> Interval:
        """The range as an interval."""
        return Interval(*self.range)


class Mechanism(_Data):
    """One mechanism, in the fields of ``mechanisms.json``."""

    id: _Name
    name: _Text
    technology: Literal["low", "high"]
    access: Literal["people", "hall", "code", "data", "network", "sensors", "firmware", "chip"]
    rating: _Text
    bounds: Bounds
    says: _Text
    needs: tuple[_Name, ...]
    level: Literal["A", "C"]
    source: _Text
    inputs: dict[str, Input]


class Regime(_Data):
    """Mechanisms used together."""

    id: _Name
    name: _Text
    mechanisms: tuple[_Name, ...]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Mechanisms and regimes by id; immutable: setting an input returns another catalogue."""

    mechanisms: Mapping[str, Mechanism]
    regimes: Mapping[str, Regime]

    def regime(self, name: str) -> Regime:
        """Returns a regime, or one made on the spot from ids joined by ``+``.

        Raises:
            InputError: if there is neither.
        """
        if name in self.regimes:
            return self.regimes[name]
        parts = tuple(dict.fromkeys(name.split("+")))
        strange = [part for part in parts if part not in self.mechanisms]
        if strange:
            raise InputError(
                f"{name[:60]!r} is no regime and no sum of mechanisms",
                field="regime",
                mend=f"known: {', '.join(self.regimes)}; or join {', '.join(self.mechanisms)} by +",
            )
        return Regime.model_construct(id=name, name=name, mechanisms=parts)

    def with_input(self, assignment: str) -> "Catalogue":
        """Returns a catalogue with one input set, written ``tips.chance=0.1:0.4``.

        Raises:
            InputError: if it names no input, or gives no range for it.
        """
        target, equals, text = assignment.partition("=")
        name, _, quantity = target.strip().partition(".")
        if not equals or name not in self.mechanisms or quantity not in self.mechanisms[name].inputs:
            known = [f"{m.id}.{q}" for m in self.mechanisms.values() for q in m.inputs]
            raise InputError(
                f"{assignment[:60]!r} sets no input", field="set", mend=f"write NAME=LOW:HIGH with {', '.join(known)}"
            )
        interval = parse_interval(text, name=target.strip())
        given = Input(range=(interval.low, interval.high), mark="given", source="given by the user")
        old = self.mechanisms[name]
        new = old.model_copy(update={"inputs": dict(old.inputs) | {quantity: given}})
        try:
            _check(new, where="set")
        except InputError as error:
            raise InputError(error.what, field=f"--set {target.strip()}", mend=error.mend) from error
        return Catalogue(mechanisms={**self.mechanisms, name: new}, regimes=self.regimes)


def load_mechanisms(text: str | None = None, *, where: str = "mechanisms.json") -> Catalogue:
    """Returns the carried catalogue, or one from a text of the same schema.

    Raises:
        InputError: naming the mechanism, the field and the mend.
    """
    if text is None:
        text = resources.files("weighbridge.planning").joinpath("mechanisms.json").read_text(encoding="utf-8")
    try:
        data = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", where=where) from error
    if not isinstance(data, dict) or data.get("schema") != "mechanisms/1":
        raise InputError("is no catalogue of mechanisms", where=where, mend='expected "schema": "mechanisms/1"')
    mechanisms = {m.id: m for m in (_read(Mechanism, item, where=where) for item in _list(data, "mechanisms", where))}
    regimes = {r.id: r for r in (_read(Regime, item, where=where) for item in _list(data, "regimes", where))}
    both = set(mechanisms) & set(regimes)
    if both:
        raise InputError("names a mechanism and a regime", where=f"{where}: {min(both)}", mend="rename the regime")
    for mechanism in mechanisms.values():
        _check(mechanism, where=f"{where}: {mechanism.id}")
    for owner, names in [(m.id, m.needs) for m in mechanisms.values()] + [
        (r.id, r.mechanisms) for r in regimes.values()
    ]:
        strange = [name for name in names if name not in mechanisms]
        if strange:
            raise InputError(f"names {strange[0]!r}, which is no mechanism", where=f"{where}: {owner}")
    return Catalogue(mechanisms=mechanisms, regimes=regimes)


def _check(mechanism: Mechanism, *, where: str) -> None:
    for needed in ("days_per_year", "readiness", *_NEEDS_INPUT.get(mechanism.bounds, ())):
        if needed not in mechanism.inputs:
            raise InputError("is missing", where=where, field=f"inputs.{needed}", mend="give range, mark and source")
    for name, given in mechanism.inputs.items():
        try:
            most = 1.0 if name in CHANCES else _MOST_YEARS if name == "readiness" else float("inf")
            given.interval.within(_LEAST.get(name, 0.0), most, name=name)
        except InputError as error:
            raise InputError(error.what, where=where, field=f"inputs.{name}", mend=error.mend) from error
        if name in _WHOLE and any(end != math.floor(end) for end in given.range):
            raise InputError("is no whole number", where=where, field=f"inputs.{name}", mend="give whole numbers")


def _read(model: type[_DataT], item: Any, *, where: str) -> _DataT:
    try:
        return model.model_validate_json(json.dumps(item, allow_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        label = item.get("id") if isinstance(item, dict) else None
        place = f"{where}: {str(label)[:60]}" if label else where
        raise InputError(first["msg"], where=place, field=".".join(str(part) for part in first["loc"])) from error


def _list(data: Mapping[str, Any], name: str, where: str) -> list[Any]:
    items = data.get(name)
    if not isinstance(items, list) or not items:
        raise InputError("is missing or empty", where=where, field=name, mend="give a list")
    ids = [item.get("id") for item in items if isinstance(item, dict)]
    twice = [i for i in ids if isinstance(i, str) and ids.count(i) > 1]
    if twice:
        raise InputError("is given twice", where=where, field=f"{name}: {twice[0][:60]}")
    return items


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")
