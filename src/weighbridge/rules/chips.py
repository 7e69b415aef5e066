"""What chip rules count: total processing performance, and H100 equivalents by a named definition."""

from collections.abc import Mapping
from typing import Final, Literal

from weighbridge.errors import InputError
from weighbridge.rules.work import NumberFormat, bits_of
from weighbridge.units import H100Equivalents, check_quantity

__all__ = ["H100Definition", "h100_equivalents", "total_processing_performance"]

H100Definition = Literal["tpp-15840", "tpp-15824"]
"""arXiv 2511.10783 Article II(15): the text of 17 November 2025 (990 TFLOP/s) or its later revision (989)."""

_TPP_OF_ONE: Final[dict[H100Definition, float]] = {"tpp-15840": 15_840.0, "tpp-15824": 15_824.0}


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
