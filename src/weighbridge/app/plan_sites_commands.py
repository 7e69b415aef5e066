"""``weighbridge plan sites | timeliness``: which sites to visit, and how soon each could cross a threshold."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.app.fleet_files import read_sizes
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_inputs import check_idle, parse_list, parse_part, parse_share
from weighbridge.app.plan_site_panels import equal_site_panels, site_panels, timeliness_panels
from weighbridge.errors import InputError
from weighbridge.planning.effort import person_days
from weighbridge.planning.sites import SitePlan, frame_counts, plan_sites, two_stage_detection
from weighbridge.planning.timeliness import (
    H100E_FLOPS,
    Timeliness,
    plan_timeliness,
    regime_of,
    significant_quantity,
)
from weighbridge.units import (
    format_flop,
    format_flop_rate,
    format_quantity,
    format_seconds,
    parse_count,
    parse_days,
    parse_flop,
    parse_flop_rate,
    parse_fraction,
    parse_quantity,
)

__all__ = ["mount"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Fleet = Annotated[Path | None, typer.Option(help="CSV file with a site a row.", metavar="FILE")]
Names = Annotated[str, typer.Option(help="Column of --fleet with the site's name.", metavar="COLUMN")]
Sizes = Annotated[str, typer.Option(help="Column of --fleet with its H100 equivalents.", metavar="COLUMN")]
Only = Annotated[str | None, typer.Option(help="Rows of --fleet to keep.", metavar="COLUMN=VALUE")]
Unsized = Annotated[bool, typer.Option("--skip-unsized", help="Leave out sites of --fleet without a size.")]
_CLASSES = (16.0, 100.0, 1_000.0, 10_000.0, 100_000.0)
_SHOWN = 40
_CENSUS, _WITHIN = "1000", "0.99"
_SIZES = "1,16,100,1000,10000,100000"
_PEAK, _UTILISATION = "989e12", "0.4"


def mount(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command()(sites)
    app.command()(timeliness)


def sites(
    *,
    visits: Annotated[str, typer.Option(help="Sites visited in the period.", metavar="COUNT")],
    missing: Annotated[str, typer.Option(help="Chips that one site must not hide.", metavar="COUNT")],
    fleet: Fleet = None,
    name_column: Names = "name",
    size_column: Sizes = "h100e",
    chips_column: Annotated[
        str | None, typer.Option(help="Column of --fleet with its chips; else the size rounded up.", metavar="COLUMN")
    ] = None,
    only: Only = None,
    skip_unsized: Unsized = False,
    census_above: Annotated[
        str, typer.Option(help="Sites of more H100 equivalents are all visited.", metavar="H100E")
    ] = _CENSUS,
    within: Annotated[str, typer.Option(help="Chance that a visit to the right site shows it.", metavar="P")] = _WITHIN,
    sites: Annotated[str | None, typer.Option(help="Instead of --fleet: equal sites.", metavar="COUNT")] = None,
    site_size: Annotated[str | None, typer.Option(help="Chips of each of --sites.", metavar="COUNT")] = None,
    drawn: Annotated[str | None, typer.Option(help="Chips drawn at each of --sites.", metavar="COUNT")] = None,
    seen: Annotated[str, typer.Option(help="Chance that a drawn defective chip is recognised.", metavar="P")] = "1",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""Which sites to visit and how many chips to draw there: all the large ones, a weighted draw of the rest.

    Example: weighbridge plan sites --sites 560 --visits 40 --site-size 2000 --missing 163 --drawn 60
             weighbridge plan sites --fleet sites.csv --census-above 1000 --visits 200 --missing 163
    """
    count = parse_count(visits, name="--visits")
    lost = parse_count(missing, name="--missing", least=1)
    test = parse_share(seen, name="--seen")
    if (fleet is None) == (sites is None):
        raise InputError("exactly one is needed", field="--fleet or --sites")
    if fleet is None:
        check_idle(
            {
                "--name-column": name_column != "name",
                "--size-column": size_column != "h100e",
                "--chips-column": chips_column is not None,
                "--only": only is not None,
                "--skip-unsized": skip_unsized,
                "--census-above": census_above != _CENSUS,
                "--within": within != _WITHIN,
            },
            needs="--fleet",
        )
        if site_size is None or drawn is None:
            raise InputError("are needed with --sites", field="--site-size and --drawn")
        number = parse_count(str(sites), name="--sites", least=1)
        size = parse_count(site_size, name="--site-size", least=1)
        count = parse_part(visits, name="--visits", whole=number, what="sites")
        lost = parse_part(missing, name="--missing", whole=size, what="chips of a site", least=1)
        taken = parse_part(drawn, name="--drawn", whole=size, what="chips of a site")
        found = two_stage_detection(number, visited=count, site_size=size, missing=lost, drawn=taken, seen=test)
        draw(
            picture,
            equal_site_panels,
            found,
            sites=number,
            visited=count,
            site_size=size,
            missing=lost,
            drawn=taken,
            seen=test,
        )
        effort = person_days(count)
        if as_json:
            print_json({"detection": found, "person_days": effort})
            return
        print_pairs(
            "Equal sites",
            pairs=[
                ("probability of detection", format_quantity(found, digits=5)),
                ("person-days at the IAEA's rate of 2021", format_quantity(effort)),
            ],
            notes=("the diversion is in one site, each as likely",),
        )
        return
    check_idle({"--site-size": site_size is not None, "--drawn": drawn is not None}, needs="--sites")
    frame, unsized = read_sizes(
        fleet, name=name_column, size=size_column, chips=chips_column, only=only, skip_unsized=skip_unsized
    )
    above = parse_quantity(census_above, name="--census-above", positive=False)
    certain = parse_fraction(within, name="--within")

    def planned(visits: int) -> SitePlan:
        return plan_sites(frame, census_above=above, visits=visits, missing=lost, within=certain, seen=test)

    plan = planned(count)
    draw(picture, site_panels, plan, visits=count, again=planned)
    classes = frame_counts(frame, above=_CLASSES)
    if as_json:
        found_classes = [{"above": a, "sites": n, "share": share} for a, n, share in classes]
        more = {"frame": found_classes, "unsized": unsized, "person_days": person_days(count)}
        print_json(asdict(plan) | {"visits": [asdict(visit) for visit in plan.visits]} | more)
        return
    _print_sites(plan, classes=classes, unsized=unsized, visits=count)


