"""The account of a public case: X at each trust level, and what each further piece of evidence would do to it.

The arithmetic is that of an inspection (:mod:`weighbridge.ledger.account`), with the whole fleet as one entry whose
seconds are chip-seconds. Only one thing is not there: what an inspector's own readings of memory show at levels B and
C, where no chip record counts. :func:`hidden_by_readings` adds it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from weighbridge.errors import InputError
from weighbridge.ledger.account import Account, BootUse, Capacity, Samples, account_for
from weighbridge.ledger.case import Case, Derived
from weighbridge.ledger.verdict import LEVELS, Lineage, Ruling, Verdict, rule_on, sentence
from weighbridge.planning.snapshots import plan_snapshots
from weighbridge.rules import RuleBook, WorkItem
from weighbridge.rules.formulas import attention_flop, hardware_flop, training_flop
from weighbridge.statistics import share_upper_all_explained
from weighbridge.units import SECONDS_PER_DAY

__all__ = [
    "ANSWERS",
    "NOTHING",
    "Evidence",
    "account_of",
    "apply_rule",
    "apply_rules",
    "computed",
    "evidence_of",
    "headline",
    "hidden",
    "hidden_by_readings",
    "readings_needed",
]

_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What inspectors would hold about the run; nothing by default.

    Attributes:
        rate: audited freezes per chip and day, all of them read and explained (level A).
        windows: stretches that the run claims; each beyond the first counts as one failure.
        segments: segments replayed without a fault; ``math.inf`` is all of them, 0 is no transcript.
        idle_shown: signed counters show that the chips stood still when the declared steps did not need them.
        readings: unannounced readings of memory by inspectors with their own instruments, all explained.
    """

    rate: float = 0.0
    windows: int = 1
    segments: float = 0
    idle_shown: bool = False
    readings: int = 0

    def __post_init__(self) -> None:
        """Refuses what no inspection could hold."""
        if not (0 <= self.rate < math.inf and self.windows >= 1 and self.segments >= 0 and self.readings >= 0):
            raise InputError("rate, segments and readings are at least 0, windows at least 1", where="evidence")


NOTHING = Evidence()


def evidence_of(case: Case) -> Evidence:
    """Returns the evidence that a case says is held, or supposes; nothing where it says nothing.

    As many segments as the run has are all of them. Where the case does not say how many stretches the run claims,
    each stretch between restarts counts as one: a span that was fixed before has to be said.
    """
    said = {name: figure.value for name, figure in case.evidence.items()}
    segments = said.get("segments", 0.0)
    every = computed(case)["steps"].value / case["segment_steps"]
    return Evidence(
        rate=said.get("rate", 0.0),
        windows=round(said.get("windows", computed(case)["windows"].value)) if "rate" in said else 1,
        segments=math.inf if segments >= every else segments,
        idle_shown="idle_shown" in said,
        readings=round(said.get("readings", 0)),
    )


