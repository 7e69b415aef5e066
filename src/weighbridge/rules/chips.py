"""What chip rules count: total processing performance, and H100 equivalents by a named definition."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, get_args

from weighbridge.errors import InputError
from weighbridge.rules.work import NumberFormat, bits_of
from weighbridge.units import H100Equivalents, check_quantity

__all__ = ["CoveredCluster", "H100Definition", "covered_cluster", "h100_equivalents", "total_processing_performance"]

H100Definition = Literal["tpp-15840", "tpp-15824"]
"""arXiv 2511.10783 Article II(15): the text of 17 November 2025 (990 TFLOP/s) or its later revision (989)."""

_TPP_OF_ONE: Final[dict[H100Definition, float]] = {"tpp-15840": 15_840.0, "tpp-15824": 15_824.0}
_CLUSTER_H100E: Final = 16
_CLUSTER_GB: Final = 1_280


@dataclass(frozen=True, kw_only=True)
class CoveredCluster:
    """Fewest networked chips of one kind that are a covered cluster (arXiv 2511.10783, Article II(16)).

    Attributes:
        first_text: by the text of 17 November 2025: above 16 times 15,840 TPP.
        by_tpp: by the later revision: above 16 times 15,824 TPP, or
        by_memory: above 1,280 GB of accelerator memory; none if the memory was not given.
        later_text: the smaller of both.
    """

    first_text: int
    by_tpp: int
    by_memory: int | None
    later_text: int


def total_processing_performance(rates: Mapping[NumberFormat, float]) -> float:
    """TPP = 2 x MacTOPS x bit length, dense, the largest over formats (ECCN 3A090 technical notes, 2023).

    Args:
        rates: dense operations per second by format, a multiply-add counted as two. Vendors' headline numbers
            often assume sparsity: halve those.

    Returns:
        TPP in tera-operations per second times bits.

    Raises:
        InputError: if no rate is given or one is not positive.
    """
    if not rates:
        raise InputError("a chip without any rate has no TPP", field="rates")
    return max(
        check_quantity(rate, name=number_format) * bits_of(number_format) / 1e12
        for number_format, rate in rates.items()
    )


def h100_equivalents(tpp: float, *, definition: H100Definition) -> H100Equivalents:
    """Converts a sum of TPP into H100 equivalents; always print the definition beside the figure."""
    if definition not in _TPP_OF_ONE:
        raise InputError(f"{definition!r} is not known", field="definition", mend=f"known: {', '.join(_TPP_OF_ONE)}")
    return H100Equivalents(check_quantity(tpp, name="tpp", positive=False) / _TPP_OF_ONE[definition])


def covered_cluster(tpp: float, *, memory: float | None = None, reference: bool = False) -> CoveredCluster:
    """Returns how many networked chips of one kind become a covered cluster, by both texts.

    Args:
        tpp: TPP of one chip.
        memory: GB of one chip.
        reference: the chip is the H100 that both texts mean, and counts exactly 1. By its data sheet 16 of them are
            above the later limit, although the text means them not to be.

    Raises:
        InputError: if a figure is meaningless.
    """
    each = check_quantity(tpp, name="tpp")
    first, later = (
        _above(_CLUSTER_H100E * (each if reference else _TPP_OF_ONE[text]), each) for text in get_args(H100Definition)
    )
    by_memory = None if memory is None else _above(_CLUSTER_GB, check_quantity(memory, name="memory"))
    return CoveredCluster(
        first_text=first,
        by_tpp=later,
        by_memory=by_memory,
        later_text=later if by_memory is None else min(later, by_memory),
    )


def _above(limit: float, each: float) -> int:
    # In the decimals that were typed: 16 of the reference chip are precisely at the limit, not above it.
    return math.floor(Fraction(repr(limit)) / Fraction(repr(each))) + 1
