"""``weighbridge plan chips``: how many chips to draw, in one form or against the worst of all."""

from dataclasses import asdict
from typing import Annotated, get_args

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_inputs import check_idle
from weighbridge.app.plan_panels import chip_panels
from weighbridge.errors import InputError
from weighbridge.planning.chip_forms import AnyForm, ChipForms, every_form, in_form
from weighbridge.planning.chip_run import ChipRun
from weighbridge.planning.chips import ChipPlan, assumptions
from weighbridge.planning.effort import inspectors_needed
from weighbridge.units import (
    format_quantity,
    parse_count,
    parse_days,
    parse_flop,
    parse_flop_rate,
    parse_fraction,
    parse_quantity,
)

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(chips)


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
        str | None,
        typer.Option(
            help="One form instead of the worst of all: exact (Eq. 1), paper (Table 1's linear form), "
            "without-replacement, persistent, stretched, spread, relayed or colluding.",
            metavar="FORM",
        ),
    ] = None,
    utilisation: Annotated[
        str, typer.Option(help="Share of the chips' FLOP/s that the run gets; 1 is the safe choice.", metavar="SHARE")
    ] = "1",
    log_days: Annotated[
        str | None, typer.Option(help="Days of the run that a drawn chip's log can hold.", metavar="DAYS")
    ] = None,
    tampered: Annotated[
        str | None,
        typer.Option(
            help="Share of the run's chips with logging off; else the Prover's better choice.", metavar="SHARE"
        ),
    ] = None,
    tamper_seen: Annotated[
        str, typer.Option(help="Chance that inspecting a chip with logging off shows it.", metavar="P")
    ] = "1",
    stretch: Annotated[
        str | None, typer.Option(help="Largest factor by which a run may be stretched.", metavar="FACTOR")
    ] = None,
    pooled: Annotated[
        str | None,
        typer.Option(help="Chips of all Provers that may collude, these included.", metavar="COUNT"),
    ] = None,
    per_inspector: Annotated[
        str | None, typer.Option(help="Chips that one inspector reads a year, such as 1000.", metavar="COUNT")
    ] = None,
    picture: Picture = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    r"""How many chips to draw so that a large run is caught (Shavit 2023): the worst case of all forms, named.

    Example: weighbridge plan chips --chips 1e5 --flop 5.76e23 --chip-flops 1e15 \
               --days 30 --period 30 --rate 0.1 --confidence 0.9
    """
    run = ChipRun(
        chips=parse_count(chips, name="--chips", least=1),
        flop=parse_flop(flop, name="--flop"),
        chip_flops=parse_flop_rate(chip_flops, name="--chip-flops"),
        days=parse_days(days, name="--days"),
        period=parse_days(period, name="--period"),
        rate=parse_quantity(rate, name="--rate"),
        utilisation=parse_quantity(utilisation, name="--utilisation"),
        log_days=None if log_days is None else parse_days(log_days, name="--log-days"),
        tampered=None if tampered is None else parse_quantity(tampered, name="--tampered", positive=False),
        tamper_seen=parse_quantity(tamper_seen, name="--tamper-seen", positive=False),
    )
    sure = parse_fraction(confidence, name="--confidence")
    factor = None if stretch is None else parse_quantity(stretch, name="--stretch")
    stock = None if pooled is None else parse_count(pooled, name="--pooled", least=1)
    if form is None:
        forms = every_form(run, confidence=sure, stretch=factor, pooled=stock)
        plan = forms.worst
    else:
        forms = None
        check_idle({"--stretch": factor is not None and form not in ("stretched", "colluding")}, needs="form stretched")
        check_idle({"--pooled": stock is not None and form != "colluding"}, needs="form colluding")
        plan = in_form(_form(form), run, confidence=sure, stretch=factor, pooled=stock)
    inspectors = None
    if per_inspector is not None:
        each = parse_count(per_inspector, name="--per-inspector", least=1)
        inspectors = inspectors_needed(plan.samples_per_year, per_inspector=each)
    draw(picture, chip_panels, plan, run=run, confidence=sure, stretch=factor, pooled=stock)
    if as_json:
        print_json(_as_json(run, plan, forms) | ({} if inspectors is None else {"inspectors": inspectors}))
    else:
        _print(run, plan, forms, inspectors)


def _form(text: str) -> AnyForm:
    for form in get_args(AnyForm):
        if text == form:
            return form  # type: ignore[no-any-return]
    raise InputError(f"{text!r} is not known", field="--form", mend=f"choose one of {', '.join(get_args(AnyForm))}")


def _as_json(run: ChipRun, plan: ChipPlan, forms: ChipForms | None) -> dict[str, object]:
    found: dict[str, object] = asdict(plan) | {"notes": list(plan.notes), "assumptions": list(assumptions(run))}
    if forms is not None:
        found["forms"] = {
            name: {"samples_per_year": one.samples_per_year, "samples_per_period": one.samples_per_period}
            for name, one in forms.plans.items()
        }
        found["not_counted"] = dict(forms.not_counted)
    return found


def _print(run: ChipRun, plan: ChipPlan, forms: ChipForms | None, inspectors: int | None) -> None:
    pairs = [
        ("chips to draw a year", format_quantity(plan.samples_per_year, digits=6)),
        ("chips to draw each period", format_quantity(plan.samples_per_period, digits=6)),
        ("share of the chips in the run (b)", format_quantity(plan.share, digits=6)),
        ("fewest chips of the run", f"{plan.chips_in_run:,}"),
        ("a chip of the run incriminates with (p_w)", format_quantity(plan.snapshot_probability)),
        ("snapshots of the whole run, expected", format_quantity(run.incriminating_snapshots)),
        ("form", plan.form),
    ]
    if inspectors is not None:
        pairs.append(("inspectors", f"{inspectors:,}"))
    notes = (*plan.notes, *assumptions(run))
    if forms is not None:
        pairs += [
            (f"{name}, a year", format_quantity(one.samples_per_year, digits=6)) for name, one in forms.plans.items()
        ]
        notes = (f"the form is {plan.form}: the worst case of all", *notes)
        notes += tuple(f"{name}: not counted: {reason}" for name, reason in forms.not_counted.items())
    print_pairs("Chips to inspect", pairs=pairs, notes=notes)
