"""The account of chip-time: what evidence covers, what is left, and what that leaves hidden, at each trust level.

Pure arithmetic (protocol sections 1, 4.4, 4.6 and 6). At level A a chip's records are believed: chip-time divides into

* **declared run**: covers only the time that the verifier measured the replayed steps to need, of steps between the
  first and the last freeze that the run claims in a boot; the rest of the chip's signed CPU time in that boot
  (start-up, shutdown, what lies before the first and after the last claimed freeze, slack) counts at full capacity;
* **uncovered**: every other second that the chip ran counts at full capacity;
* **off**: between a signed shutdown and the next boot; an assumption, printed;
* **exposure**: of the declared span itself, the time that frozen samples leave possible:
  ``U ≤ χ²(1-α; 2(k+W)) / (2 f)`` chip-seconds for k unexplained samples in W declared windows.

With one window this is the protocol's form: 3.0/f at k = 0. An operator who sees a freeze hit something hidden can end
the window there, leave that freeze outside, where time is charged but not counted, and begin another; so each window
beyond the first may conceal one hit, and counts as one. W comes at a price (time up to a window's first freeze is
charged), which keeps the bound at its error whatever the operator sees and decides. One choice stays: who stops hiding
on seeing k ≥ 1 freezes, all of which are failing findings, exceeds the figure more often than α (10 % within five mean
gaps, 22 % within forty, at α = 5 %).

At levels B and C no record of what was in memory counts, so every chip counts at full capacity for the whole window.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from weighbridge.errors import InputError
from weighbridge.evidence.findings import Coverage
from weighbridge.statistics import clopper_pearson_upper, poisson_upper

__all__ = ["Account", "BootUse", "Capacity", "Samples", "account_for", "settle"]

Level = Literal["A", "B", "C"]


@dataclass(frozen=True)
class Capacity:
    """What one processor can do at most: measured by the verifier, in the fastest format found."""

    flop_per_s: float
    format: str

    def __post_init__(self) -> None:
        if not 0 < self.flop_per_s < math.inf:
            raise InputError("must be a number above 0 FLOP/s", where="capacity")


@dataclass(frozen=True, kw_only=True)
class BootUse:
    """One boot of one chip, as its signed records and the verifier's replays tell it.

    All times are processor-seconds: on a chip that used two processors a second counts twice.

    Attributes:
        chip: chip id.
        boot: number of the boot.
        active_s: active time from boot to the last record, freezes excluded.
        compute_s: signed CPU time, or ``active_s`` where the count is too weak to use.
        needed_s: time that the verifier measured the accepted declared steps to need; 0 without any.
        declared_active_s: active time between the first and last freeze of declared windows.
        tail_s: time after the last record that nothing bounds from the chip's side (unclean end).
        use: what the boot was used for.
        cores: processors that the command could use.
        evidence: record statement ids.
        reason: one sentence.
    """

    chip: str
    boot: int
    active_s: float
    compute_s: float
    needed_s: float
    declared_active_s: float
    tail_s: float
    use: str
    cores: int = 1
    evidence: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The schedule-triggered freezes of all chips in one account that fell inside declared windows, edges included.

    Attributes:
        rate_hz: f, freezes per active chip-second, the lowest of the chips concerned.
        due: freezes that the schedule asked for.
        audited: those that the verifier replayed and matched.
        unexplained: those due that no audit explained (missing and failed ones included).
        windows: stretches between the first and the last freeze that one run claims in one boot.
    """

    rate_hz: float
    due: int
    audited: int
    unexplained: int
    windows: int = 1

    def __post_init__(self) -> None:
        """Refuses counts that cannot be."""
        counts = (self.due, self.audited, self.unexplained, self.windows)
        if any(count < 0 for count in counts) or self.audited + self.unexplained > self.due:
            raise InputError(
                f"{self.audited} audited and {self.unexplained} unexplained of {self.due}", where="samples"
            )


