"""``weighbridge plan portfolio`` and ``plan mechanisms``: which regimes of mechanisms reach a rule."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_table
from weighbridge.app.fleet_files import read_fleet
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_fleet_panels import portfolio_panels
from weighbridge.app.portfolio_text import (
    MARKS,
    inputs_of,
    print_groups,
    print_inputs,
    print_regimes,
    print_years,
    show_range,
    weakest_of,
)
from weighbridge.app.rule_options import (
    CountingOption,
    DeclaredOption,
    FormatOption,
    LimitOption,
    RuleOption,
    RulesOption,
    limit_from,
)
from weighbridge.errors import InputError
from weighbridge.planning.fleet import Site
from weighbridge.planning.interval import Interval, parse_interval
from weighbridge.planning.mechanisms import Catalogue, load_mechanisms
from weighbridge.planning.portfolio import ASSUMPTIONS, Case, assess_cover
from weighbridge.planning.treaty_years import MOST_PROGRESS, treaty_years
from weighbridge.units import parse_count, parse_days, parse_fraction

__all__ = ["mount"]

_LARGEST_FILE = 1 << 20
_PIECEWISE = "as assigned"
_NOBODY = "nothing"


def mount(app: typer.Typer) -> None:
    """Adds both commands to ``weighbridge plan``."""
    app.command()(portfolio)
    app.command()(mechanisms)


def portfolio(
    *,
    fleet: Annotated[
        Path, typer.Option(help="CSV: name, chips, chip_flops, visit_days; regime if you like.", metavar="FILE")
    ],
    days: Annotated[str, typer.Option(help="Length of the period in days.", metavar="DAYS")],
    limit: LimitOption = None,
    rule: RuleOption = None,
    counting: CountingOption = None,
    number_format: FormatOption = "bf16",
    declared: DeclaredOption = "0",
    confidence: Annotated[str, typer.Option(help="1 - alpha of bounds by sampling.", metavar="P")] = "0.95",
    regime: Annotated[
        list[str] | None, typer.Option(help="Regime to compare, or mechanisms joined by +; repeat.", metavar="ID")
    ] = None,
    cover: Annotated[
        list[str] | None,
        typer.Option(help="Sites of so many chips get this regime, as 1000=audited; repeat.", metavar="CHIPS=ID"),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", help="An input's range, as tips.chance=0.1:0.4; repeat.", metavar="NAME=LOW:HIGH"),
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option("--mechanisms", help="Mechanisms of your own (mechanisms/1).", metavar="FILE")
    ] = None,
    adds: Annotated[
        str, typer.Option(help="Whether lineages add: as the rule counts, or yes or no.", metavar="auto|yes|no")
    ] = "auto",
    joined: Annotated[
        str, typer.Option(help="Share of the rate that sites keep when they train together.", metavar="LOW:HIGH")
    ] = "1",
    together: Annotated[str, typer.Option(help="Sites that train one model together.", metavar="COUNT")] = "1",
    years: Annotated[str, typer.Option(help="Years of the treaty.", metavar="YEARS")] = "0",
    progress: Annotated[
        str, typer.Option(help="Factor a year by which a capability's compute falls.", metavar="LOW:HIGH")
    ] = "1",
    rules: RulesOption = None,
    picture: Picture = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    r"""Which mechanisms, or which on which sites, show that a rule holds; every input a range.

    Example: weighbridge plan portfolio --fleet fleet.csv --days 90 --rule miri.2025.ctb.strict \
               --set snapshots.audits=3000 --years 5 --progress 2:4
    """
    judged = limit_from(limit=limit, rule=rule, counting=counting, declared=declared, extra=rules)
    known = _catalogue(catalogue, given or [])
    sites = judged.counted(read_fleet(fleet), number_format)
    case = Case(
        flop=judged.flop,
        declared=judged.threshold - judged.flop,
        days=parse_days(days, name="--days"),
        confidence=parse_fraction(confidence, name="--confidence"),
        adds=_adds(adds, judged.adds),
        joined=parse_interval(joined, name="--joined"),
    )
    length, factor = parse_count(years, name="--years"), parse_interval(progress, name="--progress")
    joint = parse_count(together, name="--together", least=1)
    _has_effect(case, years=length, progress=factor.within(1.0, MOST_PROGRESS, name="--progress"), together=joint)
    assigned = _assigned(sites, cover or [])
    wanted = {name: {site.name: name for site in sites} for name in regime or known.regimes}
    if assigned is not None:
        wanted[_PIECEWISE] = assigned
    covers = {n: assess_cover(sites, regimes=each, catalogue=known, case=case) for n, each in wanted.items()}
    lines = {
        name: treaty_years(
            sites,
            regimes=each,
            catalogue=known,
            case=case,
            years=length,
            progress=factor,
            together=joint,
        )
        for name, each in wanted.items()
    }
    draw(picture, portfolio_panels, covers, lines, case=case)
    if as_json:
        print_json(
            {
                "flop": case.flop,
                "limit": judged.threshold,
                "rule": judged.rule,
                "adds": case.adds,
                "weakest": weakest_of(covers),
                "regimes": {name: asdict(found) for name, found in covers.items()},
                "years": {name: [asdict(line) for line in found] for name, found in lines.items()},
                "inputs": inputs_of(known),
                "marks": MARKS,
                "assumptions": list(ASSUMPTIONS),
            }
        )
        return
    print_regimes(covers, case=case)
    if _PIECEWISE in covers:
        print_groups(covers[_PIECEWISE], case=case)
    if length:
        print_years(lines)
    print_inputs(known)


def mechanisms(
    *,
    catalogue: Annotated[
        Path | None, typer.Option("--mechanisms", help="Mechanisms of your own (mechanisms/1).", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    r"""The mechanisms known: access needed, readiness, cost, what each bounds, and how far each figure is known.

    Example: weighbridge plan mechanisms --json
    """
    known = _catalogue(catalogue, [])
    if as_json:
        print_json(
            {
                "mechanisms": [m.model_dump(mode="json") for m in known.mechanisms.values()],
                "regimes": [r.model_dump(mode="json") for r in known.regimes.values()],
            }
        )
        return
    print_table(
        "Mechanisms",
        columns=["id", "access", "ready in years", "inspector-days a site and year", "bounds", "needs"],
        rows=[
            [
                m.id,
                f"{m.access} ({m.technology} technology)",
                f"{show_range(m.inputs['readiness'].interval)} ({m.rating})",
                show_range(m.inputs["days_per_year"].interval),
                f"{m.bounds}: {m.says}",
                ", ".join(m.needs),
            ]
            for m in known.mechanisms.values()
        ],
    )
    print_inputs(known)


def _catalogue(path: Path | None, given: Sequence[str]) -> Catalogue:
    if path is None:
        known = load_mechanisms()
    else:
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
                raise InputError("is no file of mechanisms", where=path, mend="give a JSON file below 1 MiB")
            known = load_mechanisms(path.read_text(encoding="utf-8"), where=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", where=path) from error
    for assignment in given:
        known = known.with_input(assignment)
    return known


def _has_effect(case: Case, *, years: int, progress: Interval, together: int) -> None:
    """Refuses what would change nothing, so that nobody takes it as considered."""
    for field, idle in (("--progress", progress.high == 1), ("--together", together == 1)):
        if not years and not idle:
            raise InputError("changes nothing in the first year", field=field, mend="give --years too")
    if case.joined != Interval(1.0, 1.0) and case.adds and together == 1:
        raise InputError(
            "changes nothing where all work adds up",
            field="--joined",
            mend="leave it out; or give --adds no, or --years with --together",
        )


def _adds(text: str, by_rule: bool) -> bool:
    if text not in ("auto", "yes", "no"):
        raise InputError(f"{text!r} is not known", field="--adds", mend="choose auto, yes or no")
    return by_rule if text == "auto" else text == "yes"


def _assigned(sites: Sequence[Site], cover: Sequence[str]) -> dict[str, str] | None:
    """Returns each site's regime: its own in the table, else by size; None if nobody assigned any."""
    steps = []
    for text in cover:
        least, equals, name = text.partition("=")
        if not equals:
            raise InputError(f"{text!r} assigns nothing", field="--cover", mend="write CHIPS=REGIME")
        steps.append((parse_count(least, name="--cover"), name.strip()))
    if not steps and not any(site.regime for site in sites):
        return None
    steps.sort(reverse=True)
    open_ = [site.chips for site in sites if not site.regime]
    for at, (size, piece) in enumerate(steps):
        if not any(size <= chips and not (at and chips >= steps[at - 1][0]) for chips in open_):
            raise InputError(
                f"{size}={piece} covers no site",
                field="--cover",
                mend=f"the largest site without a regime has {max(open_):,} chips" if open_ else "all have a regime",
            )
    return {
        site.name: site.regime or next((name for least, name in steps if site.chips >= least), _NOBODY)
        for site in sites
    }
