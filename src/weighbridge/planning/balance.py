"""Material balance: of chips, which can be counted, and of FLOP or packages by yield, which are measured.

Material unaccounted for is what the books say less what is there: MUF = (beginning + receipts - shipments -
retirements) - ending (IAEA practice, INFCIRC/153). For chips it must be exactly 0. What is measured has a standard
deviation: evidence from the hardware, or from the yield, less what was declared; alarm at 1.645 sigma (5 %), seen with
95 % at 3.29 sigma.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from statistics import NormalDist
from typing import Final

from weighbridge.errors import InputError
from weighbridge.units import check_count, check_fraction, check_quantity

__all__ = [
    "ChipBalance",
    "Consignment",
    "MeasuredBalance",
    "PairedStatistic",
    "chip_balance",
    "detectable",
    "inventory_report_due",
    "listing_due",
    "measured_balance",
    "paired_statistic",
    "sigma_needed",
]

_REPORT_DAYS: Final = 30


@dataclass(frozen=True, kw_only=True)
class Consignment:
    """A shipment as both sides counted it.

    Attributes:
        name: its number.
        shipped: chips that the shipper sent.
        received: chips that the receiver found.
    """

    name: str
    shipped: int
    received: int

    @property
    def difference(self) -> int:
        """Shipper/receiver difference; it is kept for each consignment and never netted against another."""
        return self.shipped - self.received


@dataclass(frozen=True, kw_only=True)
class ChipBalance:
    """The balance of one site over one period.

    Attributes:
        book: chips that should be there.
        counted: chips that are.
        unaccounted: MUF = book - counted; negative: chips that nobody brought.
        differences: consignments whose two counts differ.
        balanced: whether nothing is unaccounted for and no consignment differs.
    """

    book: int
    counted: int
    unaccounted: int
    differences: tuple[Consignment, ...]
    balanced: bool


@dataclass(frozen=True, kw_only=True)
class MeasuredBalance:
    """Evidence against declarations over one period, in their unit: FLOP, or packages.

    Attributes:
        unaccounted: MUF = evidence - declared.
        sigma: its standard deviation.
        z: MUF / sigma.
        alarm_at: MUF above which the alarm is raised: with the chance ``alpha`` if nothing is hidden.
        alarm: whether it is exceeded.
        detectable: what must be hidden to raise it with the wanted power.
        sigma_share: sigma as a share of what was declared; none if nothing was.
    """

    unaccounted: float
    sigma: float
    z: float
    alarm_at: float
    alarm: bool
    detectable: float
    sigma_share: float | None


@dataclass(frozen=True, kw_only=True)
class PairedStatistic:
    """Operator's figures against the inspector's re-measurements of some items (Burr et al. 2016).

    Attributes:
        items: n, items measured by both.
        difference: D = N x mean(operator - inspector), in the figures' unit.
        sigma: its standard deviation, N sigma_d / sqrt(n).
        item_sigma: sigma_d, standard deviation of one item's difference.
        z: D / sigma.
        alarm_at: D above which the alarm is raised.
        alarm: whether it is: the operator overstates what is there.
    """

    items: int
    difference: float
    sigma: float
    item_sigma: float
    z: float
    alarm_at: float
    alarm: bool


def chip_balance(
    beginning: int,
    *,
    received: int = 0,
    shipped: int = 0,
    retired: int = 0,
    counted: int,
    consignments: Sequence[Consignment] = (),
) -> ChipBalance:
    """Returns what is unaccounted for: (beginning + received - shipped - retired) - counted.

    Args:
        beginning: chips at the last stock-taking.
        received: chips received since.
        shipped: chips shipped since.
        retired: chips destroyed under certificate; broken ones count as working until then.
        counted: chips found at the stock-taking.
        consignments: shipments as both sides counted them.

    Raises:
        InputError: if more left than there ever were, or a figure is no count.
    """
    figures = {"beginning": beginning, "received": received, "shipped": shipped, "retired": retired}
    for name, count in (figures | {"counted": counted}).items():
        check_count(count, name=name)
    book = beginning + received - shipped - retired
    if book < 0:
        raise InputError(
            f"{shipped + retired:,} chips left of {beginning + received:,}", field="shipped", mend="check the books"
        )
    differences = tuple(one for one in consignments if one.difference)
    return ChipBalance(
        book=book,
        counted=counted,
        unaccounted=book - counted,
        differences=differences,
        balanced=book == counted and not differences,
    )


def measured_balance(
    evidence: float,
    *,
    declared: float,
    sigma: float,
    alpha: float | Fraction = 0.05,
    power: float | Fraction = 0.95,
) -> MeasuredBalance:
    """Returns evidence less what was declared, and whether it raises the alarm (one-sided).

    Args:
        evidence: FLOP that the hardware's own evidence shows, or packages that the yield lets expect.
        declared: the same as declared.
        sigma: standard deviation of their difference, in their unit.
        alpha: chance of a false alarm.
        power: chance of the alarm at ``detectable``.

    Raises:
        InputError: if a figure is meaningless.
    """
    check_quantity(evidence, name="evidence", positive=False)
    check_quantity(declared, name="declared", positive=False)
    check_quantity(sigma, name="sigma")
    limit = -_quantile(check_fraction(alpha, name="alpha")) * sigma
    muf = evidence - declared
    return MeasuredBalance(
        unaccounted=muf,
        sigma=sigma,
        z=muf / sigma,
        alarm_at=limit,
        alarm=muf > limit,
        detectable=detectable(sigma, alpha=alpha, power=power),
        sigma_share=sigma / declared if declared else None,
    )


def detectable(sigma: float, *, alpha: float | Fraction = 0.05, power: float | Fraction = 0.95) -> float:
    """What raises the alarm with the wanted power if hidden: (z_alpha + z_power) sigma, 3.29 sigma at 5 % and 95 %."""
    z = _quantile(check_fraction(power, name="power")) - _quantile(check_fraction(alpha, name="alpha"))
    return z * check_quantity(sigma, name="sigma")


def sigma_needed(hidden: float, *, alpha: float | Fraction = 0.05, power: float | Fraction = 0.95) -> float:
    """Standard deviation at which ``hidden`` FLOP are just detectable: hidden / 3.29 at 5 % and 95 %."""
    return check_quantity(hidden, name="hidden") / detectable(1.0, alpha=alpha, power=power)


def paired_statistic(
    operator: Sequence[float],
    *,
    inspector: Sequence[float],
    population: int,
    item_sigma: float | None = None,
    alpha: float | Fraction = 0.05,
) -> PairedStatistic:
    """Returns D = N mean(O_j - I_j) with variance N^2 sigma_d^2 / n (Burr et al., doi 10.1051/epjn/2016026).

    Args:
        operator: the operator's figure of each re-measured item.
        inspector: the inspector's figure of the same items.
        population: N, items of the balance.
        item_sigma: sigma_d known from honest pairs; estimated from these differences if not given, which a Prover
            that falsifies some items only makes too large.
        alpha: chance of a false alarm.

    Raises:
        InputError: if the figures do not pair, are too few, or do not vary.
    """
    if len(operator) != len(inspector):
        raise InputError(f"{len(operator)} figures against {len(inspector)}", field="pairs", mend="give both of each")
    number = len(operator)
    if number < (2 if item_sigma is None else 1):
        raise InputError("are too few", field="pairs", mend="measure more items, or give --item-sigma")
    if check_count(population, name="population", least=1) < number:
        raise InputError(f"{number} of {population} items is impossible", field="population")
    if not all(math.isfinite(value) for value in (*operator, *inspector)):
        raise InputError("must be finite numbers", field="pairs")
    differences = [o - i for o, i in zip(operator, inspector, strict=True)]
    mean = math.fsum(differences) / number
    if item_sigma is None:
        item_sigma = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (number - 1))
        if item_sigma == 0:
            raise InputError("do not vary", field="pairs", mend="give --item-sigma, known from honest pairs")
    sigma = population * check_quantity(item_sigma, name="item-sigma") / math.sqrt(number)
    total = population * mean
    limit = -_quantile(check_fraction(alpha, name="alpha")) * sigma
    return PairedStatistic(
        items=number,
        difference=total,
        sigma=sigma,
        item_sigma=item_sigma,
        z=total / sigma,
        alarm_at=limit,
        alarm=total > limit,
    )


def inventory_report_due(changed: date) -> date:
    """Day by which a change of inventory is reported: 30 days from the end of its month (INFCIRC/153)."""
    following = date(changed.year + changed.month // 12, changed.month % 12 + 1, 1)
    return following - timedelta(days=1) + timedelta(days=_REPORT_DAYS)


def listing_due(taken: date) -> date:
    """Day by which the inventory listing and the balance report follow a stock-taking: 30 days (INFCIRC/153)."""
    return taken + timedelta(days=_REPORT_DAYS)


def _quantile(p: Fraction) -> float:
    # Near 1 a double cannot tell p from 1: the other tail is the same.
    return NormalDist().inv_cdf(float(p)) if p < Fraction(1, 2) else -NormalDist().inv_cdf(float(1 - p))
