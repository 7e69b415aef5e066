"""What inspections cost people: from samples and visits to inspectors and person-days, at the rates of real regimes."""

import math
from dataclasses import dataclass
from typing import Final

from weighbridge.units import check_count, check_quantity

__all__ = ["IAEA_2021", "NEW_START_VISITS_PER_SIDE", "Regime", "inspectors_needed", "person_days"]


@dataclass(frozen=True, kw_only=True)
class Regime:
    """A year of a real inspectorate.

    Attributes:
        verifications: verifications in the field.
        person_days: person-days spent on them.
        facilities: facilities under it.
        significant_quantities: significant quantities of material under it.
        inspectors: people who inspect.
    """

    verifications: int
    person_days: int
    facilities: int
    significant_quantities: int
    inspectors: int

    @property
    def person_days_per_verification(self) -> float:
        """Person-days of one verification in the field."""
        return self.person_days / self.verifications

    @property
    def verifications_per_facility(self) -> float:
        """Verifications of one facility in the year."""
        return self.verifications / self.facilities

    @property
    def person_days_per_inspector(self) -> float:
        """Person-days in the field of one inspector in the year."""
        return self.person_days / self.inspectors


IAEA_2021: Final = Regime(
    verifications=3_042, person_days=12_767, facilities=1_334, significant_quantities=226_116, inspectors=280
)
"""IAEA Safeguards Statement for 2021; the inspectors are those that Shavit 2023, footnote 5, counts."""

NEW_START_VISITS_PER_SIDE: Final = 10 + 8
"""Inspections a year on each side: ten of type one, eight of type two (New START, Protocol, part five)."""


def inspectors_needed(samples_per_year: float, *, per_inspector: int) -> int:
    """Returns inspectors for a year's samples, if each reads ``per_inspector`` chips (Shavit 2023, footnote 5)."""
    check_quantity(samples_per_year, name="samples", positive=False)
    return math.ceil(samples_per_year / check_count(per_inspector, name="per-inspector", least=1))


def person_days(visits: int, *, regime: Regime = IAEA_2021) -> float:
    """Returns the person-days in the field of so many visits, at a regime's rate."""
    return check_count(visits, name="visits") * regime.person_days_per_verification
