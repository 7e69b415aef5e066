"""Two stages: which sites to visit, and how many chips to draw at each.

P = sum over sites of P(the site holds the defect) x P(it is visited) x P(the draw within it meets a defective chip).
Within a site sampling saturates, so sites dominate. The default plan takes every site above a size and draws among
the others with chances in proportion to their size, not one site like another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from weighbridge.errors import InputError
from weighbridge.planning.fleet import Site, check_site
from weighbridge.planning.items import detection, exact_sample
from weighbridge.units import check_count, check_quantity

__all__ = ["SitePlan", "SiteVisit", "frame_counts", "inclusion", "plan_sites", "two_stage_detection"]


@dataclass(frozen=True, kw_only=True)
class SiteVisit:
    """What the plan does with one site.

    Attributes:
        site: its name.
        h100e: its size.
        visited: chance of a visit in the period; 1 for sites of the census.
        drawn: chips drawn on a visit.
        within: chance that the draw meets a defective chip, if the site holds the diversion.
        detection: visited x within; none if the site is too small to hold the diversion. There the draw shows a site
            that is diverted whole.
    """

    site: str
    h100e: float
    visited: float
    drawn: int
    within: float
    detection: float | None


@dataclass(frozen=True, kw_only=True)
class SitePlan:
    """The plan for one period.

    Attributes:
        visits: what is done with each site, the largest first.
        census: sites visited for certain because of their size.
        census_share: their share of all H100 equivalents.
        drawn_sites: visits drawn among the others.
        chips_drawn: chips to be read in the period, expected.
        worst: smallest detection of a diversion in one site, and
        worst_site: the site that an adversary would choose.
        by_size: detection if every H100 equivalent is as likely to be where the diversion is.
        by_site: detection if every site that can hold it is as likely.
        too_small: sites that cannot hold the diversion by themselves.
        split: smallest detection of a diversion in equal parts at several sites, each visit taken for itself; a draw
            of a fixed number of sites in which no two are tied together does no worse.
        split_sites: into how many sites an adversary would split it, among powers of two.
    """

    visits: tuple[SiteVisit, ...]
    census: int
    census_share: float
    drawn_sites: int
    chips_drawn: float
    worst: float
    worst_site: str
    by_size: float
    by_site: float
    too_small: int
    split: float
    split_sites: int


def two_stage_detection(
    sites: int, *, visited: int, site_size: int, missing: int, drawn: int, seen: float | Fraction = 1
) -> float:
    """Detection of a diversion in one of equally likely sites: (m / M) x P(within).

    Args:
        sites: M.
        visited: m, visited in the period.
        site_size: chips at each.
        missing: D, defective chips at the one site.
        drawn: chips drawn at each visited site.
        seen: chance that a drawn defective chip is recognised.

    Raises:
        InputError: if the numbers do not fit together.
    """
    check_count(sites, name="sites", least=1)
    if check_count(visited, name="visits") > sites:
        raise InputError(f"{visited} of {sites} sites is impossible", field="visits")
    return visited / sites * detection(site_size, missing=missing, drawn=drawn, seen=seen)


def plan_sites(
    sites: Sequence[Site],
    *,
    census_above: float,
    visits: int,
    missing: int,
    within: float | Fraction,
    seen: float | Fraction = 1,
) -> SitePlan:
    """Returns which sites to visit, with which chance, and how many chips to draw at each.

    Args:
        sites: the frame.
        census_above: sites of more H100 equivalents are all visited.
        visits: visits of the period, those of the census included.
        missing: D, defective chips that one site must not hide.
        within: wanted chance that a visit to the site that holds them shows it.
        seen: chance that a drawn defective chip is recognised.

    Returns:
        The plan, for a diversion in one site; ``split`` says what it is worth against one that is split.

    Raises:
        InputError: if the census alone needs more visits, or no site can hold the diversion.
    """
    if not sites:
        raise InputError("there are no sites", field="sites")
    check_quantity(census_above, name="census-above", positive=False)
    check_count(missing, name="missing", least=1)
    ordered = sorted(map(check_site, sites), key=lambda site: (-site.h100e, site.name))
    large = [site for site in ordered if site.h100e > census_above]
    small = ordered[len(large) :]
    left = check_count(visits, name="visits") - len(large)
    if left < 0:
        raise InputError(
            f"{len(large)} sites are larger than {census_above:g} H100 equivalents: {visits} visits are too few",
            field="visits",
            mend="allow more visits, or raise the size",
        )
    chances = [1.0] * len(large) + inclusion([site.h100e for site in small], visits=min(left, len(small)))
    planned = tuple(
        _visit(site, chance, missing=missing, within=within, seen=seen)
        for site, chance in zip(ordered, chances, strict=True)
    )
    able = [visit for visit in planned if visit.detection is not None]
    if not able:
        raise InputError(f"no site has {missing:,} chips", field="missing", mend="ask for fewer")
    worst = min(able, key=lambda visit: (visit.detection or 0.0, visit.site))
    split, parts = _worst_split(ordered, planned, missing=missing, seen=seen)
    total = math.fsum(site.h100e for site in sites)
    weight = math.fsum(visit.h100e for visit in able)
    return SitePlan(
        visits=planned,
        census=len(large),
        census_share=math.fsum(site.h100e for site in large) / total,
        drawn_sites=min(left, len(small)),
        chips_drawn=math.fsum(visit.visited * visit.drawn for visit in planned),
        worst=worst.detection or 0.0,
        worst_site=worst.site,
        by_size=math.fsum(visit.h100e / weight * (visit.detection or 0.0) for visit in able),
        by_site=math.fsum(visit.detection or 0.0 for visit in able) / len(able),
        too_small=len(planned) - len(able),
        split=split,
        split_sites=parts,
    )


def inclusion(sizes: Sequence[float], *, visits: int) -> list[float]:
    """Returns each site's chance of being one of ``visits``, in proportion to its size and at most 1.

    Sites whose share would exceed 1 are visited for certain and the rest of the visits is shared out anew. The
    chances add up to ``visits`` (Hansen and Hurwitz 1943; any fixed-size draw with these chances will do, such as
    systematic sampling along a random order).

    Raises:
        InputError: if there are more visits than sites.
    """
    if check_count(visits, name="visits") > len(sizes):
        raise InputError(f"{visits} visits to {len(sizes)} sites are too many", field="visits")
    chances = [0.0] * len(sizes)
    open_ = sorted(range(len(sizes)), key=lambda i: -check_quantity(sizes[i], name="size"))
    left = visits
    total = math.fsum(sizes)
    while left and open_ and sizes[open_[0]] * left >= total:
        first = open_.pop(0)
        chances[first] = 1.0
        left -= 1
        total = math.fsum(sizes[i] for i in open_)
    for i in open_:
        chances[i] = left * sizes[i] / total if left else 0.0
    return chances


def frame_counts(sites: Sequence[Site], *, above: Sequence[float]) -> list[tuple[float, int, float]]:
    """Returns, for each size, how many sites are larger and which share of all H100 equivalents they hold."""
    total = math.fsum(site.h100e for site in sites)
    found = []
    for size in above:
        larger = [site.h100e for site in sites if site.h100e > size]
        found.append((size, len(larger), math.fsum(larger) / total if total else 0.0))
    return found


def _visit(site: Site, chance: float, *, missing: int, within: float | Fraction, seen: float | Fraction) -> SiteVisit:
    held = min(missing, site.chips)
    drawn = exact_sample(site.chips, missing=held, confidence=within, seen=seen)
    caught = detection(site.chips, missing=held, drawn=drawn, seen=seen)
    return SiteVisit(
        site=site.name,
        h100e=site.h100e,
        visited=chance,
        drawn=drawn,
        within=caught,
        detection=chance * caught if site.chips >= missing else None,
    )


def _worst_split(
    sites: Sequence[Site], visits: Sequence[SiteVisit], *, missing: int, seen: float | Fraction
) -> tuple[float, int]:
    """Returns the smallest detection over 1, 2, 4 ... equal parts at the sites that are watched least, and how many."""
    found = []
    parts = 1
    while parts <= len(sites):
        part = math.ceil(missing / parts)
        caught = sorted(
            visit.visited * detection(site.chips, missing=part, drawn=visit.drawn, seen=seen)
            for site, visit in zip(sites, visits, strict=True)
            if site.chips >= part
        )
        if len(caught) >= parts:
            missed = math.fsum(math.log1p(-one) if one < 1 else -math.inf for one in caught[:parts])
            found.append((-math.expm1(missed), parts))
        parts *= 2
    return min(found)
