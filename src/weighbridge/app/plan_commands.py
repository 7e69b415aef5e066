"""``weighbridge plan``: how much must be inspected."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app import plan_best_commands, plan_portfolio_commands
from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.errors import InputError
from weighbridge.planning.chips import ASSUMPTIONS, Form, plan_chips
from weighbridge.planning.items import plan_items
from weighbridge.planning.snapshots import SnapshotPlan, plan_snapshots, replay_share
from weighbridge.rules import RuleBook, load_rules, policy_applies_to_hidden
from weighbridge.units import (
    format_flop,
    format_quantity,
    parse_count,
    parse_days,
    parse_flop,
    parse_flop_rate,
    parse_fraction,
    parse_quantity,
    parse_seconds,
)

__all__ = ["app"]

app = typer.Typer(
    help="How many chips, items or snapshots must be inspected, and what a clean result will show.",
    no_args_is_help=True,
)

plan_best_commands.mount(app)
plan_portfolio_commands.mount(app)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Extra = Annotated[
    Path | None, typer.Option("--rules", help="File with rules of your own (schema rules/1).", metavar="FILE")
]


@app.command()
def chips(
    *,
    chips: Annotated[str, typer.Option(help="Chips the Prover can use, such as 1e5.", metavar="COUNT")],
    flop: Annotated[str, typer.Option(help="FLOP of the run to be caught, such as 5.76e23.", metavar="FLOP")],
    chip_flops: Annotated[str, typer.Option(help="FLOP/s of one chip, such as 1e15.", metavar="FLOP/S")],
    days: Annotated[str, typer.Option(help="Length of the run in days.", metavar="DAYS")],
    period: Annotated[str, typer.Option(help="Days from one draw to the next.", metavar="DAYS")],
    rate: Annotated[str, typer.Option(help="Snapshots per chip and day, such as 0.1.", metavar="RATE")],
    confidence: Annotated[str, typer.Option(help="Probability of detection, such as 0.9.", metavar="P")],
    form: Annotated[
        str, typer.Option(help="exact: Eq. 1; paper: the linear form of Table 1.", metavar="exact|paper")
    ] = "exact",
    as_json: Json = False,
) -> None:
    r"""How many chips to draw so that a large run is caught (Shavit 2023, Eq. 1).

    \b
    Example: weighbridge plan chips --chips 1e5 --flop 5.76e23 --chip-flops 1e15 \
               --days 30 --period 30 --rate 0.1 --confidence 0.9
    """
    plan = plan_chips(
        parse_count(chips, name="--chips", least=1),
        flop=parse_flop(flop, name="--flop"),
        chip_flops=parse_flop_rate(chip_flops, name="--chip-flops"),
        days=parse_days(days, name="--days"),
        period=parse_days(period, name="--period"),
        rate=parse_quantity(rate, name="--rate"),
        confidence=parse_fraction(confidence, name="--confidence"),
        form=_form(form),
    )
    if as_json:
        print_json(asdict(plan) | {"notes": list(plan.notes), "assumptions": list(ASSUMPTIONS)})
        return
    print_pairs(
        "Chips to inspect",
        pairs=[
            ("chips to draw a year", format_quantity(plan.samples_per_year, digits=6)),
            ("chips to draw each period", format_quantity(plan.samples_per_period, digits=6)),
            ("share of the chips in the run (b)", format_quantity(plan.share, digits=6)),
            ("fewest chips of the run", f"{plan.chips_in_run:,}"),
            ("a chip of the run incriminates with (p_w)", format_quantity(plan.snapshot_probability)),
            ("form", plan.form),
        ],
        notes=(*plan.notes, *ASSUMPTIONS),
    )


@app.command()
def items(
    *,
    population: Annotated[str, typer.Option(help="Items in the frame, such as 3e6.", metavar="COUNT")],
    missing: Annotated[str, typer.Option(help="Items whose absence must be seen.", metavar="COUNT")],
    confidence: Annotated[str, typer.Option(help="Probability of detection, such as 0.9.", metavar="P")],
    as_json: Json = False,
) -> None:
    r"""How many items to draw so that one of the missing is met (exact, hypergeometric).

    \b
    Example: weighbridge plan items --population 3e6 --missing 1000 --confidence 0.9
    """
    plan = plan_items(
        parse_count(population, name="--population", least=1),
        missing=parse_count(missing, name="--missing", least=1),
        confidence=parse_fraction(confidence, name="--confidence"),
    )
    if as_json:
        print_json(asdict(plan))
        return
    print_pairs(
        "Items to inspect",
        pairs=[
            ("sample (exact)", f"{plan.sample:,}"),
            ("probability of detection", format_quantity(plan.detection, digits=7)),
            ("IAEA's formula", f"{plan.iaea:,}"),
            ("Jaech's formula", f"{plan.jaech:,}"),
            ("with replacement", f"{plan.with_replacement:,}"),
            ("rule of thumb", f"{plan.rule_of_thumb:,}"),
        ],
        notes=("items are drawn without replacement, by a seed known only after the frame was fixed",),
    )


@app.command()
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
    rules: Extra = None,
    as_json: Json = False,
) -> None:
    r"""How many snapshots to audit, and how often to freeze, so that a rule can be shown to hold.

    \b
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
    plan = plan_snapshots(
        parse_count(chips, name="--chips", least=1),
        chip_flops=counted_rate,
        days=period,
        limit=threshold,
        declared=parse_quantity(declared, name="--declared", positive=False),
        unexplained=parse_count(unexplained, name="--unexplained"),
        confidence=parse_fraction(confidence, name="--confidence"),
        strictly_below=strictly,
    )
    replayed = None
    if stride is not None or step_seconds is not None:
        if stride is None or step_seconds is None:
            raise InputError("need each other", field="--stride and --step-seconds", mend="give both")
        replayed = replay_share(
            plan.snapshots,
            stride=parse_count(stride, name="--stride", least=1),
            step_seconds=parse_seconds(step_seconds, name="--step-seconds"),
            days=period,
        )
    if as_json:
        print_json(asdict(plan) | {"limit": threshold, "rule": rule, "replay_share": replayed})
    else:
        _print_snapshots(plan, threshold=threshold, replayed=replayed)


