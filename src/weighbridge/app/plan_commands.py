"""``weighbridge plan``: how much must be inspected."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app import (
    calculator_commands,
    plan_balance_commands,
    plan_best_commands,
    plan_chips_commands,
    plan_interviews_commands,
    plan_portfolio_commands,
    plan_segments_commands,
    plan_sequential_commands,
    plan_sites_commands,
    plan_snapshots_commands,
)
from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_inputs import check_idle, parse_part, parse_share
from weighbridge.app.plan_panels import item_panels
from weighbridge.errors import InputError
from weighbridge.planning.items import DrawnItems, plan_items, repeat_draws
from weighbridge.rules import load_rules
from weighbridge.rules.chips import covered_cluster
from weighbridge.units import format_quantity, parse_count, parse_fraction, parse_quantity

__all__ = ["app"]

app = typer.Typer(
    help="How much must be inspected, where and when, and what a clean result will show.",
    no_args_is_help=True,
)
plan_chips_commands.mount(app)
plan_snapshots_commands.mount(app)
plan_sites_commands.mount(app)
plan_segments_commands.mount(app)
plan_sequential_commands.mount(app)
plan_balance_commands.mount(app)
plan_interviews_commands.mount(app)
calculator_commands.mount(app)
plan_best_commands.mount(app)
plan_portfolio_commands.mount(app)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Extra = Annotated[
    Path | None, typer.Option("--rules", help="File with rules of your own (schema rules/1).", metavar="FILE")
]


@app.command()
def items(
    *,
    population: Annotated[str, typer.Option(help="Items in the frame, such as 3e6.", metavar="COUNT")],
    missing: Annotated[str, typer.Option(help="Items whose absence must be seen.", metavar="COUNT")],
    confidence: Annotated[
        str | None, typer.Option(help="Probability of detection, such as 0.9; or give --drawn.", metavar="P")
    ] = None,
    seen: Annotated[
        str, typer.Option(help="Chance that a drawn defective item is recognised as such.", metavar="P")
    ] = "1",
    drawn: Annotated[
        str | None, typer.Option(help="What drawing so many detects, instead of how many to draw.", metavar="COUNT")
    ] = None,
    draws: Annotated[str, typer.Option(help="Draws of --drawn items, such as 12 months.", metavar="COUNT")] = "12",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""How many items to draw so that one of the missing is met (exact, hypergeometric).

    Example: weighbridge plan items --population 3e6 --missing 1000 --confidence 0.9
             weighbridge plan items --population 3e6 --missing 1000 --drawn 575 --draws 12
    """
    frame = parse_count(population, name="--population", least=1)
    lost = parse_part(missing, name="--missing", whole=frame, what="items", least=1)
    test = parse_share(seen, name="--seen")
    if (confidence is None) == (drawn is None):
        raise InputError("exactly one is needed", field="--confidence or --drawn")
    if drawn is not None:
        if picture is not None:
            raise InputError("draws a sample that is to be found", field="--picture", mend="leave out --drawn")
        found = repeat_draws(
            frame,
            missing=lost,
            drawn=parse_part(drawn, name="--drawn", whole=frame, what="items"),
            draws=parse_count(draws, name="--draws", least=1),
            seen=test,
        )
        _show_draws(found, as_json=as_json)
        return
    check_idle({"--draws": draws != "12"}, needs="--drawn")
    sure = parse_fraction(str(confidence), name="--confidence")
    plan = plan_items(frame, missing=lost, confidence=sure, seen=test)
    draw(picture, item_panels, plan, population=frame, missing=lost, confidence=sure)
    if as_json:
        print_json(asdict(plan))
        return
    print_pairs(
        "Items to inspect",
        pairs=[
            ("sample (exact)", f"{plan.sample:,}"),
            ("probability of detection", format_quantity(plan.detection, digits=7)),
            ("the usual approximation of it", format_quantity(plan.approximate_detection, digits=7)),
            ("IAEA's formula", f"{plan.iaea:,}"),
            ("Jaech's formula", "for perfect tests only" if plan.jaech is None else f"{plan.jaech:,}"),
            ("with replacement", f"{plan.with_replacement:,}"),
            ("rule of thumb", f"{plan.rule_of_thumb:,}"),
        ],
        notes=("items are drawn without replacement, by a seed known only after the frame was fixed",),
    )


@app.command()
def rules(*, extra: Extra = None, as_json: Json = False) -> None:
    r"""The rules known, their thresholds, and which of them training FLOP alone can decide.

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


@app.command()
def cluster(
    *,
    tpp: Annotated[str, typer.Option(help="Total processing performance of one chip, such as 36000.", metavar="TPP")],
    memory: Annotated[str | None, typer.Option(help="GB of memory of one chip.", metavar="GB")] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="The chip is the H100 that the texts mean: exactly 1.")
    ] = False,
    as_json: Json = False,
) -> None:
    r"""How many networked chips of one kind are a covered cluster (arXiv 2511.10783, Article II, both texts).

    Example: weighbridge plan cluster --tpp 36000 --memory 180
    """
    found = covered_cluster(
        parse_quantity(tpp, name="--tpp"),
        memory=None if memory is None else parse_quantity(memory, name="--memory"),
        reference=reference,
    )
    if as_json:
        print_json(asdict(found))
        return
    print_pairs(
        "Fewest chips of a covered cluster",
        pairs=[
            ("text of 17 November 2025: above 16 x 15,840 TPP", f"{found.first_text:,}"),
            ("later revision, either", f"{found.later_text:,}"),
            ("- above 16 x 15,824 TPP", f"{found.by_tpp:,}"),
            ("- above 1,280 GB", "give --memory" if found.by_memory is None else f"{found.by_memory:,}"),
        ],
        notes=(
            "networked: in one place, above 25 Gbit/s between chassis, or made to work together",
            "by its data sheet an H100 lies a hair above the later unit: --reference counts it as exactly 1",
        ),
    )


def _show_draws(found: DrawnItems, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(found))
        return
    expected = "never" if found.expected_draws is None else format_quantity(found.expected_draws)
    print_pairs(
        "What the draws detect",
        pairs=[
            ("one draw", format_quantity(found.detection, digits=6)),
            ("draws until the first detection, on average", expected),
            (f"{found.draws} draws", format_quantity(found.detection_over_draws, digits=6)),
        ],
        notes=("each draw is made anew from the whole frame",),
    )
