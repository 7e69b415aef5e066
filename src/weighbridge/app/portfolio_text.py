"""Portfolios in words and tables: regimes, piecewise covers, years, and the inputs behind them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import typer

from weighbridge.app.console import print_pairs, print_table
from weighbridge.planning.interval import Interval
from weighbridge.planning.mechanisms import Catalogue
from weighbridge.planning.portfolio import ASSUMPTIONS, Case, Cover
from weighbridge.planning.treaty_years import TreatyYear
from weighbridge.units import format_flop, format_quantity

__all__ = [
    "MARKS",
    "inputs_of",
    "print_groups",
    "print_inputs",
    "print_regimes",
    "print_years",
    "show_range",
    "weakest_of",
]


MARKS: Final = {
    "P": "published",
    "S": "published, from a secondary source",
    "D": "derived from published figures",
    "A": "assumed here, for the reason given: replace it",
    "given": "yours",
}


def inputs_of(known: Catalogue) -> dict[str, Any]:
    """Returns every input with its range, mark and source."""
    return {
        f"{m.id}.{name}": {"low": given.range[0], "high": given.range[1], "mark": given.mark, "source": given.source}
        for m in known.mechanisms.values()
        for name, given in m.inputs.items()
    }


def show_range(interval: Interval) -> str:
    """Returns a range in words, or one figure if it has no width."""
    low, high = format_quantity(interval.low), format_quantity(interval.high)
    return low if low == high else f"{low} to {high}"


def _confidence(interval: Interval) -> str:
    if interval.high == 0:
        return "none"
    return "no sampling in it" if interval.low == 1 else show_range(interval)


def _verdicts(covers: Mapping[str, Cover]) -> list[tuple[str, str]]:
    """Returns which regimes reach the rule, which may, which do not, and which leave most, in words."""
    words = {
        "yes": "reach it",
        "depends on the inputs": "reach it for some of the inputs only",
        "no": "do not reach it",
    }
    found = [
        (f"{said} (level A)", ", ".join(name for name, cover in covers.items() if cover.reaches == state) or "none")
        for state, said in words.items()
    ]
    return [*found, ("weakest: largest X", ", ".join(weakest_of(covers)))]


def weakest_of(covers: Mapping[str, Cover]) -> tuple[str, ...]:
    """Returns the names of the regimes with the largest X: all of them, if several leave as much."""
    most = max((cover.hidden.high, cover.hidden.low) for cover in covers.values())
    return tuple(name for name, cover in covers.items() if (cover.hidden.high, cover.hidden.low) == most)


def print_regimes(covers: Mapping[str, Cover], *, case: Case) -> None:
    """Prints what each regime bounds, and the question."""
    print_table(
        "Regimes",
        columns=[
            "regime",
            "X at level A, FLOP",
            "at C",
            "reaches: A / C",
            "at confidence",
            "rests on",
            "days",
            "ready",
        ],
        rows=[
            [
                name,
                show_range(found.hidden),
                show_range(found.hidden_c),
                f"{found.reaches} / {found.reaches_c}",
                _confidence(found.confidence),
                ", ".join(found.rests_on) or "nothing",
                show_range(found.inspector_days),
                show_range(found.ready),
            ]
            for name, found in covers.items()
        ],
    )
    print_pairs(
        "The question",
        pairs=[
            ("X must not exceed", format_flop(case.flop)),
            ("lineages", "add" if case.adds else "do not add: one run at a time"),
            *_verdicts(covers),
            *(
                (f"audited records that {name} needs", f"{found.audits_needed:,}")
                for name, found in covers.items()
                if found.audits_needed is not None
            ),
            *(
                (f"noticed under {name}, not part of X", show_range(found.noticed))
                for name, found in covers.items()
                if found.noticed.high > 0
            ),
        ],
        notes=ASSUMPTIONS,
    )


def print_groups(cover: Cover, *, case: Case) -> None:
    """Prints the parts of a piecewise cover; together they may take all of the room below the threshold."""
    print_table(
        "Piecewise cover",
        columns=["regime", "sites", "capacity", "X at level A", "of the room", "at C", "bounded by", "without effect"],
        rows=[
            [
                group.regime,
                f"{group.sites:,}",
                format_flop(group.capacity),
                show_range(group.hidden),
                show_range(Interval(100 * group.hidden.low / case.flop, 100 * group.hidden.high / case.flop)) + " %",
                show_range(group.hidden_c),
                group.by or "nothing",
                ", ".join(group.idle),
            ]
            for group in cover.groups
        ],
    )
    typer.echo(f"- weakest piece: {cover.weakest_group}")


def print_years(lines: Mapping[str, Sequence[TreatyYear]]) -> None:
    """Prints the years of a treaty, a column for each regime."""
    first = next(iter(lines.values()))
    print_table(
        "Years of the treaty",
        columns=["year", "same capability, FLOP", "chips alone", "chips each, together", *lines],
        rows=[
            [
                str(line.year),
                show_range(line.flop),
                show_range(line.chips),
                show_range(line.chips_joined),
                *(_state(found[line.year]) for found in lines.values()),
            ]
            for line in first
        ],
    )


def _state(line: TreatyYear) -> str:
    if line.ready == "no":
        return "not ready"
    return line.reaches if line.ready == "yes" or line.reaches == "no" else f"{line.reaches}, if ready"


def print_inputs(known: Catalogue) -> None:
    """Prints every input with where it comes from."""
    print_table(
        f"Inputs ({'; '.join(f'{mark}: {words}' for mark, words in MARKS.items())})",
        columns=["input", "range", "mark", "source"],
        rows=[
            [name, show_range(Interval(i["low"], i["high"])), i["mark"], i["source"]]
            for name, i in inputs_of(known).items()
        ],
    )
