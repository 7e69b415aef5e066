"""One rule and one counting policy, in the fields of ``rules.json``; the comparison with a threshold."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from weighbridge.errors import InputError
from weighbridge.units import Flop, check_quantity

__all__ = ["CountingPolicy", "Rule"]

_FLOP_METRICS: Final = ("training_flop", "cumulative_training_flop", "modification_flop")

_Number = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
_Scalar = _Number | str | None
_Text = Annotated[str, Field(max_length=4000)]


class RuleData(BaseModel):
    """Strict, frozen data: unknown fields, wrong types, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CountingPolicy(RuleData):
    """What a policy's text says; how it is computed lies in :mod:`weighbridge.rules.counting`."""

    name: _Text
    confidence: _Text
    precision: _Text | None = None
    scope: _Text | None = None
    include: tuple[_Text, ...] = ()
    exclude: tuple[_Text, ...] = ()
    methods: tuple[_Text, ...] = ()
    tolerance_rel: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = None
    report_sig_figs: Annotated[int, Field(ge=1, le=17)] | None = None
    mac_counts_as: Annotated[int, Field(ge=1, le=2)] | None = None
    counts: _Text | None = None
    sparsity: _Text | None = None
    formula: _Text | None = None
    performance_density: _Text | None = None
    worked: _Text | None = None
    note: _Text | None = None
    source: _Text | None = None

    def highest_true_value(self, declared: float) -> Flop:
        """Returns the largest true total that a declaration within the policy's tolerance can stand for."""
        return Flop(check_quantity(declared, name="declared", positive=False) * (1 + (self.tolerance_rel or 0)))

    def reported(self, flop: float) -> Flop:
        """Returns the figure rounded as the policy asks for in reports; never compare a threshold with it."""
        return Flop(float(f"{flop:.{self.report_sig_figs - 1}e}")) if self.report_sig_figs else Flop(flop)


class Rule(RuleData):
    """One rule, in the fields of ``rules.json``."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=100)]
    name: _Text
    jurisdiction: _Text
    status: _Text
    kind: _Text
    metric: _Text
    comparator: Literal[">", ">=", "<", "<=", "in", "n/a"]
    threshold: _Number | tuple[_Scalar | tuple[_Scalar, ...], ...] | None
    unit: _Text
    scope: _Text
    obligations: tuple[_Text, ...]
    source: _Text
    confidence: Literal["T", "S", "M", "D"]
    counting: _Text | None = None
    network_gbps_gt: _Number | None = None
    effective: _Text | None = None
    enforcement_from: _Text | None = None
    fine: _Text | None = None
    penalty: _Text | None = None
    note: _Text | None = None

    @property
    def why_not_assessable(self) -> str | None:
        """Why FLOP alone cannot decide this rule, in words; None if they can."""
        if isinstance(self.threshold, tuple):
            return f"it joins several thresholds ({self.metric}), which FLOP alone cannot decide"
        if self.comparator in ("in", "n/a"):
            return f"its comparator is {self.comparator!r}, which FLOP alone cannot decide"
        if self.metric not in _FLOP_METRICS:
            return f"it limits {self.metric}, not training FLOP"
        if self.threshold is None:
            return "it leaves its threshold to the user: add a rule of your own that sets one"
        return None

    @property
    def limit(self) -> Flop:
        """The threshold Y in FLOP.

        Raises:
            InputError: if FLOP alone cannot decide the rule.
        """
        why_not = self.why_not_assessable
        if why_not is not None or not isinstance(self.threshold, float):
            raise InputError(f"cannot be assessed by FLOP alone: {why_not}", where=f"rule {self.id}")
        return Flop(self.threshold)

    def compare(self, flop: float) -> bool:
        """Whether a total breaks the rule (or triggers its duties), with the rule's own comparator.

        ``>`` and ``>=`` name what is caught, ``<`` and ``<=`` what is allowed.

        Args:
            flop: the total under the rule's counting policy; may be infinite (unbounded).

        Returns:
            True if broken.

        Raises:
            InputError: if FLOP alone cannot decide the rule, or ``flop`` is NaN or negative.
        """
        limit = self.limit
        if flop != float("inf"):
            check_quantity(flop, name="flop", positive=False)
        return flop > limit if self.comparator in (">", "<=") else flop >= limit
