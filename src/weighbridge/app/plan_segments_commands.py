"""``weighbridge plan segments | clones``: what replaying segments detects, and how copied ids show."""

from dataclasses import asdict
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.pictures import Picture, draw
from weighbridge.app.plan_inputs import parse_part
from weighbridge.app.plan_more_panels import clone_panels, segment_panels
from weighbridge.errors import InputError
from weighbridge.planning.segments import (
    clone_detection,
    clone_share,
    plan_segments,
    seed_bits_lost,
    tolerable_chance,
)
from weighbridge.units import format_quantity, parse_count, parse_fraction, parse_quantity

__all__ = ["mount"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def mount(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command()(segments)
    app.command()(clones)


def segments(
    *,
    segments: Annotated[str, typer.Option(help="Segments of the run.", metavar="COUNT")],
    forged: Annotated[str, typer.Option(help="Forged segments that must be met.", metavar="COUNT")],
    confidence: Annotated[str | None, typer.Option(help="Probability of detection; or --drawn.", metavar="P")] = None,
    drawn: Annotated[
        str | None, typer.Option(help="Segments that are replayed; or --confidence.", metavar="COUNT")
    ] = None,
    tries: Annotated[
        str, typer.Option(help="Seeds that a Prover can try: commitments begun and abandoned.", metavar="COUNT")
    ] = "1",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""How many segments of a transcript to replay, also against a Prover that tries many seeds.

    Example: weighbridge plan segments --segments 1000 --forged 10 --confidence 0.95 --tries 100
    """
    attempts = parse_count(tries, name="--tries", least=1)
    whole = parse_count(segments, name="--segments", least=1)
    plan = plan_segments(
        whole,
        forged=parse_part(forged, name="--forged", whole=whole, what="segments", least=1),
        confidence=None if confidence is None else parse_fraction(confidence, name="--confidence"),
        drawn=None if drawn is None else parse_part(drawn, name="--drawn", whole=whole, what="segments"),
        tries=attempts,
    )
    draw(picture, segment_panels, plan)
    bits = seed_bits_lost(attempts)
    # What one draw may miss with, so that the best of all tries escapes no more often than planned.
    allowed = (
        None
        if confidence is None
        else tolerable_chance(1 - parse_fraction(confidence, name="--confidence"), tries=attempts)
    )
    if as_json:
        print_json(asdict(plan) | {"seed_bits_lost": bits, "tolerable_chance": allowed})
        return
    pairs = [
        ("segments to replay", f"{plan.drawn:,}"),
        ("detection by an honest draw", format_quantity(plan.detection, digits=6)),
        (f"against the best of {plan.tries:,} seeds", format_quantity(plan.detection_ground, digits=6)),
        ("bits of the seed lost to that", format_quantity(bits)),
        ("share of the run's compute", f"{100 * plan.cost:.4g} %"),
        ("a single glued joint is met with", format_quantity(plan.joint)),
    ]
    if allowed is not None:
        pairs.append(("one draw may miss with", format_quantity(allowed)))
    print_pairs(
        "Segments to replay",
        pairs=pairs,
        notes=(
            "segments are drawn after the transcript was committed; a beacon round named before leaves nothing to try",
            "test all joints cheaply: replaying a few segments rarely meets a single one",
        ),
    )


def clones(
    *,
    clones: Annotated[str, typer.Option(help="Ids that several devices carry.", metavar="COUNT")],
    inspected: Annotated[
        str | None, typer.Option(help="Chance that a given device is inspected; or --confidence.", metavar="SHARE")
    ] = None,
    confidence: Annotated[
        str | None, typer.Option(help="Probability of detection; or --inspected.", metavar="P")
    ] = None,
    copies: Annotated[str, typer.Option(help="Devices that carry each such id.", metavar="COUNT")] = "2",
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    r"""How likely an inspection meets two devices with the same id, or how many devices it must look at for that.

    Example: weighbridge plan clones --clones 1000 --inspected 0.1
             weighbridge plan clones --clones 1000 --confidence 0.95
    """
    ids = parse_count(clones, name="--clones", least=1)
    devices = parse_count(copies, name="--copies", least=2)
    if (inspected is None) == (confidence is None):
        raise InputError("exactly one is needed", field="--inspected or --confidence")
    if confidence is not None:
        share = clone_share(ids, confidence=parse_fraction(confidence, name="--confidence"), copies=devices)
    else:
        share = parse_quantity(str(inspected), name="--inspected", positive=False)
    found = clone_detection(ids, inspected=share, copies=devices)
    draw(picture, clone_panels, found, clones=ids, inspected=share, copies=devices)
    if as_json:
        print_json({"detection": found, "inspected": share})
        return
    print_pairs(
        "Copied ids",
        pairs=[
            ("share of the devices inspected", format_quantity(share)),
            ("two devices with one id are met with", format_quantity(found, digits=6)),
        ],
        notes=("fresh challenges to all chips at the same time find every copy; one after another they do not",),
    )