@dataclass(frozen=True)
class Account:
    """The settled account of one operator.

    Attributes:
        coverages: spans of chip-time at level A, with what each leaves hidden.
        exposure_s: hidden processor-seconds that the samples leave possible inside declared spans.
        form: which bound gave ``exposure_s``.
        hidden_flop: X by level, in operations of the capacity's format.
        alpha: error charged for the bound.
        samples: what was counted.
    """

    coverages: tuple[Coverage, ...]
    exposure_s: float
    form: str
    hidden_flop: dict[str, float]
    alpha: float
    samples: Samples
    capacity: Capacity
    window_s: float

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return asdict(self) | {"coverages": [c.as_dict() for c in self.coverages]}


def settle(samples: Samples, *, span_s: float, alpha: float) -> tuple[float, str]:
    """Returns hidden chip-seconds inside declared windows, and the form of the bound (protocol section 6).

    All freezes due were read and audited: the exposure form. Only a drawn part was audited and all of it held: the
    conditional form, ``u ≤ 1 - α^(1/n)`` of the windows, where each window's first freeze is no evidence (it was
    chosen to be one) and each window beyond the first counts as one failure. Otherwise the whole span.
    """
    if span_s <= 0:
        return 0.0, "no declared span"
    if samples.rate_hz <= 0 or samples.audited == 0:
        return span_s, "no audited sample: the whole span"
    concealed = max(samples.windows, 1) - 1
    over = f" over {samples.windows} windows" if concealed else ""
    if samples.audited + samples.unexplained == samples.due:
        bound = poisson_upper(samples.unexplained + concealed, alpha) / samples.rate_hz
        return min(span_s, bound), f"exposure, k = {samples.unexplained} of {samples.due} due{over}"
    if samples.unexplained == 0:
        chosen = max(0, samples.audited - max(samples.windows, 1))
        share = clopper_pearson_upper(concealed, chosen + concealed, alpha)
        return span_s * share, f"conditional, n = {chosen} drawn of {samples.due} due{over}"
    return span_s, "a drawn audit failed while others were not made: the whole span"


def account_for(
    boots: Sequence[BootUse],
    samples: Samples,
    *,
    chips: int,
    capacity: Capacity,
    window_s: float,
    alpha: float,
) -> Account:
    """Settles the account of one operator over the window.

    Args:
        boots: every boot of every chip that is, or should be, the operator's.
        samples: freezes in declared windows.
        chips: processors of the chips that the directory gives the operator, and of those found with it beyond that.
        capacity: of each processor.
        window_s: length of the window in seconds, by the log's clock.
        alpha: error allotted to this operator's bound.
    """
    coverages: list[Coverage] = []
    free_total = 0.0
    for boot in boots:
        used = max(boot.compute_s, 0.0)
        if boot.needed_s > 0:
            free = max(0.0, used - boot.needed_s) + boot.tail_s
            coverages.append(_coverage(boot, "declared run", min(boot.needed_s, used), 0.0, capacity))
            coverages.append(_coverage(boot, "around the declared steps", free, free, capacity))
        else:
            free = max(boot.active_s, used) + boot.tail_s
            coverages.append(_coverage(boot, boot.use, free, free, capacity))
        free_total += free
    declared = [boot for boot in boots if boot.needed_s > 0]
    cores = max((boot.cores for boot in declared), default=1)
    span = sum(boot.declared_active_s / boot.cores for boot in declared)
    exposed, form = settle(samples, span_s=span, alpha=alpha)
    exposure = exposed * cores
    everything = chips * window_s * capacity.flop_per_s
    hidden = {
        "A": (free_total + exposure) * capacity.flop_per_s,
        "B": everything,
        "C": everything,
    }
    return Account(tuple(coverages), exposure, form, hidden, alpha, samples, capacity, window_s)


def _coverage(boot: BootUse, use: str, seconds: float, free: float, capacity: Capacity) -> Coverage:
    return Coverage(
        chip=boot.chip,
        use=use,
        seconds=seconds,
        free_seconds=free,
        hidden_flop=free * capacity.flop_per_s,
        evidence=boot.evidence,
        reason=boot.reason,
    )
