"""A run on chips that may be drawn: its share of the chips, and how often one of them gives it away.

Shavit, arXiv 2303.11341, section 3.2 and appendix B. b = H / (a mu T C) is exact in the decimals that were typed, so
that a run that needs precisely all chips is possible.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from weighbridge.errors import InputError
from weighbridge.units import SECONDS_PER_DAY, check_count, check_fraction, check_quantity

__all__ = ["ChipRun", "log_missed"]

_WORTH_PRINTING: Final = 10**9


@dataclass(frozen=True, kw_only=True)
class ChipRun:
    """A run to be caught, and what the inspector reads on a chip that it draws.

    Attributes:
        chips: C, chips of the Prover that can be drawn.
        flop: H, FLOP of the run.
        chip_flops: FLOP/s of one chip at full use.
        days: T, length of the run.
        period: T_m, days from one draw to the next.
        rate: f, snapshots per chip and day.
        utilisation: mu, share of the chips' FLOP/s that the run gets; 1 is the safe choice.
        log_days: days of the run that a drawn chip's log can hold, at most a period: chips that change hands, or
            logs that are short. A whole period if not given.
        tampered: share theta of the involved chips whose logging is off; the worst for the inspector if not given.
        tamper_seen: q_t, chance that inspecting such a chip shows it; 1 counts every tampered chip as caught.
    """

    chips: int
    flop: float
    chip_flops: float
    days: float
    period: float
    rate: float
    utilisation: float = 1.0
    log_days: float | None = None
    tampered: float | None = None
    tamper_seen: float = 1.0

    def __post_init__(self) -> None:
        check_count(self.chips, name="chips", least=1)
        for name in ("flop", "chip_flops", "days", "period", "rate", "utilisation"):
            check_quantity(getattr(self, name), name=name.replace("_", "-"))
        if self.utilisation > 1:
            raise InputError(f"{self.utilisation:g} is above 1", field="utilisation", mend="for 40 % write 0.4")
        if self.log_days is not None:
            check_quantity(self.log_days, name="log-days")
        for name, value in (("tampered", self.tampered), ("tamper-seen", self.tamper_seen)):
            if value is not None and check_quantity(value, name=name, positive=False) > 1:
                raise InputError(f"{value:g} does not lie in [0, 1]", field=name)

    @property
    def exact_share(self) -> Fraction:
        """b, the run's share of the chips.

        Raises:
            InputError: if the run needs more chips than there are.
        """
        per_chip = _decimal(self.chip_flops) * _decimal(self.utilisation) * SECONDS_PER_DAY * _decimal(self.days)
        share = _decimal(self.flop) / (per_chip * self.chips)
        if share > 1:
            raise InputError(
                f"the run is impossible: in {self.days:g} days it needs {_times(share)} times {self.chips:,} chips",
                field="chips",
                mend="give more chips, more days or a smaller run",
            )
        return share

    @property
    def share(self) -> float:
        """B as a float, above 0."""
        share = float(self.exact_share)
        if share == 0:
            raise InputError("the run is too small against the fleet to compute with", field="flop")
        return share

    @property
    def chips_in_run(self) -> int:
        """Fewest chips that can do the run in its time."""
        return math.ceil(self.exact_share * self.chips)

    @property
    def periods(self) -> float:
        """T / T_m, with which Eq. 1 counts: neither the draws that a run overlaps nor the complete periods."""
        return self.days / self.period

    @property
    def draws(self) -> int:
        """Draws at which logs that are kept show the run, the first after its end included: ceil(T / T_m).

        A run that begins just after a draw meets no more; 1e-9 of a period is rounding.
        """
        return max(1, math.ceil(self.periods * (1 - 1e-9)))

    def seen_after(self, days: float) -> float:
        """Chance that a drawn chip of the run gives it away when its log holds ``days`` of the run.

        (1 - theta)(1 - e^(-f days)) + theta q_t; where theta is not given, the Prover's better choice.
        """
        logged = -math.expm1(-self.rate * days)
        if self.tampered is None:
            return min(logged, self.tamper_seen)
        return (1 - self.tampered) * logged + self.tampered * self.tamper_seen

    @property
    def seen(self) -> float:
        """p_w: the same for the log of one period, as Eq. 1 has it."""
        seen = self.seen_after(self.log_window)
        if seen == 0:
            raise InputError(
                "a tampered chip that inspection cannot tell from others hides the run: no sample is enough",
                field="tamper-seen",
                mend="check for tampering with some chance above 0",
            )
        return seen

    @property
    def log_window(self) -> float:
        """Days of the run that the log of one period holds."""
        return self.period if self.log_days is None else min(self.log_days, self.period)

    @property
    def incriminating_snapshots(self) -> float:
        """Snapshots of the whole run on all chips, expected: f H / (a mu), whatever the number of chips."""
        return self.rate * self.flop / (self.chip_flops * self.utilisation * SECONDS_PER_DAY)


def log_missed(confidence: float | Fraction) -> float:
    """Returns ln(1 - p), in full precision near 0 as near 1."""
    sure = check_fraction(confidence, name="confidence")
    return math.log1p(-float(sure)) if sure < Fraction(1, 2) else math.log(1 - sure)


def _times(share: Fraction) -> str:
    return f"{float(share):.4g}" if share < _WORTH_PRINTING else f"more than {_WORTH_PRINTING:.0e}"


def _decimal(value: float) -> Fraction:
    return Fraction(repr(float(value)))
