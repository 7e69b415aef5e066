"""``weighbridge chip``: make a chip, run a command under watch, show and verify its records, answer a challenge."""

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import ExportedLog, Log
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.chip.challenge import answer_challenge
from weighbridge.mechanisms.chip.collect import collect, peek
from weighbridge.mechanisms.chip.record import KIND, claimed_name
from weighbridge.mechanisms.chip.run import DEFAULT_LATE_LIMIT, DEFAULT_LEAF_SIZE, run_command
from weighbridge.mechanisms.chip.setup import DEFAULT_LENGTH, DEFAULT_RATE_HZ, init_chip, read_certificates
from weighbridge.mechanisms.chip.store import read_chip, receipt_path, record_path, sequences
from weighbridge.mechanisms.chip.summary import ChipSummary
from weighbridge.mechanisms.chip.verify import Verification, VerifyLimits, verify

__all__ = ["app"]

app = typer.Typer(
    name="chip",
    no_args_is_help=True,
    help="Make a chip, run a command under watch, verify the records.",
)

Directory = Annotated[Path, typer.Argument(help="The chip's directory.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command()
def init(
    directory: Directory,
    *,
    maker_key: Annotated[Path, typer.Option(help="The maker's private key (PEM).", metavar="FILE")],
    maker_cert: Annotated[Path, typer.Option(help="Its certificate, and those above it (PEM).", metavar="FILE")],
    rate: Annotated[float, typer.Option(help="Stops per second of chip-active time.", metavar="HZ")] = DEFAULT_RATE_HZ,
    length: Annotated[int, typer.Option(help="Stops that one schedule chain serves.", metavar="N")] = DEFAULT_LENGTH,
    name: Annotated[str | None, typer.Option(help="Common name in its certificate.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a chip: key, secret, and a certificate from its maker that commits the schedule.

    Example: weighbridge chip init chip-1 --maker-key maker.key --maker-cert maker.pem --rate 0.1
    """
    made = init_chip(
        directory,
        maker=FileSigner.load(maker_key),
        maker_chain=read_certificates(maker_cert),
        rate_hz=rate,
        length=length,
        name=name,
    )
    if as_json:
        print_json({"chip": made.chip, "directory": str(made.directory), **made.terms.claims()})
        return
    print_pairs(
        "A chip was made",
        pairs=[
            ("chip", made.chip),
            ("directory", str(made.directory)),
            ("stops per active second", f"{made.terms.rate_hz:g}"),
            ("schedule commitment", made.terms.commitment.hex()),
        ],
    )


@app.command()
def run(
    directory: Directory,
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.", metavar="COMMAND…")],
    *,
    spool: Annotated[Path | None, typer.Option(help="Spool of the log that the records go to.", metavar="DIR")] = None,
    leaf_size: Annotated[int, typer.Option(help="Bytes of a leaf, a power of two.", metavar="B")] = DEFAULT_LEAF_SIZE,
    core: Annotated[int | None, typer.Option(help="Pin the command to this processor.", metavar="N")] = None,
    user: Annotated[
        str | None, typer.Option(help="User that the command runs as; nobody if the agent is root.", metavar="UID")
    ] = None,
    late_limit: Annotated[
        float, typer.Option(help="Seconds of lateness beyond which to warn.", metavar="S")
    ] = DEFAULT_LATE_LIMIT,
    bracket: Annotated[
        Path | None, typer.Option(help="File kept fresh with the newest checkpoint or inspector's value.")
    ] = None,
    expose: Annotated[
        list[Path] | None, typer.Option(help="Path that the command must reach below a closed directory; repeatable.")
    ] = None,
) -> None:
    """Run a command under watch; its exit status is passed on.

    The command is stopped at times that nobody can foresee, its memory is read and hashed, and a signed record is
    kept. SIGTERM or SIGINT to this command ends the watched one and closes the records.

    Example: weighbridge chip run chip-1 --spool spool --core 0 -- python train.py
    """
    result = run_command(
        directory,
        command,
        spool=spool,
        leaf_size=leaf_size,
        core=core,
        user=user,
        late_limit=late_limit,
        bracket=bracket,
        expose=expose or (),
    )
    stops = (
        f"{result.samples} stops, {result.frozen_seconds:.3f} s in all (longest {result.longest_freeze:.3f} s, "
        f"latest {result.latest * 1e3:.1f} ms late), {result.read_bytes / 1e6:.1f} MB read"
    )
    print(
        f"weighbridge: boot {result.boot} ran {result.active_seconds:.3f} s (measured, stops excluded); "
        f"{stops if result.samples else 'no stop fell due'}",
        file=sys.stderr,
    )
    raise typer.Exit(result.exit_status)


@app.command()
def show(
    directory: Directory,
    limit: Annotated[int, typer.Option(min=0, help="Most records to list, the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List a chip's newest records as they stand, unverified.

    Example: weighbridge chip show chip-1 --limit 5
    """
    chip = read_chip(directory)
    present = sequences(directory)
    rows = [_row(directory, chip["chip"], sequence) for sequence in present[-limit:] if limit]
    facts: dict[str, Any] = {**chip, "records": len(present), "newest": rows}
    if as_json:
        print_json(facts)
        return
    print_pairs(
        f"chip {chip['chip']}",
        pairs=[(name.replace("_", " "), str(value)) for name, value in facts.items() if name != "newest"],
    )
    print_table(
        "newest records, unverified: weighbridge chip verify checks signatures, schedule and leaves",
        columns=["record", "boot", "reason", "active s", "late ms", "stopped s", "CPU s", "read MB", "receipt"],
        rows=[[_cell(value) for value in row.values()] for row in rows],
    )


@app.command(name="verify")
def verify_command(
    directory: Directory,
    *,
    roots: Annotated[Path, typer.Option(help="Directory of trust roots, from outside.", metavar="DIR")],
    log: Annotated[
        Path | None,
        typer.Option(help="The log or its export: what it holds and DIR lacks, or holds differently, is found."),
    ] = None,
    late_limit: Annotated[float, typer.Option(help="Greatest lateness of a stop, seconds.")] = VerifyLimits().late_s,
    as_json: AsJson = False,
) -> None:
    """Recompute schedule, chain and roots; exit 0 only if nothing failed.

    Prints each check as pass, fail or inconclusive, with the record it names and the reason. What is inconclusive
    is not covered. Without --log, records missing after the last one cannot be seen.

    Example: weighbridge chip verify chip-1 --roots demo.roots --log log-export
    """
    trusted = TrustRoots.load(roots)
    chip = read_chip(directory)["chip"]
    found = collect(directory, trusted, chip=chip)
    logged = {} if log is None else _logged(log, trusted, chip)
    own = {statement.id for statement in found.statements}
    judged = verify(
        [*found.statements, *(statement for statement, _ in logged.values() if statement.id not in own)],
        chip=chip,
        receipts={**found.receipts, **{identifier: time for identifier, (_, time) in logged.items()}},
        leaves=found.leaves,
        salts=found.salts,
        limits=VerifyLimits(late_s=late_limit),
    )
    absent = [
        Finding(
            check="chip.end",
            subject=claimed_name(statement),
            outcome=Outcome.FAIL,
            reason="the record is in the log and not in the chip's directory",
            evidence=(statement.id,),
        )
        for statement, _ in logged.values()
        if statement.id not in own
    ]
    redo = f"weighbridge chip verify {directory} --roots {roots}" + (f" --log {log}" if log else "")
    findings = [*found.findings, *absent, *judged.findings]
    failed = any(finding.outcome is Outcome.FAIL for finding in findings)
    if as_json:
        print_json(_as_json(judged, findings, redo, holds=not failed))
    else:
        print_table(
            f"chip {chip}: {'a check failed' if failed else 'nothing failed'}",
            columns=["check", "outcome", "subject", "reason"],
            rows=[[f.check, f.outcome.value, _short(f.subject), f.reason] for f in findings],
        )
        if judged.summary is not None:
            _print_summary(judged.summary)
    raise typer.Exit(1 if failed else 0)


@app.command()
def answer(
    directory: Directory,
    *,
    nonce: Annotated[str, typer.Option(help="The inspector's nonce, 8 to 64 bytes in hex.", metavar="HEX")],
    as_json: AsJson = False,
) -> None:
    """Append a record that answers an inspector's nonce, through the running agent if there is one.

    Example: weighbridge chip answer chip-1 --nonce 00112233445566778899aabbccddeeff
    """
    path = answer_challenge(directory, nonce)
    if as_json:
        print_json({"chip": read_chip(directory)["chip"], "sequence": int(path.stem), "record": str(path)})
    else:
        typer.echo(str(path))


def _logged(log: Path, roots: TrustRoots, chip: str) -> dict[str, tuple[Statement, float]]:
    """Returns the chip's records in a log with the times of their receipts, by statement id."""
    with contextlib.ExitStack() as stack:
        source: Log | ExportedLog
        if log.is_dir():
            source = ExportedLog.open(log, roots.log_key)
        else:
            source = stack.enter_context(Log.open(log, log_key=roots.log_key))
        found = {}
        for entry, raw in source.entries():
            statement = verify_statement(raw, roots)
            if statement.kind == KIND and statement.subject == chip:
                found[statement.id] = (statement, entry.integrated_at)
        return found


def _row(directory: Path, chip: str, sequence: int) -> dict[str, Any]:
    name = f"{chip}#{sequence}"
    try:
        record = peek(record_path(directory, sequence).read_bytes(), chip=chip, where=name)
    except (EvidenceError, OSError) as error:
        return {"sequence": sequence, "unreadable": str(error)}
    return {
        "sequence": sequence,
        "boot": record.boot,
        "reason": record.reason,
        "active_s": record.active_ns / 1e9,
        "late_ms": record.late_ns / 1e6,
        "stopped_s": record.freeze_ns / 1e9,
        "cpu_s": record.cpu_ns / 1e9,
        "read_mb": record.resident_bytes / 1e6,
        "receipt": receipt_path(directory, sequence).is_file(),
    }


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _as_json(judged: Verification, findings: list[Finding], redo: str, *, holds: bool) -> dict[str, Any]:
    summary = None if judged.summary is None else asdict(judged.summary)
    rows = [finding.as_dict() | {"redo": finding.redo or redo} for finding in findings]
    return {"chip": judged.chip, "holds": holds, "summary": summary, "findings": rows}


def _print_summary(summary: ChipSummary) -> None:
    print_table(
        f"{summary.samples_taken} of {summary.samples_due} due samples taken at {summary.rate_hz:g} per active second",
        columns=["boot", "records", "ended", "active s", "CPU s", "stops", "missed", "stopped s", "longest stop s"],
        rows=[
            [
                str(boot.boot),
                f"{boot.first}-{boot.last}",
                "cleanly" if boot.clean else "not cleanly",
                f"{boot.active_ns / 1e9:.3f}",
                f"{boot.cpu_ns / 1e9:.3f}",
                str(len(boot.samples)),
                str(len(boot.missed)),
                f"{boot.frozen_ns / 1e9:.3f}",
                f"{max((s.freeze_ns for s in boot.samples), default=0) / 1e9:.3f}",
            ]
            for boot in summary.boots
        ],
    )


def _short(subject: str) -> str:
    chip, mark, sequence = subject.partition("#")
    return f"{chip[:16]}{mark}{sequence}"
