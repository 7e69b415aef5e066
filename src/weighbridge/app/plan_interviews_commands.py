"""``weighbridge plan interviews``: what refusals and answers show; whom to draw is ``plan items``."""

from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.plan_inputs import parse_part
from weighbridge.planning.interviews import PATTERN, agreement_low, refusal_chance
from weighbridge.units import format_quantity, parse_count, parse_fraction, parse_quantity

__all__ = ["mount"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def mount(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(no_args_is_help=True)
    group.command("refusals")(refusals_command)
    group.command("answers")(answers_command)
    app.add_typer(group, name="interviews", help="What refusals and answers show; whom to draw is plan items.")


def refusals_command(
    *,
    asked: Annotated[str, typer.Option(help="Interviews requested at the site.", metavar="COUNT")],
    refused: Annotated[str, typer.Option(help="Of these, refused or not granted as asked.", metavar="COUNT")],
    base_rate: Annotated[str, typer.Option(help="Share that is refused at other sites.", metavar="SHARE")],
    as_json: Json = False,
) -> None:
    r"""Whether a site's refusals are a pattern (chance below 0.001, one-sided binomial); exit status 1 if so.

    Example: weighbridge plan interviews refusals --asked 10 --refused 8 --base-rate 0.2
    """
    number = parse_count(asked, name="--asked", least=1)
    chance = refusal_chance(
        number,
        refused=parse_part(refused, name="--refused", whole=number, what="people"),
        base=parse_quantity(base_rate, name="--base-rate", positive=False),
    )
    pattern = chance < PATTERN
    if as_json:
        print_json({"chance": chance, "pattern": pattern})
    else:
        print_pairs(
            "Refusals",
            pairs=[
                ("so many or more come with", format_quantity(chance)),
                ("a pattern", "yes" if pattern else "no"),
            ],
            notes=("a pattern says where to look; no finding rests on people alone",),
        )
    raise typer.Exit(1 if pattern else 0)


def answers_command(
    *,
    pairs: Annotated[str, typer.Option(help="Questions put to two people separately.", metavar="COUNT")],
    agreeing: Annotated[str, typer.Option(help="Of these, answered alike.", metavar="COUNT")],
    confidence: Annotated[str, typer.Option(help="Confidence of the limit.", metavar="P")] = "0.95",
    as_json: Json = False,
) -> None:
    r"""How far people who were asked separately agree: the share, and its lower limit (Clopper and Pearson).

    Example: weighbridge plan interviews answers --pairs 20 --agreeing 18
    """
    number = parse_count(pairs, name="--pairs", least=1)
    alike = parse_part(agreeing, name="--agreeing", whole=number, what="questions")
    sure = parse_fraction(confidence, name="--confidence")
    low = agreement_low(number, agreeing=alike, confidence=sure)
    if as_json:
        print_json({"share": alike / number, "lower_limit": low, "confidence": float(sure)})
        return
    print_pairs(
        "Answers",
        pairs=[
            ("agree", f"{alike:,} of {number:,}, {100 * alike / number:.3g} %"),
            (f"at least, with {float(sure):g}", format_quantity(low)),
        ],
        notes=("answers that were agreed beforehand agree too: compare them with telemetry and records",),
    )
