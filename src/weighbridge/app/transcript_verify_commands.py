"""``weighbridge transcript verify``: whether a run holds."""

import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weighbridge.app.console import print_json
from weighbridge.app.output import exit_status, print_findings
from weighbridge.app.sealed_output import verify_in_room
from weighbridge.errors import InputError
from weighbridge.evidence.export import ExportedLog
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.group_record import is_merged
from weighbridge.mechanisms.transcript.sealed.sealing import Sealed
from weighbridge.units import check_count, parse_flop_rate

if TYPE_CHECKING:
    from weighbridge.mechanisms.transcript.chip_time import Chips

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(verify)


def verify(
    run: Annotated[Path, typer.Argument(help="The run's folder, or that of a merged run.")],
    roots: Annotated[Path | None, typer.Option(help="Trust roots; without them no signature is checked.")] = None,
    log: Annotated[Path | None, typer.Option(help="Exported log: it must hold no statement that is not shown.")] = None,
    segments: Annotated[int | None, typer.Option(help="Replay this many segments, drawn; default all.")] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Replay at most so many steps (200); or spend at most a share of the run's compute (0.01, 1%).",
            metavar="STEPS|SHARE",
        ),
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Seed of the draw, hex; default fresh from the system.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Training data, if not at its committed path: a file, or a folder with NAME.npy of each array."
        ),
    ] = None,
    parent: Annotated[
        Path | None, typer.Option(help="Transcript of the run with whose final weights this one began.")
    ] = None,
    core: Annotated[int | None, typer.Option(help="Processor to replay on.")] = None,
    from_the_beginning: Annotated[
        bool,
        typer.Option(
            "--from-the-beginning",
            help="Train all steps up to the last one drawn, where a program with a loop of its own would walk there.",
        ),
    ] = False,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Replay each stretch by itself on workers: local:2, ray://HOST:PORT or ray:auto (needs Ray).",
            metavar="WORKERS",
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Replay with so many threads; default as recorded.")] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Where arithmetic differs, measure what rounding explains on other segments; keep it in this folder."
        ),
    ] = None,
    sweep: Annotated[
        float, typer.Option(help="Share of the rows whose losses are looked at where not all is replayed; 0 for none.")
    ] = 0.01,
    chips: Annotated[
        int | None, typer.Option(help="Chips that the run was trained on: holds its FLOP against chip-hours.")
    ] = None,
    chip_flops: Annotated[str | None, typer.Option(help="Peak of one of them, for it.", metavar="FLOP/S")] = None,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="Verify in the sealed room: one record of fixed size leaves it.")
    ] = False,
    pad_seconds: Annotated[
        float | None, typer.Option(help="With --sealed: answer after exactly this long; what is not done is stopped.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Verifies a transcript: statements, journal, initial state, and replay of drawn segments in a sandbox.

    Segments lie between anchored states; the first boundary is always rebuilt from the seed. With a budget, the chance
    to catch each kind of forgery is printed, and what was spent. Exits with 0 if all
    holds, 1 if a check failed, 3 if one could not be made, 2 if the command itself cannot be followed.

    With --sealed nothing leaves but one record of 1,024 bytes, the same for --json; a draw then needs its seed.

    Example: weighbridge transcript verify runs/3f2a90b1c4d5e6f7 --roots roots --budget 1%
    """
    from weighbridge.app.transcript_draw_print import print_draw
    from weighbridge.mechanisms.transcript.group_verification import verify_group
    from weighbridge.mechanisms.transcript.spending import Budget
    from weighbridge.mechanisms.transcript.verification import Request, verify_run
    from weighbridge.mechanisms.transcript.workers import Workers

    if segments is not None and segments < 0:
        raise InputError("must not be negative", where="--segments")
    if threads is not None and threads < 1:
        raise InputError("must be at least 1", where="--threads")
    if not 0 <= sweep <= 1:
        raise InputError("is no share", where="--sweep", mend="give a number from 0 to 1")
    if pad_seconds is not None and not sealed:
        raise InputError("pads the sealed room's answer only", where="--pad-seconds", mend="add --sealed")
    if sealed and seed is None and (segments is not None or budget is not None):
        raise InputError("is needed: the sealed record names none", where="--seed", mend="name 32 bytes, hexadecimal")
    held = _chips(chips, chip_flops)
    if held is not None and (sealed or is_merged(run)):
        kind = (
            "the sealed room's record has no figure of it" if sealed else "they are held for runs of one process only"
        )
        raise InputError(f"cannot be asked here: {kind}", where="--chips", mend="leave --chips and --chip-flops out")
    if not sealed:  # what the room finds at a path is for its record to say
        _check_place(run)
    if from_the_beginning and budget is not None:
        mend = "leave --budget out, or say how many segments with --segments"
        raise InputError(
            "trains all steps up to the last one drawn, which no budget holds", where="--from-the-beginning", mend=mend
        )
    drawn_by = _seed(seed)
    limit = Budget.parse(budget) if budget is not None else None
    if sealed:
        if limit is not None and limit.steps is None:
            mend = "give steps: what a share comes to would leave the room with the time that it takes"
            raise InputError("is a share", where="--budget", mend=mend)
        verify_in_room(
            run,
            Sealed(
                seed=drawn_by,
                roots=roots,
                log=log,
                segments=segments,
                budget=limit.steps if limit is not None else None,
                data=data,
                parent=parent,
                core=core,
                pad_seconds=pad_seconds,
            ),
        )
    trusted = TrustRoots.load(roots) if roots is not None else None
    request = Request(
        seed=drawn_by,
        roots=trusted,
        logged=_logged(log, trusted) if log is not None else None,
        segments=segments,
        budget=limit,
        data=data,
        parent=parent,
        core=core,
        from_the_beginning=from_the_beginning,
        workers=Workers.parse(workers) if workers is not None else None,
        threads=threads,
        calibrate=calibrate,
        sweep=sweep,
        chips=held,
        before_s=time.process_time(),
    )
    verification = (verify_group if is_merged(run) else verify_run)(run, request, tell=_tell)
    if as_json:
        chosen_by = "the system, after the run was handed over" if seed is None else "whoever gave --seed"
        print_json({"seed": drawn_by.hex(), "seed_chosen_by": chosen_by, **verification.as_dict()})
    else:
        print_draw(verification, seed=drawn_by, given=seed is not None)
        print_findings(f"transcript {run}", verification.findings)
        if any(f.check == "transcript.replay" and f.outcome is Outcome.FAIL for f in verification.findings):
            typer.echo(f"down to one step and tensor: weighbridge transcript bisect {run}")
    raise typer.Exit(exit_status(verification.findings))


def _check_place(run: Path) -> None:
    """Refuses a path at which nothing was recorded: that is a slip of whoever typed it, and says nothing of a run."""
    mend = "name a run's folder, weighbridge-runs/3f2a90b1c4d5e6f7 say; weighbridge transcript list shows them"
    if not run.is_dir():
        raise InputError("is no folder" if run.exists() else "is not there", where=run, mend=mend)
    if not is_merged(run) and not (run / "opening.json").exists() and not any(run.glob("journal-*.jsonl")):
        raise InputError("holds no transcript: neither opening.json nor a journal", where=run, mend=mend)


def _tell(sentence: str) -> None:
    print(f"weighbridge: {sentence}", file=sys.stderr)


def _chips(count: int | None, peak: str | None) -> "Chips | None":
    from weighbridge.mechanisms.transcript.chip_time import Chips

    if count is None and peak is None:
        return None
    if count is None or peak is None:
        lacking = "--chips" if count is None else "--chip-flops"
        raise InputError("is needed beside the other", where=lacking, mend="give --chips 16 --chip-flops 989e12")
    return Chips(count=check_count(count, name="--chips", least=1), peak=parse_flop_rate(peak, name="--chip-flops"))


def _seed(seed: str | None) -> bytes:
    try:
        return bytes.fromhex(seed) if seed is not None else secrets.token_bytes(32)
    except ValueError as error:
        raise InputError("is not hexadecimal", where="--seed") from error


def _logged(log: Path, roots: TrustRoots | None) -> list[Statement]:
    """Returns what an exported log holds, verified; its faults are not the transcript's."""
    if roots is None or roots.log_key is None:
        raise InputError("needs trust roots that name the log's key", where="--log", mend="name them with --roots")
    exported = ExportedLog.open(log, roots.log_key)
    return [verify_statement(raw, roots) for _, raw in exported.entries()]
