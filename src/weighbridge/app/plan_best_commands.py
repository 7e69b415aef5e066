"""``weighbridge plan best`` and ``plan fleet``: where to look, with what there is to spend."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.app.fleet_files import ATTRIBUTION, fleet_csv, read_epoch_clusters, read_fleet
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_fleet_panels import best_panels
from weighbridge.app.rule_options import (
    CountingOption,
    DeclaredOption,
    FormatOption,
    Limit,
    LimitOption,
    RuleOption,
    RulesOption,
    limit_from,
)
from weighbridge.errors import InputError
from weighbridge.evidence.files import replace_whole
from weighbridge.units import (
    format_flop,
    format_quantity,
    parse_count,
    parse_days,
    parse_flop_rate,
    parse_quantity,
)

if TYPE_CHECKING:
    from weighbridge.planning.best import BestPlan
    from weighbridge.planning.best_menu import Reading

__all__ = ["mount"]

_SITES_SHOWN = 25


def mount(app: typer.Typer) -> None:
    """Adds both commands to ``weighbridge plan``."""
    app.command()(best)
    app.command()(fleet)


def best(
    *,
    fleet: Annotated[
        Path, typer.Option(help="CSV: name, chips, chip_flops, visit_days (inspector-days).", metavar="FILE")
    ],
    days: Annotated[str, typer.Option(help="Length of an inspection period in days.", metavar="DAYS")],
    limit: LimitOption = None,
    rule: RuleOption = None,
    counting: CountingOption = None,
    number_format: FormatOption = "bf16",
    declared: DeclaredOption = "0",
    visits: Annotated[str | None, typer.Option(help="Visits a period, on average.", metavar="COUNT")] = None,
    inspector_days: Annotated[str | None, typer.Option(help="Inspector-days a period.", metavar="DAYS")] = None,
    replay_hours: Annotated[str | None, typer.Option(help="Chip-hours of replay a period.", metavar="HOURS")] = None,
    freezes: Annotated[str | None, typer.Option(help="Freezes a period, over all chips.", metavar="COUNT")] = None,
    reading: Annotated[
        str, typer.Option(help="records: audits drawn from a site's log; chips: chips drawn.", metavar="records|chips")
    ] = "records",
    rate: Annotated[
        str | None, typer.Option(help="Freezes per chip and day, for --reading chips.", metavar="RATE")
    ] = None,
    days_per_draw: Annotated[
        str, typer.Option(help="Inspector-days for each record or chip drawn.", metavar="DAYS")
    ] = "0",
    replay_per_audit: Annotated[
        str, typer.Option(help="Chip-hours of replay for each audited record.", metavar="HOURS")
    ] = "0",
    periods: Annotated[str, typer.Option(help="Periods over which the run may be stretched.", metavar="COUNT")] = "1",
    rules: RulesOption = None,
    picture: Picture = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    r"""Where to look, so that the safest way to hide a run is least safe: chances of visits within a budget.

    The adversary knows the chances and answers best: any sites, any split, any stretch within the periods.

    Example: weighbridge plan best --fleet fleet.csv --days 30 --rule miri.2025.ctb.strict \
               --visits 40 --replay-hours 20000 --replay-per-audit 50
    """
    judged = limit_from(limit=limit, rule=rule, counting=counting, declared=declared, extra=rules)
    per_audit = parse_quantity(replay_per_audit, name="--replay-per-audit", positive=False)
    if replay_hours is not None and per_audit == 0:
        raise InputError("limits nothing where replay is free", field="--replay-hours", mend="give --replay-per-audit")
    # Here, since linear programming takes as long to load as most plans take to compute.
    from weighbridge.planning.best import plan_best
    from weighbridge.planning.best_menu import Budget, Effort

    sites, length = judged.counted(read_fleet(fleet), number_format), parse_days(days, name="--days")
    stretch = parse_count(periods, name="--periods", least=1)
    able = sum(site.capacity(length) for site in sites) * stretch
    if able < judged.flop * (1 - 1e-9):
        raise InputError(
            f"{judged.flop:.4g} FLOP is more than all sites together can do, {able:.4g}",
            field="--rule" if limit is None else "--limit",
            mend="nothing needs inspecting; or give more --periods, or a smaller run",
        )
    plan = plan_best(
        sites,
        flop=judged.flop,
        days=length,
        budget=Budget(
            visits=_amount(visits, "--visits"),
            inspector_days=_amount(inspector_days, "--inspector-days"),
            replay_chip_hours=_amount(replay_hours, "--replay-hours"),
            freezes=_amount(freezes, "--freezes"),
        ),
        effort=Effort(
            reading=_reading(reading),
            days_per_draw=parse_quantity(days_per_draw, name="--days-per-draw", positive=False),
            replay_per_audit=per_audit,
            rate=None if rate is None else parse_quantity(rate, name="--rate"),
        ),
        periods=stretch,
    )
    draw(picture, best_panels, plan)
    if as_json:
        from weighbridge.planning.best import ASSUMPTIONS

        print_json(asdict(plan) | {"limit": judged.threshold, "rule": judged.rule, "assumptions": list(ASSUMPTIONS)})
    else:
        _print(plan, judged)


def fleet(
    epoch: Annotated[Path, typer.Argument(help="Epoch AI's GPU clusters as CSV, downloaded from epoch.ai.")],
    *,
    out: Annotated[Path, typer.Option(help="Fleet to write, as CSV.", metavar="FILE")],
    least: Annotated[
        str, typer.Option("--least", help="Smallest cluster taken, in H100 equivalents.", metavar="COUNT")
    ] = "16",
    h100_flops: Annotated[
        str, typer.Option(help="FLOP/s that one H100 equivalent stands for.", metavar="FLOP/S")
    ] = "990e12",
    visit_days: Annotated[
        str, typer.Option(help="Inspector-days of a visit: your own estimate.", metavar="DAYS")
    ] = "5",
    unlikely: Annotated[bool, typer.Option("--unlikely", help="Take clusters rated unlikely, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    r"""Make a fleet from Epoch AI's list of GPU clusters, which you download yourself (CC BY 4.0).

    Example: weighbridge plan fleet gpu_clusters.csv --out fleet.csv --least 1000
    """
    if out.exists():
        raise InputError("exists", where=out, field="--out", mend="choose another file or remove it")
    found = read_epoch_clusters(
        epoch,
        least_h100e=parse_quantity(least, name="--least", positive=False),
        h100_flops=parse_flop_rate(h100_flops, name="--h100-flops"),
        visit_days=parse_quantity(visit_days, name="--visit-days", positive=False),
        unlikely=unlikely,
    )
    try:
        replace_whole(out, fleet_csv(found.sites).encode())
    except OSError as error:
        raise InputError(f"cannot be written: {error}", where=out, field="--out") from error
    total = sum(site.chips for site in found.sites)
    if as_json:
        print_json({"sites": len(found.sites), "h100e": total, "left_out": found.left_out, "source": ATTRIBUTION})
        return
    print_pairs(
        "Fleet written",
        pairs=[("sites", f"{len(found.sites):,}"), ("H100 equivalents (8-bit dense)", f"{total:,}")]
        + [(f"left out: {reason}", f"{count:,}") for reason, count in sorted(found.left_out.items())],
        notes=(f"source: {ATTRIBUTION}", "visit_days is the same everywhere: put in what you know"),
    )


def _amount(text: str | None, name: str) -> float | None:
    return None if text is None else parse_quantity(text, name=name, positive=False)


def _reading(text: str) -> "Reading":
    if text not in ("records", "chips"):
        raise InputError(f"{text!r} is not known", field="--reading", mend="choose records or chips")
    return cast("Reading", text)


def _print(plan: "BestPlan", judged: Limit) -> None:
    from weighbridge.planning.best import ASSUMPTIONS

    looked = sorted((site for site in plan.sites if site.visit > 0), key=lambda site: -site.visit)
    print_table(
        "Chances of a look",
        columns=["site", "visit", "draws (chance)", "freezes", "met if it hides there"],
        rows=[
            [
                site.name,
                format_quantity(site.visit),
                ", ".join(f"{format_quantity(draws)} ({chance:.3g})" for draws, chance in site.looks),
                format_quantity(site.freezes),
                format_quantity(site.detection),
            ]
            for site in looked[:_SITES_SHOWN]
        ],
    )
    if len(looked) > _SITES_SHOWN:
        typer.echo(f"… and {len(looked) - _SITES_SHOWN:,} more sites: see --json")
    where = ", ".join(f"{h.name} ({h.chips:,} chips)" for h in plan.hideouts[:3])
    print_pairs(
        "Worst case",
        pairs=[
            ("a hidden run of", format_flop(plan.flop)),
            ("is noticed with at least", format_quantity(plan.detection_bound)),
            ("the best answer found is noticed with", format_quantity(plan.detection)),
            ("no plan is sure to notice it with more than", format_quantity(plan.most)),
            ("uniform sampling, same budget", format_quantity(plan.uniform)),
            ("chances by capacity, same budget", format_quantity(plan.by_capacity)),
            ("the safest way to hide it", where + (", …" if len(plan.hideouts) > 3 else "")),
            *((f"spent: {name.replace('_', ' ')}", format_quantity(use)) for name, use in plan.spent.items()),
            *(
                (f"shadow price of {name.replace('_', ' ')}", f"{format_quantity(price)} detection a unit")
                for name, price in plan.prices.items()
            ),
        ],
        notes=(f"threshold {format_flop(judged.threshold)}; looks draw {plan.reading}", *ASSUMPTIONS),
    )
