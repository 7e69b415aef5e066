"""What leaves the sealed room, as a command prints it: the bytes themselves, whichever form was asked for."""

import sys
from pathlib import Path

import typer

from weighbridge.errors import InputError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.sealed.sealing import Sealed, verify_sealed

__all__ = ["check_pad", "exit_for", "verify_in_room"]

_LONGEST_S = 30 * 86_400.0


def verify_in_room(run: Path, sealed: Sealed) -> None:
    """Verifies in the room, prints the record, and ends the command with the verdict's status."""
    check_pad(sealed.pad_seconds)
    print("weighbridge: the room is closed until it answers …", file=sys.stderr)
    record = verify_sealed(run, sealed)
    typer.echo(record.encode().decode("ascii"), nl=False)
    raise typer.Exit(exit_for(record.verdict))


def check_pad(seconds: float | None) -> None:
    """Refuses a time that is none."""
    if seconds is not None and not 0 < seconds <= _LONGEST_S:
        raise InputError("must be above 0 and at most 30 days, in seconds", where="--pad-seconds")


def exit_for(verdict: Outcome) -> int:
    """Returns the exit status of a verdict: 0 pass, 1 fail, 3 not shown."""
    return {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 3}[verdict]
