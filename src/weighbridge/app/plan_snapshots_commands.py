"""``weighbridge plan snapshots``: how many to audit, how often to freeze, and what that costs."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_inputs import check_idle
from weighbridge.app.plan_panels import snapshot_panels
from weighbridge.errors import InputError
from weighbridge.planning.snapshot_cost import SnapshotCost, concentrated_rate, record_bytes, snapshot_cost
from weighbridge.planning.snapshots import SnapshotPlan, plan_snapshots, replay_share
from weighbridge.rules import RuleBook, load_rules, policy_applies_to_hidden
from weighbridge.units import (
    SECONDS_PER_DAY,
    format_bytes,
    format_flop,
    format_quantity,
    parse_bytes,
    parse_count,
    parse_days,
    parse_flop,
    parse_flop_rate,
    parse_fraction,
    parse_quantity,
    parse_seconds,
)

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(snapshots)


@dataclass(frozen=True, kw_only=True)
class _Extras:
    """Figures beside the plan that are there only if they were asked for."""

    replayed: float | None
    cost: SnapshotCost | None
    concentrated: float | None
    share_read: float | None


def snapshots(
    *,
    chips: Annotated[str, typer.Option(help="Chips of the fleet.", metavar="COUNT")],
    chip_flops: Annotated[str, typer.Option(help="FLOP/s of one chip.", metavar="FLOP/S")],
    days: Annotated[str, typer.Option(help="Length of the period in days.", metavar="DAYS")],
    limit: Annotated[str | None, typer.Option(help="Threshold in FLOP, or name a --rule.", metavar="FLOP")] = None,
    rule: Annotated[str | None, typer.Option(help="Rule whose threshold and counting apply.", metavar="ID")] = None,
    counting: Annotated[
        str | None, typer.Option(help="Counting policy, for a rule that names none.", metavar="ID")
    ] = None,
    number_format: Annotated[
        str, typer.Option("--format", help="Number format of --chip-flops.", metavar="FORMAT")
    ] = "bf16",
    declared: Annotated[str, typer.Option(help="FLOP declared, counted by the rule's policy.", metavar="FLOP")] = "0",
    unexplained: Annotated[str, typer.Option(help="Snapshots that may stay unexplained.", metavar="COUNT")] = "0",
    confidence: Annotated[str, typer.Option(help="1 - alpha of the bound.", metavar="P")] = "0.95",
    stride: Annotated[
        str | None,
        typer.Option(help="Steps between committed digests; with --step-seconds.", metavar="STEPS"),
    ] = None,
    step_seconds: Annotated[str | None, typer.Option(help="Length of a training step.", metavar="SECONDS")] = None,
    freeze_seconds: Annotated[
        str | None, typer.Option(help="How long a freeze stops a chip; prints what freezes cost.", metavar="SECONDS")
    ] = None,
    together: Annotated[
        str, typer.Option(help="Chips that wait for each other: the size of one job.", metavar="COUNT")
    ] = "1",
    per_trigger: Annotated[str, typer.Option(help="Chips that one trigger stops at once.", metavar="COUNT")] = "1",
    anchor_bytes: Annotated[str | None, typer.Option(help="Bytes of one anchor, such as 5TB.", metavar="BYTES")] = None,
    share_read: Annotated[
        str | None, typer.Option(help="Share of the chips whose logs are read, if not all are.", metavar="SHARE")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", help="File with rules of your own (schema rules/1).", metavar="FILE")
    ] = None,
    picture: Picture = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    r"""How many snapshots to audit, and how often to freeze, so that a rule can be shown to hold; and the cost.

    Example: weighbridge plan snapshots --chips 4000 --chip-flops 1e15 --days 30 \
               --rule miri.2025.ctb.strict
    """
    threshold, counted_rate, strictly = _threshold(
        load_rules(extra=rules),
        limit=limit,
        rule=rule,
        counting=counting,
        chip_flops=parse_flop_rate(chip_flops, name="--chip-flops"),
        number_format=number_format,
    )
    period = parse_days(days, name="--days")
    fleet = parse_count(chips, name="--chips", least=1)
    sure = parse_fraction(confidence, name="--confidence")
    lost = parse_count(unexplained, name="--unexplained")
    plan = plan_snapshots(
        fleet,
        chip_flops=counted_rate,
        days=period,
        limit=threshold,
        declared=parse_quantity(declared, name="--declared", positive=False),
        unexplained=lost,
        confidence=sure,
        strictly_below=strictly,
    )
    steps = None if stride is None else parse_count(stride, name="--stride", least=1)
    freezes = audits = plan.snapshots
    replayed = concentrated = read = cost = None
    if share_read is not None:
        if lost or per_trigger != "1":
            raise InputError(
                "is for chips that freeze each for itself, with logs that are all explained",
                field="--share-read",
                mend="give neither --unexplained nor --per-trigger",
            )
        read = parse_quantity(share_read, name="--share-read")
        hidden = plan.room / (counted_rate * SECONDS_PER_DAY)
        concentrated = 0.0
        if plan.snapshots:
            concentrated = concentrated_rate(read, chip_days=hidden, period=period, confidence=sure)
        # Every chip freezes, for nobody knows which will be read.
        freezes = math.ceil(concentrated * fleet * period)
        audits = math.ceil(read * freezes)
    if step_seconds is not None or steps is not None:
        if steps is None or (step_seconds is None and freeze_seconds is None):
            raise InputError("need each other", field="--stride and --step-seconds", mend="give both")
        if step_seconds is not None:
            seconds = parse_seconds(step_seconds, name="--step-seconds")
            replayed = replay_share(audits, stride=steps, step_seconds=seconds, days=period)
    if freeze_seconds is not None:
        cost = snapshot_cost(
            freezes,
            chips=fleet,
            days=period,
            freeze_seconds=parse_seconds(freeze_seconds, name="--freeze-seconds"),
            together=parse_count(together, name="--together", least=1),
            per_trigger=parse_count(per_trigger, name="--per-trigger", least=1),
            anchor_bytes=None if anchor_bytes is None else parse_bytes(anchor_bytes, name="--anchor-bytes"),
            stride=steps,
            audits=audits,
        )
    elif anchor_bytes is not None or together != "1" or per_trigger != "1":
        raise InputError("is needed for a cost", field="--freeze-seconds", mend="such as 1.6 (80 GB at 50 GB/s)")
    extras = _Extras(replayed=replayed, cost=cost, concentrated=concentrated, share_read=read)
    lost_hours = None if cost is None else cost.chip_hours_lost
    draw(picture, snapshot_panels, plan, chips=fleet, days=period, lost_hours=lost_hours)
    if as_json:
        more: dict[str, object] = {"limit": threshold, "rule": rule, "replay_share": replayed}
        if cost is not None:
            more["cost"] = asdict(cost) | {"digest_bytes_per_chip_year": record_bytes(cost.rate_per_chip)}
        if read is not None:
            more |= {"share_read": read, "rate_concentrated": concentrated}
        print_json(asdict(plan) | more)
    else:
        _print(plan, threshold=threshold, extras=extras)


def _threshold(
    book: RuleBook,
    *,
    limit: str | None,
    rule: str | None,
    counting: str | None,
    chip_flops: float,
    number_format: str,
) -> tuple[float, float, bool]:
    """Returns threshold, the chip's FLOP/s as the rule counts them, and whether totals must stay below."""
    if (limit is None) == (rule is None):
        raise InputError("exactly one is needed", field="--limit or --rule", mend="give a FLOP figure or a rule")
    if rule is None:
        check_idle({"--counting": counting is not None, "--format": number_format != "bf16"}, needs="--rule")
        return parse_flop(str(limit), name="--limit"), chip_flops, False
    chosen = book.rule(rule)
    threshold = chosen.limit
    policy = book.counting_of(rule, counting=counting)
    return threshold, policy_applies_to_hidden(policy, chip_flops, number_format), chosen.compare(threshold)