def timeliness(
    *,
    flop: Annotated[str, typer.Option(help="Threshold, or FLOP that matter.", metavar="FLOP")],
    sizes: Annotated[str, typer.Option(help="Sizes of sites in H100 equivalents.", metavar="LIST")] = _SIZES,
    h100e_flops: Annotated[
        str, typer.Option(help="Effective FLOP/s of one H100 equivalent.", metavar="FLOP/S")
    ] = f"{H100E_FLOPS:.0f}",
    period: Annotated[str | None, typer.Option(help="Days between two looks.", metavar="DAYS")] = None,
    days: Annotated[
        str | None, typer.Option(help="Time allowed, for the significant quantity.", metavar="DAYS")
    ] = None,
    chip_flops: Annotated[str, typer.Option(help="Peak FLOP/s of one chip, for it.", metavar="FLOP/S")] = _PEAK,
    utilisation: Annotated[
        str, typer.Option(help="Share of the peak that a run gets, for it.", metavar="SHARE")
    ] = _UTILISATION,
    fleet: Fleet = None,
    name_column: Names = "name",
    size_column: Sizes = "h100e",
    only: Only = None,
    skip_unsized: Unsized = False,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""How soon sites cross a threshold, how they are to be watched, and how many chips suffice for it in time.

    Example: weighbridge plan timeliness --flop 1e24 --sizes 16,100,1000 --period 30
             weighbridge plan timeliness --flop 1e25 --days 180 --chip-flops 989e12 --utilisation 0.4
    """
    threshold = parse_flop(flop, name="--flop")
    rate = parse_flop_rate(h100e_flops, name="--h100e-flops")
    gap = None if period is None else parse_days(period, name="--period")
    named, unsized = [], 0
    if days is None:
        check_idle({"--chip-flops": chip_flops != _PEAK, "--utilisation": utilisation != _UTILISATION}, needs="--days")
    if fleet is None:
        check_idle(
            {
                "--name-column": name_column != "name",
                "--size-column": size_column != "h100e",
                "--only": only is not None,
                "--skip-unsized": skip_unsized,
            },
            needs="--fleet",
        )
        named = [(text, parse_quantity(text, name="--sizes")) for text in parse_list(sizes, name="--sizes")]
    else:
        check_idle({"--sizes": sizes != _SIZES}, needs="sites that are not read from --fleet")
        frame, unsized = read_sizes(fleet, name=name_column, size=size_column, only=only, skip_unsized=skip_unsized)
        named = [(site.name, site.h100e) for site in sorted(frame, key=lambda site: -site.h100e)]
    found = [(name, plan_timeliness(size, flop=threshold, chip_flops=rate, period=gap)) for name, size in named]
    draw(picture, timeliness_panels, found, flop=threshold, chip_flops=rate, period=gap)
    quantity = None
    if days is not None:
        quantity = significant_quantity(
            threshold,
            days=parse_days(days, name="--days"),
            peak=parse_flop_rate(chip_flops, name="--chip-flops"),
            utilisation=parse_quantity(utilisation, name="--utilisation"),
        )
    if as_json:
        listed = [{"name": name} | asdict(one) for name, one in found]
        print_json({"flop": threshold, "sites": listed, "significant_quantity": quantity, "unsized": unsized})
        return
    print_table(
        f"Time to {format_flop(threshold)} at {format_flop_rate(rate)} per H100 equivalent",
        columns=["site", "H100e", "time", "regime", "registered by day", "warning"],
        rows=[_row(name, one) for name, one in found[:_SHOWN]],
    )
    if len(found) > _SHOWN:
        typer.echo(f"- {len(found) - _SHOWN} more: --json lists them")
    if quantity is not None:
        typer.echo(f"- {quantity:,} chips do it in {days} days: the significant quantity")


def _row(name: str, one: Timeliness) -> list[str]:
    warning = "" if one.warning_days is None else f"{one.warning_days:.4g} days"
    if one.warning_days is not None and one.warning_days < 0:
        warning = "none: it fits between two looks"
    by = "" if one.registered_by is None else str(one.registered_by)
    time = format_seconds(one.days * 86_400)
    return [name, format_quantity(one.h100e), time, regime_of(one.h100e).what, by, warning]


def _worst(plan: SitePlan) -> str:
    if plan.split_sites == 1:
        return f"in {plan.worst_site}"
    return f"in equal parts at {plan.split_sites} sites"


def _print_sites(plan: SitePlan, *, classes: list[tuple[float, int, float]], unsized: int, visits: int) -> None:
    print_table(
        "Sites",
        columns=["site", "H100e", "visited", "chips drawn", "detection"],
        rows=[
            [
                visit.site,
                format_quantity(visit.h100e),
                "always" if visit.visited == 1 else format_quantity(visit.visited),
                f"{visit.drawn:,}",
                "too small" if visit.detection is None else format_quantity(visit.detection),
            ]
            for visit in plan.visits[:_SHOWN]
        ],
    )
    if len(plan.visits) > _SHOWN:
        typer.echo(f"- {len(plan.visits) - _SHOWN} more: --json lists them")
    print_pairs(
        "What it detects",
        pairs=[
            (f"worst case: {_worst(plan)}", format_quantity(plan.split)),
            (f"all of it in one site, at worst {plan.worst_site}", format_quantity(plan.worst)),
            ("each H100 equivalent as likely", format_quantity(plan.by_size)),
            ("each site as likely", format_quantity(plan.by_site)),
            ("sites of the census, and drawn", f"{plan.census:,} and {plan.drawn_sites:,}"),
            ("the census's share of H100 equivalents", f"{100 * plan.census_share:.3g} %"),
            ("chips to read, expected", format_quantity(plan.chips_drawn)),
            ("person-days at the IAEA's rate of 2021", format_quantity(person_days(visits))),
            *(
                (f"sites above {above:g} H100 equivalents", f"{count:,} with {100 * share:.3g} %")
                for above, count, share in classes
            ),
        ],
        notes=(
            "the plan is for a diversion in one site; parts at several sites are each smaller, but seen more often",
            f"{plan.too_small} sites cannot hold it by themselves",
            *((f"{unsized} sites without a size were left out: nothing is said of them",) if unsized else ()),
        ),
    )
