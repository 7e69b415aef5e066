"""``weighbridge plan sequential``: plans that stop as soon as the question is settled."""

from dataclasses import asdict
from typing import Annotated, get_args

import typer

from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_inputs import parse_list
from weighbridge.app.plan_more_panels import sequential_panels
from weighbridge.errors import InputError
from weighbridge.planning.sequential import Spending, fixed_plan, group_sequential, never_accepting, wald
from weighbridge.planning.stop_rule import Look, OperatingPoint, SequentialPlan, operating_point
from weighbridge.units import format_quantity, parse_count, parse_fraction, parse_quantity

__all__ = ["mount"]

Honest = Annotated[
    str, typer.Option(help="Share of snapshots that honest operators leave unexplained.", metavar="SHARE")
]
Hidden = Annotated[str, typer.Option(help="Share that must raise the alarm.", metavar="SHARE")]
Alpha = Annotated[str, typer.Option(help="Chance of a false alarm.", metavar="P")]
Beta = Annotated[str, typer.Option(help="Chance of a miss.", metavar="P")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_NEVER = "not yet"


def mount(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(no_args_is_help=True)
    group.command("wald")(wald_command)
    group.command("groups")(groups_command)
    app.add_typer(group, name="sequential", help="Plans with stop rules, and what they do on average.")


def wald_command(
    *,
    honest: Honest,
    hidden: Hidden,
    alpha: Alpha = "0.05",
    beta: Beta = "0.05",
    most_draws: Annotated[
        str | None, typer.Option(help="Cut off after so many; three times the fixed sample otherwise.", metavar="COUNT")
    ] = None,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""Wald's sequential test: after every audited snapshot accept, raise the alarm, or go on.

    Example: weighbridge plan sequential wald --honest 0.01 --hidden 0.05
    """
    share, other = parse_quantity(honest, name="--honest", positive=False), parse_quantity(hidden, name="--hidden")
    errors = parse_fraction(alpha, name="--alpha"), parse_fraction(beta, name="--beta")
    plan = wald(
        share,
        hidden=other,
        alpha=errors[0],
        beta=errors[1],
        most_draws=None if most_draws is None else parse_count(most_draws, name="--most-draws", least=1),
    )
    fixed = fixed_plan(share, hidden=other, alpha=errors[0], beta=errors[1])
    draw(picture, sequential_panels, plan, fixed=fixed)
    _show(plan, fixed=fixed, as_json=as_json)


def groups_command(
    *,
    honest: Honest,
    hidden: Hidden,
    looks: Annotated[
        str, typer.Option(help="How many looks, or the snapshots audited at each: 50,100,200.", metavar="COUNT|LIST")
    ],
    alpha: Alpha = "0.05",
    beta: Beta = "0.05",
    spending: Annotated[
        str, typer.Option(help="How alpha is spent: obrien-fleming, pocock or linear.", metavar="NAME")
    ] = "obrien-fleming",
    beta_spending: Annotated[
        str | None,
        typer.Option(
            help="How beta is spent, so that it may accept early: the same names. If not given, it accepts at the last "
            "look only.",
            metavar="NAME",
        ),
    ] = None,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""Look a few times and raise the alarm as soon as a look's bound is reached (alpha spending).

    Example: weighbridge plan sequential groups --honest 0.02 --hidden 0.08 --looks 4
             weighbridge plan sequential groups --honest 0.02 --hidden 0.08 --looks 4 --beta-spending pocock
    """
    share, other = parse_quantity(honest, name="--honest", positive=False), parse_quantity(hidden, name="--hidden")
    errors = parse_fraction(alpha, name="--alpha"), parse_fraction(beta, name="--beta")
    ends = [parse_count(part, name="--looks", least=1) for part in parse_list(looks, name="--looks")]
    plan = group_sequential(
        share,
        hidden=other,
        looks=ends[0] if len(ends) == 1 else ends,
        alpha=errors[0],
        beta=errors[1],
        spending=_spending(spending, name="--spending"),
        beta_spending=None if beta_spending is None else _spending(beta_spending, name="--beta-spending"),
    )
    fixed = fixed_plan(share, hidden=other, alpha=errors[0], beta=errors[1])
    draw(picture, sequential_panels, plan, fixed=fixed)
    _show(plan, fixed=fixed, as_json=as_json)


def _spending(text: str, *, name: str) -> Spending:
    for one in get_args(Spending):
        if text == one:
            return one  # type: ignore[no-any-return]
    known = ", ".join(get_args(Spending))
    raise InputError(f"{text!r} is not known", field=name, mend=f"choose one of {known}")


def _show(plan: SequentialPlan, *, fixed: SequentialPlan, as_json: bool) -> None:
    middle = (plan.honest + plan.hidden) / 2
    shares = sorted({0.0, plan.honest, middle, plan.hidden, min(1.0, 2 * plan.hidden)})
    points = [operating_point(plan, share=share) for share in shares]
    changes = list(plan.looks) if plan.kind == "group" else _changes(plan.looks)
    patient = None
    if any(look.accept is not None for look in plan.looks[:-1]) and plan.kind == "group":
        patient = operating_point(never_accepting(plan), share=plan.honest).alarm
    (false_alarm,) = (point.alarm for point in points if point.share == plan.honest)
    (miss,) = (point.accept for point in points if point.share == plan.hidden)
    kept = false_alarm <= plan.alpha and miss <= plan.beta
    if as_json:
        print_json(
            {
                "kind": plan.kind,
                "honest": plan.honest,
                "hidden": plan.hidden,
                "alpha": plan.alpha,
                "beta": plan.beta,
                "most_draws": plan.most_draws,
                "fixed_draws": fixed.most_draws,
                "alarm_never_accepting": patient,
                "errors_kept": kept,
                "points": [asdict(point) for point in points],
                "stop_rule": [asdict(look) for look in changes],
            }
        )
        return
    print_table(
        "Stop rule: from so many audited snapshots on",
        columns=["audited", "accept at most", "alarm from"],
        rows=[
            [
                f"{look.draws:,}",
                _NEVER if look.accept is None else f"{look.accept:,} unexplained",
                _NEVER if look.alarm is None else f"{look.alarm:,} unexplained",
            ]
            for look in changes
        ],
    )
    _print_points(plan, points=points, fixed=fixed, patient=patient)
    if not kept:
        typer.echo(
            f"- it misses what was wanted: false alarm {format_quantity(false_alarm)} for {plan.alpha:g}, miss "
            f"{format_quantity(miss)} for {plan.beta:g}; allow more draws"
        )


def _print_points(
    plan: SequentialPlan, *, points: list[OperatingPoint], fixed: SequentialPlan, patient: float | None
) -> None:
    print_table(
        "What it does, exactly",
        columns=["true share", "alarm", "accept", "snapshots, on average"],
        rows=[
            [
                format_quantity(point.share),
                format_quantity(point.alarm),
                format_quantity(point.accept),
                format_quantity(point.expected_draws),
            ]
            for point in points
        ],
    )
    print_pairs(
        "Length",
        pairs=[
            ("at most", f"{plan.most_draws:,} snapshots"),
            ("a plan that looks once", f"{fixed.most_draws:,} snapshots"),
        ],
        notes=(
            "snapshots are drawn from the union of all logs, each for itself, after the claims are fixed",
            *(
                ()
                if patient is None
                else (
                    "acceptance is not binding: who goes on until the last look raises a false alarm with "
                    f"{format_quantity(patient)}",
                )
            ),
        ),
    )


def _changes(looks: tuple[Look, ...]) -> list[Look]:
    """Returns the looks at which a bound changes, the first and the last."""
    kept = [looks[0]]
    for look in looks[1:]:
        if (look.accept, look.alarm) != (kept[-1].accept, kept[-1].alarm) or look is looks[-1]:
            kept.append(look)
    return kept