def computed(case: Case) -> dict[str, Derived]:
    """Returns what follows from the published figures, by name, each with its formula and its mark."""
    chip_days = case["chip_hours"] / 24
    window_days = chip_days / case["chips"]
    needed_hours = case["training_flop"] / case["step_flop_rate"] / _HOUR
    model = training_flop(case["parameters"], tokens=case["tokens"])
    attention = attention_flop(
        case["layers"], context=case["context"], width=case["width"], tokens=case["tokens"], causal=True
    )
    peak = hardware_flop(1, hours=case["chip_hours"], peak=case["peak_bf16"])
    fleet_day = case["chips"] * case["capacity"] * SECONDS_PER_DAY
    steps = math.ceil(case["tokens"] / case["batch_tokens"])
    outside = case["cluster_chips"] - case["chips"]
    step = case["batch_tokens"] * case["training_flop"] / case["tokens"] / (case["chips"] * case["step_flop_rate"])
    all_at_once = "all chips were used all the time"
    rows = (
        ("window", window_days, "days", "chip_hours / chips / 24",
         "shortest window that holds the chip-hours", ("chip_hours", "chips"), all_at_once),
        ("six_nd", model, "FLOP", "6 × parameters × tokens", "the run by the usual formula",
         ("parameters", "tokens"), ""),
        ("with_attention", model + attention, "FLOP", "6 × tokens × (parameters + layers × context × width)",
         "the same with causal attention", ("parameters", "tokens", "layers", "width", "context"), ""),
        ("utilisation", case["training_flop"] / peak, "of BF16 peak", "training_flop / (chip_hours × peak_bf16)",
         "over all chip-hours", ("training_flop", "chip_hours", "peak_bf16"), ""),
        ("needed", needed_hours, "chip-hours", "training_flop / step_flop_rate",
         "chip-time that the declared steps needed", ("training_flop", "step_flop_rate"), ""),
        ("spare", case["chip_hours"] - needed_hours, "chip-hours", "chip_hours − needed",
         "chip-time that nothing published accounts for", ("chip_hours", "training_flop", "step_flop_rate"), ""),
        ("spare_flop", (case["chip_hours"] - needed_hours) * _HOUR * case["capacity"], "FLOP", "spare × capacity",
         "what that time could have trained at most",
         ("chip_hours", "training_flop", "step_flop_rate", "capacity"), ""),
        ("steps", float(steps), "steps", "tokens / batch_tokens", "steps",
         ("tokens", "batch_tokens"), "all had the last batch size"),
        ("step_time", step, "s", "batch_tokens × training_flop / tokens / (chips × step_flop_rate)",
         "length of a step", ("batch_tokens", "training_flop", "tokens", "chips", "step_flop_rate"), ""),
        ("windows", math.ceil(1 + case["interruptions"] / case["observed_days"] * window_days), "stretches",
         "⌈1 + interruptions / observed_days × window⌉", "stretches between restarts",
         ("interruptions", "observed_days", "chip_hours", "chips"), "all days were like those observed"),
        ("freeze", case["chip_memory"] / case["copy_rate"], "s", "chip_memory / copy_rate",
         "length of a freeze", ("chip_memory", "copy_rate"), ""),
        ("anchor", case["parameters"] * case["state_bytes"], "bytes", "parameters × state_bytes",
         "full state that explains one freeze", ("parameters", "state_bytes"), ""),
        ("day", fleet_day, "FLOP", "chips × capacity × 86,400 s", "what each day beyond the window adds to X",
         ("chips", "capacity"), ""),
        ("outside", outside * case["capacity"] * window_days * SECONDS_PER_DAY, "FLOP",
         "(cluster_chips − chips) × capacity × window", "what the other chips of the cluster could do in the window",
         ("cluster_chips", "chips", "capacity", "chip_hours"), all_at_once),
    )  # fmt: skip
    return {
        name: case.derived(name, value, unit, formula=formula, what=what, of=of, assuming=assuming)
        for name, value, unit, formula, what, of, assuming in rows
    }


def hidden(case: Case, evidence: Evidence = NOTHING) -> dict[str, float]:
    """Returns X in FLOP of the capacity's format, at levels A, B and C, if inspectors held this evidence."""
    return account_of(case, evidence).hidden_flop


def account_of(case: Case, evidence: Evidence = NOTHING) -> Account:
    """Returns the account of the run's chip-time, if inspectors held this evidence, with X by level.

    Alpha is split evenly over the bounds that are used: of freezes, of segments, of readings. Freezes without a
    transcript explain nothing, and a transcript without freezes ties no chip-time to its steps: either alone leaves
    every chip-hour at capacity.
    """
    total_s = case["chip_hours"] * _HOUR
    shown = evidence.segments > 0
    sampled = shown and evidence.rate > 0
    read = shown and evidence.readings > 0
    bounds = sampled + read + (shown and not math.isinf(evidence.segments) and (sampled or read))
    alpha = case["alpha"] / max(bounds, 1)
    forged = 0.0 if math.isinf(evidence.segments) else share_upper_all_explained(int(evidence.segments), alpha)
    steps_s = case["training_flop"] / case["step_flop_rate"]
    needed_s = steps_s * (1 - forged)
    idle_s = total_s - steps_s if evidence.idle_shown else 0.0
    everything, due = case["capacity"] * total_s, math.floor(evidence.rate * total_s / SECONDS_PER_DAY)
    fleet = BootUse(
        chip=f"{case['chips']:,.0f} chips",
        boot=0,
        active_s=total_s,
        compute_s=total_s - idle_s,
        needed_s=needed_s if sampled else 0.0,
        declared_active_s=total_s if sampled else 0.0,
        tail_s=0.0,
        use="uncovered",
    )
    samples = Samples(
        rate_hz=evidence.rate / SECONDS_PER_DAY, due=due, audited=due, unexplained=0, windows=evidence.windows
    )
    account = account_for(
        [fleet],
        samples,
        chips=round(case["chips"]),
        capacity=Capacity(case["capacity"], case.capacity_format),
        window_s=total_s / case["chips"],
        alpha=alpha,
    )
    by_readings = everything
    if read:
        # Counters are chip records: what they say of idle chips does not count beside readings.
        by_readings = hidden_by_readings(
            evidence.readings, total_s=total_s, free_s=total_s - needed_s, capacity=case["capacity"], alpha=alpha
        )
    # Level A cannot exceed all that the chips can do: the strata overlap where exposure meets spare time.
    levels = {level: min(account.hidden_flop[level], by_readings, everything) for level in LEVELS}
    return replace(account, hidden_flop=levels)


