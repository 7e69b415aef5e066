"""A fleet of sites, as all plans see it: chips, their rate, and what a visit costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from weighbridge.errors import InputError
from weighbridge.planning.timeliness import H100E_FLOPS
from weighbridge.units import SECONDS_PER_DAY, check_count, check_quantity

__all__ = ["Site", "check_fleet", "check_site"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One place with chips of one kind; give a mixed site as several.

    Attributes:
        name: what people call it; unique in a fleet.
        chips: chips there.
        chip_flops: FLOP/s of one chip, as the rule in question counts them.
        visit_days: inspector-days that one visit costs, before anything is drawn.
        regime: the regime that covers it in a portfolio; empty where none is named.
    """

    name: str
    chips: int
    chip_flops: float
    visit_days: float = 1.0
    regime: str = ""

    @property
    def h100e(self) -> float:
        """Its size in H100 equivalents."""
        return self.chips * self.chip_flops / H100E_FLOPS

    def capacity(self, days: float) -> float:
        """Returns the FLOP that the site can do in ``days`` at full utilisation."""
        return self.chips * self.chip_flops * SECONDS_PER_DAY * days


def check_site(site: Site) -> Site:
    """Returns the site if its figures mean something.

    Raises:
        InputError: naming the site and the field.
    """
    where = f"site {site.name!r}"
    check_count(site.chips, name=f"{where}: chips", least=1)
    check_quantity(site.chip_flops, name=f"{where}: chip_flops")
    check_quantity(site.visit_days, name=f"{where}: visit_days", positive=False)
    return site


def check_fleet(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Returns the sites if they make a fleet.

    Raises:
        InputError: naming the site and the field: no sites, a name twice, a figure without meaning.
    """
    if not sites:
        raise InputError("has no sites", field="fleet", mend="give at least one")
    names = set[str]()
    for site in sites:
        where = f"site {site.name!r}"
        if not site.name.strip() or not site.name.isprintable():
            raise InputError("is empty or not printable", where=where, field="name", mend="give it a plain name")
        if site.name in names:
            raise InputError("two sites have this name", where=where, field="name", mend="choose another")
        names.add(site.name)
        check_site(site)
    return tuple(sites)