def _print(plan: SnapshotPlan, *, threshold: float, extras: _Extras) -> None:
    pairs = [
        ("snapshots to audit (n)", f"{plan.snapshots:,}"),
        ("rate that expects n, per chip and day", format_quantity(plan.rate)),
        (f"rate that brings n with {plan.confidence:g}", format_quantity(plan.rate_sure)),
        ("rate by the exposure form", format_quantity(plan.rate_exposure)),
        ("threshold", format_flop(threshold)),
        ("room beside declared work", format_flop(plan.room)),
        ("capacity of the fleet", format_flop(plan.capacity)),
        ("tolerable hidden share", format_quantity(plan.share)),
    ]
    if extras.replayed is not None:
        pairs.append(("replayed at most, of one run", f"{100 * extras.replayed:.3g} %"))
    if extras.concentrated is not None:
        pairs.append((f"rate if {extras.share_read:g} of the chips are read", format_quantity(extras.concentrated)))
    if extras.cost is not None:
        pairs += _cost_pairs(extras.cost)
    notes: tuple[str, ...] = ("only audited snapshots count; they are drawn after the log has fixed the claims",)
    if plan.snapshots == 0:
        notes = ("the whole fleet at full capacity cannot reach the threshold in this time",)
    if extras.concentrated:
        notes += ("with a share of the chips read, hidden work is packed onto few chips: the concentrated form",)
    if extras.cost is not None and extras.cost.chip_freezes > extras.cost.triggers:
        notes += ("chips that one trigger stops together are one snapshot, not many",)
    print_pairs("Snapshots to audit", pairs=pairs, notes=notes)


def _cost_pairs(cost: SnapshotCost) -> list[tuple[str, str]]:
    pairs = [
        ("snapshots taken, and audited", f"{cost.triggers:,} and {cost.audits:,}"),
        ("chips frozen, over all triggers", f"{cost.chip_freezes:,}"),
        ("freezes per chip and day", format_quantity(cost.rate_per_chip)),
        ("time lost while chips wait", f"{100 * cost.share_lost:.3g} % (first order {100 * cost.stall:.3g} %)"),
        ("chip-hours lost", format_quantity(cost.chip_hours_lost)),
        ("digests that a chip keeps a year", f"{format_quantity(record_bytes(cost.rate_per_chip))} B"),
    ]
    if cost.anchor_bytes is not None:
        pairs.append(("bytes of anchors", format_bytes(cost.anchor_bytes)))
    if cost.replayed_steps is not None:
        pairs.append(("steps replayed at most", f"{cost.replayed_steps:,}"))
    return pairs