def hidden_by_readings(readings: int, *, total_s: float, free_s: float, capacity: float, alpha: float) -> float:
    """Returns X after inspectors' own readings at unforeseeable moments, all of them explained: levels B and C too.

    u ≤ 1 − α^(1/n) of all chip-time may have held something else (protocol section 6, one chip or many read by one
    trigger count once); time that the declared steps did not need is charged beside it, for what is resident need not
    be all that is computed.

    Args:
        readings: n.
        total_s: chip-seconds of the window.
        free_s: chip-seconds that the steps replayed did not need.
        capacity: FLOP/s of one chip.
        alpha: one-sided error of this bound.
    """
    return min(total_s, free_s + total_s * share_upper_all_explained(readings, alpha)) * capacity


def readings_needed(case: Case, *, limit: float, declared: float, strictly_below: bool = False) -> int | None:
    """Returns how many explained readings or drawn snapshots leave declared work plus X within ``limit``.

    The time that the declared steps did not need is charged as if declared; all segments are taken as replayed.

    Returns:
        n; None if no number is enough.
    """
    charged = declared + computed(case)["spare_flop"].value
    if charged >= limit:
        return None
    return plan_snapshots(
        round(case["chips"]),
        chip_flops=case["capacity"],
        days=computed(case)["window"].value,
        limit=limit,
        declared=charged,
        confidence=1 - Fraction(repr(case["alpha"])),
        strictly_below=strictly_below,
    ).snapshots


def apply_rules(case: Case, book: RuleBook, evidence: Evidence = NOTHING) -> dict[str, dict[str, Ruling]]:
    """Returns the ruling by rule and level: the declared operations, and X, each by the rule's own policy."""
    return {rule: apply_rule(case, book, rule, evidence) for rule in case.rules}


def apply_rule(case: Case, book: RuleBook, rule: str, evidence: Evidence = NOTHING) -> dict[str, Ruling]:
    """Returns one rule's ruling by level.

    Raises:
        InputError: no such rule, or FLOP alone cannot decide it.
    """
    item = WorkItem("training", format=case.format, operations=case["training_flop"], label=case.run)
    return rule_on(
        book,
        book.rule(rule),
        lineages=[Lineage((case.run,), (item,))],
        hidden_flop=hidden(case, evidence),
        hidden_format=case.capacity_format,
        findings=(),
    )


def headline(case: Case, ruling: Ruling, evidence: Evidence = NOTHING) -> str:
    """Returns the sentence of a report for one ruling, with the days to the rule's threshold at capacity."""
    shown = evidence.segments > 0 and (evidence.rate > 0 or evidence.readings > 0)
    return sentence(
        ruling,
        alpha=case["alpha"] if shown else 0.0,
        evidence_until=case.evidence_until,
        days_to_threshold=ruling.threshold / computed(case)["day"].value,
    )


ANSWERS: Mapping[Verdict, str] = {
    Verdict.VIOLATION: "above",
    Verdict.COMPLIANT: "within",
    Verdict.INCONCLUSIVE: "open",
}
"""Words for a public case: a declared run above a threshold has duties, and has broken nothing by that."""
