"""Thresholds over the years of a treaty: algorithms improve, runs spread over sites, mechanisms become ready."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from weighbridge.errors import InputError
from weighbridge.planning.fleet import Site
from weighbridge.planning.interval import Interval
from weighbridge.planning.mechanisms import Catalogue
from weighbridge.planning.portfolio import Case, Cover, Reaches, assess_cover, reach
from weighbridge.units import SECONDS_PER_DAY, check_count

__all__ = ["MOST_PROGRESS", "TreatyYear", "treaty_years"]

Ready = Literal["yes", "no", "depends on the inputs"]
_MOST_YEARS: Final = 50
MOST_PROGRESS: Final = 1e3
"""Largest factor a year."""


@dataclass(frozen=True, kw_only=True)
class TreatyYear:
    """One year.

    Attributes:
        year: years since the treaty began.
        flop: FLOP that give, in that year, what the threshold's FLOP gave in the first: Y / g^year, at both ends.
        chips: fewest of the fleet's fastest chips that do so much in a period, alone.
        chips_joined: the same in each of several sites that train together, at the rate that they keep.
        ready: whether the regimes' mechanisms are ready.
        reaches: whether X and what is declared stay within that year's threshold, if they are.
    """

    year: int
    flop: Interval
    chips: Interval
    chips_joined: Interval
    ready: Ready
    reaches: Reaches


def treaty_years(
    sites: Sequence[Site],
    *,
    regimes: Mapping[str, str],
    catalogue: Catalogue,
    case: Case,
    years: int,
    progress: Interval,
    together: int = 1,
) -> tuple[TreatyYear, ...]:
    """Returns one line for each year from 0 to ``years``.

    Args:
        sites: the fleet, unchanged over the years.
        regimes: regime of each site by name.
        catalogue: mechanisms.
        case: the question in the first year; ``case.joined`` is the rate that sites training together keep.
        years: length of the treaty.
        progress: factor by which the compute needed for a capability falls each year; 1 is no progress.
        together: sites that train one model together, for ``chips_joined``.

    Raises:
        InputError: if a figure is meaningless.
    """
    check_count(years, name="years")
    check_count(together, name="together", least=1)
    progress.within(1.0, MOST_PROGRESS, name="progress")
    if years > _MOST_YEARS:
        raise InputError(f"{years} is more than {_MOST_YEARS}", field="years", mend="nobody knows so far ahead")
    if together > 1 and case.joined.low == 0:
        raise InputError("may not be 0 where sites train together", field="joined", mend="give a range above 0")
    cover = assess_cover(sites, regimes=regimes, catalogue=catalogue, case=case)
    return tuple(
        _year(t, sites, cover=cover, case=case, progress=progress, together=together) for t in range(years + 1)
    )


def _year(
    year: int, sites: Sequence[Site], *, cover: Cover, case: Case, progress: Interval, together: int
) -> TreatyYear:
    threshold = case.flop + case.declared
    flop = Interval(threshold / progress.high**year, threshold / progress.low**year)
    room = Interval(max(0.0, flop.low - case.declared), max(0.0, flop.high - case.declared))
    rate = max(site.chip_flops for site in sites) * SECONDS_PER_DAY * case.days
    chips = Interval(flop.low / rate, flop.high / rate)
    kept = case.joined if together > 1 else Interval(1.0, 1.0)
    return TreatyYear(
        year=year,
        flop=flop,
        chips=chips,
        chips_joined=Interval(chips.low / (kept.high * together), chips.high / (kept.low * together)),
        ready=_ready(cover.ready, year),
        reaches=reach(cover.hidden, room),
    )


def _ready(ready: Interval, year: int) -> Ready:
    if year >= ready.high:
        return "yes"
    return "no" if year < ready.low else "depends on the inputs"
