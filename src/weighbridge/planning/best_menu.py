"""What a visit may look at, and what it costs: looks of some depths, from which the best plan is mixed.

A look of n records drawn from all of a site's log meets hidden work of share s with probability at least
1 - e^(-n s). A look that draws c of N chips and reads each one's whole log, frozen at rate f over T days, meets it
with at least 1 - e^(-c s (1 - e^(-f T))): that is the adversary who stretches its run onto the fewest chips for the
whole time (Shavit, arXiv 2303.11341, appendix C, theorem 1: more chips for less time are caught more surely), in the
linear form of Table 1, which never promises more than Eq. 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from weighbridge.errors import InputError
from weighbridge.planning.adversary import Array
from weighbridge.planning.fleet import Site
from weighbridge.units import check_quantity

__all__ = ["Budget", "Effort", "Menu", "Reading", "build_menu", "check_effort", "limits_of"]

Reading = Literal["records", "chips"]
"""``records``: audits are drawn from all records of a site's log. ``chips``: chips are drawn and read whole."""

# A look that misses hidden work with less than e^-24 needs no deeper one, if a site hides the whole run or nothing.
_DEEP_ENOUGH: Final = 24.0
# Beyond the deepest look of a menu: what is deeper still misses no hidden work.
_BOTTOMLESS: Final = 1e12


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a period may cost; None where nothing limits it.

    Attributes:
        visits: visits to sites.
        inspector_days: inspector-days, for visits and for what is drawn there.
        replay_chip_hours: chip-hours of replay.
        freezes: freezes of chips, whether or not their records are ever read.
    """

    visits: float | None = None
    inspector_days: float | None = None
    replay_chip_hours: float | None = None
    freezes: float | None = None


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What a look consists of and costs.

    Attributes:
        reading: what is drawn.
        days_per_draw: inspector-days for each record or chip drawn.
        replay_per_audit: chip-hours of replay for each record audited.
        rate: freezes per chip and day; for ``chips`` only, where all records of a drawn chip are audited.
    """

    reading: Reading = "records"
    days_per_draw: float = 0.0
    replay_per_audit: float = 0.0
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Menu:
    """Every look that could be bought: arrays of shape (sites, modes).

    Attributes:
        draws: records or chips drawn.
        reach: expected incriminating records if all of the site's time were hidden.
        worth: looks worth having; the others only repeat one that is as deep, or cost as much as a deeper one.
        costs: by resource, what one look costs; freezes are not among them.
        freezes: freezes that the site must have had for such a look to be possible.
    """

    draws: Array
    reach: Array
    worth: NDArray[np.bool_]
    costs: dict[str, Array]
    freezes: Array


def limits_of(budget: Budget) -> dict[str, float]:
    """Returns the resources that are limited, by name.

    Raises:
        InputError: if one is no quantity, or nothing limits the visits.
    """
    limits = {
        name: check_quantity(value, name=name.replace("_", "-"), positive=False)
        for name, value in asdict(budget).items()
        if value is not None
    }
    if not {"visits", "inspector_days"} & set(limits):
        raise InputError(
            "one of them must be limited", field="visits or inspector-days", mend="otherwise visit every site"
        )
    return limits


def build_menu(
    fleet: Sequence[Site],
    *,
    days: float,
    flop: float,
    effort: Effort,
    depths: Array,
    limits: Mapping[str, float] | None = None,
    all_depths: bool = False,
) -> Menu:
    """Returns what may be drawn at each site, with costs, of which those in ``limits`` count.

    Args:
        fleet: the sites.
        days: length of a period.
        flop: FLOP of the run.
        effort: what is drawn at a look, and what it costs.
        depths: records or chips drawn, rising, (sites, modes) or (modes,); below 1 a freeze by lot, with that chance.
        limits: the limited resources by name. Depths below 1 make sense if freezes are fewer than sites.
        all_depths: make a menu that no depths beat, for bounds. Each look then stands for all depths above the one
            before it: it meets what the deepest of them meets, and costs what the shallowest costs. So a plan of any
            depths becomes one of this menu that meets no less and costs no more.
    """
    limits = limits or {}
    chips = np.array([[site.chips] for site in fleet], dtype=np.float64)
    share = np.array([[min(1.0, flop / site.capacity(days))] for site in fleet])
    draws = np.broadcast_to(depths, (len(fleet), np.shape(depths)[-1])).astype(np.float64)
    if effort.reading == "chips":
        draws = np.minimum(draws, chips)
    paid = _shallowest(draws, fractions=limits.get("freezes", math.inf) < len(fleet)) if all_depths else draws
    if effort.reading == "records":
        reach, audits, freezes = draws.copy(), paid, paid.copy()
        if all_depths:
            reach = np.where(draws == draws[:, -1:], _BOTTOMLESS, reach)
    else:
        rate = float(effort.rate or 0.0)
        reach, audits = draws * -math.expm1(-rate * days), paid * rate * days
        if all_depths:
            reach = np.where(draws == draws[:, -1:], chips * -math.expm1(-rate * days), reach)
        freezes = np.broadcast_to(chips * rate * days, draws.shape).copy()
    shallower = np.concatenate([np.zeros((len(fleet), 1)), reach[:, :-1]], axis=1)
    visit_days = np.array([[site.visit_days] for site in fleet])
    costs = {
        "visits": np.ones_like(draws),
        "inspector_days": visit_days + paid * effort.days_per_draw,
        "replay_chip_hours": audits * effort.replay_per_audit,
    }
    worth = reach > shallower
    if all(site.capacity(days) >= flop for site in fleet):
        worth &= shallower * share < _DEEP_ENOUGH
    limited = [cost for name, cost in (costs | {"freezes": freezes}).items() if name in limits]
    return Menu(draws=draws, reach=reach, worth=worth & ~_outdone(worth, limited), costs=costs, freezes=freezes)


def _shallowest(draws: Array, *, fractions: bool) -> Array:
    """Returns the least depth above the one before: the next integer; where fractions are allowed, below 1 any."""
    before = np.concatenate([np.zeros((len(draws), 1)), draws[:, :-1]], axis=1)
    after = np.where(before < 1, before if fractions else 1.0, np.floor(before) + 1)
    return np.asarray(np.minimum(draws, after), dtype=np.float64)


def _outdone(worth: NDArray[np.bool_], costs: Sequence[Array]) -> NDArray[np.bool_]:
    """Returns the looks beside which a deeper one costs no more."""
    outdone = np.zeros_like(worth)
    for mode in range(worth.shape[1] - 1):
        dearer = np.any([cost[:, mode + 1 :] > cost[:, mode, None] for cost in costs], axis=0)
        outdone[:, mode] = np.any(worth[:, mode + 1 :] & ~dearer, axis=1)
    return outdone


def check_effort(effort: Effort) -> None:
    """Refuses an effort without meaning.

    Raises:
        InputError: if a figure is meaningless, or there is a rate where nothing is frozen at one, or none where it is.
    """
    if effort.reading not in get_args(Reading):
        raise InputError(f"{effort.reading!r} is not known", field="reading", mend="choose records or chips")
    check_quantity(effort.days_per_draw, name="days-per-draw", positive=False)
    check_quantity(effort.replay_per_audit, name="replay-per-audit", positive=False)
    if effort.reading == "chips":
        if effort.rate is None:
            raise InputError("is missing", field="rate", mend="drawn chips hold records only if they were frozen")
        check_quantity(effort.rate, name="rate")
    elif effort.rate is not None:
        raise InputError(
            "has no place where records are drawn", field="rate", mend="limit freezes instead, or read chips"
        )
