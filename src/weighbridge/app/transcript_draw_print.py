"""How a draw of replays prints: what was drawn and why, its power, and what it cost."""

import typer

from weighbridge.app.console import print_pairs, print_table
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.selection import Selection
from weighbridge.mechanisms.transcript.verification import Verification

__all__ = ["print_draw"]

_MOST_ROWS = 40


def print_draw(verification: Verification, *, seed: bytes, given: bool) -> None:
    """Prints the draw, the power and the spending; the draw and the power only where a part was drawn."""
    selection, account = verification.selection, verification.account
    if selection is not None and not selection.whole:
        _print_stretches(selection, seed=seed, given=given)
        rows = [
            [
                p.forgery,
                f"{p.check}: {p.outcome.value}",
                f"{p.chance:.2%}",
                "" if p.placed is None else f"{p.placed:.2%}",
                p.form,
            ]
            for p in selection.powers
        ]
        columns = ["forgery", "met by", "at its worst place", "at a random place", "how the chance follows"]
        print_table("chance to meet it, before the seed was known", columns=columns, rows=rows)
        if any(p.outcome is Outcome.INCONCLUSIVE for p in selection.powers):
            typer.echo(
                "- the program walks to where a stretch begins: what differs there is inconclusive, and fails only in"
                " what is replayed from step 0 without a gap; --from-the-beginning (with --segments) decides"
            )
    if account is not None:
        share = f"{account.spent_cpu_s / account.run_cpu_s:.2%}" if account.run_cpu_s else "unknown"
        pairs = [(what, f"{seconds:.2f} s") for what, seconds in account.entries.items()]
        pairs += [
            ("all", f"{account.spent_cpu_s:.2f} s"),
            ("the run, by its journal", f"{account.run_cpu_s:.2f} s"),
            ("share of the run", share),
        ]
        print_pairs("CPU time spent", pairs=pairs)


def _print_stretches(selection: Selection, *, seed: bytes, given: bool) -> None:
    draw, people = selection.draw, selection.draw.population
    parts = {"uniform": draw.uniform, "suspicion": draw.suspected, "remainder": draw.remainder}
    by = {number: name for name, numbers in parts.items() for number in numbers}
    rows = []
    for number, leg in enumerate(people.stretches):
        whole = people.every[people.segments[number]].until
        rows.append(
            [
                f"{leg.start} to {leg.until}" + ("" if leg.until == whole else f" of {whole}"),
                f"{leg.until - leg.start + people.beside(leg)}",
                f"{draw.design.inclusion:.2%}",
                f"{people.suspicion.get(leg.start, 0.0):.3g}",
                by.get(number, ""),
            ]
        )
    shown = rows if len(rows) <= _MOST_ROWS else [row for row in rows if row[-1]][:_MOST_ROWS]
    columns = ["steps", "cost in steps", "uniform chance", "suspicion", "drawn by"]
    if rows:
        print_table("stretches that can be drawn", columns=columns, rows=shown)
    if len(shown) < len(rows):
        typer.echo(f"- {len(rows) - len(shown)} more stretches with the same uniform chance; all with --json")
    chosen = "given with --seed" if given else "fresh from the system, after the run was handed over"
    typer.echo(f"- seed {seed.hex()}, {chosen}")
    if people.capacity is not None:
        typer.echo(f"- {people.reach:.1%} of the run is in reach; {draw.cost} of {people.capacity} steps drawn")
        everything = selection.smallest[1] + selection.fixed
        typer.echo(f"- no design gives every stretch more than {draw.design.bound:.2%}; {everything} steps reach all")