@app.command()
def rules(*, extra: Extra = None, as_json: Json = False) -> None:
    r"""The rules known, their thresholds, and which of them training FLOP alone can decide.

    \b
    Example: weighbridge plan rules --json
    """
    book = load_rules(extra=extra)
    if as_json:
        print_json(
            {"rules": [rule.model_dump(mode="json") | {"not_assessable": rule.why_not_assessable} for rule in book]}
        )
        return
    print_table(
        "Rules",
        columns=["id", "threshold", "counting", "status", "FLOP decide it"],
        rows=[
            [
                rule.id,
                f"{rule.comparator} {rule.threshold} {rule.unit}",
                rule.counting or "not named",
                rule.status,
                "yes" if rule.why_not_assessable is None else f"no: {rule.why_not_assessable}",
            ]
            for rule in book
        ],
    )


def _form(text: str) -> Form:
    if text == "exact":
        return "exact"
    if text == "paper":
        return "paper"
    raise InputError(f"{text!r} is not known", field="--form", mend="choose exact or paper")


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
        return parse_flop(str(limit), name="--limit"), chip_flops, False
    chosen = book.rule(rule)
    threshold = chosen.limit
    policy = book.counting_of(rule, counting=counting)
    return threshold, policy_applies_to_hidden(policy, chip_flops, number_format), chosen.compare(threshold)


def _print_snapshots(plan: SnapshotPlan, *, threshold: float, replayed: float | None) -> None:
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
    if replayed is not None:
        pairs.append(("replayed at most, of one run", f"{100 * replayed:.3g} %"))
    notes = ("only audited snapshots count; they are drawn after the log has fixed the claims",)
    if plan.snapshots == 0:
        notes = ("the whole fleet at full capacity cannot reach the threshold in this time",)
    print_pairs("Snapshots to audit", pairs=pairs, notes=notes)
