"""``weighbridge transcript cost`` and ``pack``: what recording costs on paper, and a run's anchors made smaller."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.planning.recording_cost import JOURNAL_BYTES, bytes_per_parameter, recording_cost
from weighbridge.units import (
    format_bytes,
    format_quantity,
    format_seconds,
    parse_bytes,
    parse_count,
    parse_quantity,
    parse_seconds,
)

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(cost)
    app.command()(pack)


def cost(
    *,
    parameters: Annotated[str, typer.Option(help="Parameters of the model.", metavar="COUNT")],
    optimizer: Annotated[str, typer.Option(help="adamw, adam, lion, muon, momentum or sgd.")] = "adamw",
    dtype: Annotated[str, typer.Option(help="Format of the training's weights: fp32, bf16, fp16 or fp8.")] = "bf16",
    state_bytes: Annotated[
        str | None, typer.Option("--bytes-per-parameter", help="Bytes of a state for each, in place of both.")
    ] = None,
    stride: Annotated[str, typer.Option(help="Steps between digests of the full state.", metavar="COUNT")] = "10",
    step_seconds: Annotated[str, typer.Option(help="Time of one step.", metavar="SECONDS")] = "10",
    anchors_per_day: Annotated[str, typer.Option(help="Anchors a day, by plan and after freezes.")] = "4",
    tensors: Annotated[str, typer.Option(help="Tensors of a state: one leaf each.", metavar="COUNT")] = "5000",
    chips: Annotated[str, typer.Option(help="Chips whose hosts digest their shares at once.", metavar="COUNT")] = "1",
    hash_rate: Annotated[
        str, typer.Option(help="Bytes that the host of one chip digests in a second.", metavar="BYTES")
    ] = "5GB",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Reckons what recording a large run costs: bytes of a state, rate of digests, bytes a day. Nothing is measured.

    Example: weighbridge transcript cost --parameters 405e9 --chips 16384 --anchors-per-day 4
    """
    each = (
        float(bytes_per_parameter(optimizer, dtype))
        if state_bytes is None
        else parse_quantity(state_bytes, name="--bytes-per-parameter")
    )
    result = recording_cost(
        parse_quantity(parameters, name="--parameters"),
        state_bytes_each=each,
        stride=parse_count(stride, name="--stride", least=1),
        step_seconds=parse_seconds(step_seconds, name="--step-seconds"),
        anchors_per_day=parse_quantity(anchors_per_day, name="--anchors-per-day", positive=False),
        tensors=parse_count(tensors, name="--tensors", least=1),
        chips=parse_count(chips, name="--chips", least=1),
        hash_rate=float(parse_bytes(hash_rate, name="--hash-rate")),
    )
    if as_json:
        more = {"bytes_a_day": result.bytes_a_day, "over_checkpoints": result.over_checkpoints}
        print_json({"bytes_per_parameter": each, **asdict(result), **more})
        return
    print_pairs(
        "recording, on paper",
        pairs=[
            ("a state, which is an anchor", f"{_bytes(result.state_bytes)} ({each:g} bytes a parameter)"),
            ("digests a day", format_quantity(result.digests_a_day)),
            ("digested on average", f"{format_quantity(result.digest_rate / 1e9)} GB/s over all chips"),
            ("one digest", format_seconds(result.digest_seconds)),
            ("time lost if training waits for it", f"{result.stall_share:.3%}"),
            ("anchors a day", f"{_bytes(result.anchor_bytes_a_day)} in {result.anchors_a_day:g}"),
            ("leaves a day", _bytes(result.leaf_bytes_a_day)),
            ("journal a day", _bytes(result.journal_bytes_a_day)),
            ("in all a day", _bytes(result.bytes_a_day)),
            ("a checkpoint at every digest instead", f"{_bytes(result.checkpoints_bytes_a_day)} a day"),
            ("recording over that", f"{result.over_checkpoints:.3%}"),
        ],
        notes=[
            "computed from what you declared; the digests' rate is assumed: what a machine does, the recording measures"
            " and says at its end",
            "a state counts gradients, which are in it only where steps carry them on; the journal's"
            f" {JOURNAL_BYTES} bytes a step are assumed",
        ],
    )


def pack(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Makes a run's anchors smaller: each as its difference to the one before, where that is smaller. Nothing is lost.

    Anchors after freezes stay whole. Do it when the run has ended: compressing takes the processor that training needs.

    Example: weighbridge transcript pack runs/3f2a90b1c4d5e6f7
    """
    from weighbridge.mechanisms.transcript.packing import pack_run

    done = []
    for packed in pack_run(run):
        print(f"weighbridge: {packed.name}: {packed.before} → {packed.after} bytes", file=sys.stderr)
        done.append(packed)
    before, after = sum(item.before for item in done), sum(item.after for item in done)
    if as_json:
        print_json({"run": str(run), "before": before, "after": after, "anchors": [asdict(item) for item in done]})
        return
    rows = [[p.name, format_bytes(p.before), format_bytes(p.after), str(p.depth)] for p in done]
    print_table(f"anchors of {run}", columns=["anchor", "before", "now", "deltas below"], rows=rows)
    typer.echo(f"- {format_bytes(before)} before, {format_bytes(after)} now")


def _bytes(value: float) -> str:
    """Prints bytes in powers of 1000, as disks are sold."""
    names = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    power = 0
    while value >= 1000 and power < len(names) - 1:
        value, power = value / 1000, power + 1
    return format_quantity(value, unit=names[power], digits=3)
