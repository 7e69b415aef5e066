"""``weighbridge sealed register | allow | query``: questions put before the answers are there, and paid in bits."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.sealed_output import check_pad
from weighbridge.errors import InputError
from weighbridge.evidence.export import ExportedLog
from weighbridge.evidence.files import read_plain, replace_whole
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.spool import SpoolClient
from weighbridge.evidence.statement import Statement, sign_statement, statement_id, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.sealed import question
from weighbridge.mechanisms.transcript.sealed.queries import BUDGET, REGISTRATION
from weighbridge.mechanisms.transcript.sealed.sealing import Sealed

__all__ = ["logged_statements", "mount", "sign_and_log"]

_ANSWER_SECONDS = 60.0

Key = Annotated[Path, typer.Option(help="Key file, its certificates beside it.")]
Run = Annotated[str, typer.Option(help="Run id, as the log has it: 64 hexadecimal digits.")]
Spool = Annotated[Path | None, typer.Option(help="The log keeper's spool; without it, log the statement yourself.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def mount(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(register)
    app.command()(allow)
    app.command()(query)


def register(
    folder: Annotated[Path, typer.Argument(help="Folder with query.json and program.py (or --rule).")],
    run: Run,
    key: Key,
    spool: Spool = None,
    rule: Annotated[str | None, typer.Option(help="Copy this shipped rule to program.py first.")] = None,
    as_json: AsJson = False,
) -> None:
    """Registers a query of a run (inspector): signed, and logged before the run's transcript closes.

    query.json: "answers" (a list of name, low, high, bits, and scale), and where wanted "parameters", "measures" and
    "seconds". Writes registration.cose into the folder.

    Example: weighbridge sealed register share --run RUN --key inspector.pem --spool spool --rule detector-share
    """
    if rule is not None:
        program = question.shipped_rule(rule)
        if (folder / "program.py").exists():
            raise InputError("is there already", where=folder / "program.py", mend="leave out --rule")
        if not folder.is_dir():
            raise InputError("is no folder of a query", where=folder)
        replace_whole(folder / "program.py", program)
    asked = question.query_of(folder, run=_run_id(run))
    raw = sign_and_log(folder / "registration.cose", key, REGISTRATION, asked.run, asked.payload(), spool)
    told = {"registration": statement_id(raw), "run": asked.run, "bits": asked.cost, "logged": spool is not None}
    _print("query registered", told, as_json=as_json)


def allow(
    out: Annotated[Path, typer.Argument(help="File for the signed budget; never overwritten.")],
    run: Run,
    bits: Annotated[int, typer.Option(help="Bits that all answers about this run may take together.")],
    key: Key,
    spool: Spool = None,
    as_json: AsJson = False,
) -> None:
    """Allows so many bits of answers about a run (operator): signed, and logged before its transcript closes.

    Without a budget no query is answered. A later statement can only narrow it.

    Example: weighbridge sealed allow budget.cose --run RUN --bits 64 --key operator.pem --spool spool
    """
    if bits < 0:
        raise InputError("must not be negative", where="--bits")
    identifier = _run_id(run)
    raw = sign_and_log(out, key, BUDGET, identifier, {"run": identifier, "bits": bits}, spool)
    told = {"budget": statement_id(raw), "run": identifier, "bits": bits, "logged": spool is not None}
    _print("budget of answers", told, as_json=as_json)


def query(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    folder: Annotated[Path, typer.Argument(help="The query's folder, with registration.cose.")],
    log: Annotated[Path, typer.Option(help="Exported log, which holds registration, budget and the run's end.")],
    roots: Annotated[Path, typer.Option(help="Trust roots.")],
    ledger: Annotated[Path, typer.Option(help="Folder of the ledger of answers.")],
    key: Key,
    kept: Annotated[str | None, typer.Option(help="Newest ledger entry that the other party kept.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training data, if not at its committed path.")] = None,
    parent: Annotated[Path | None, typer.Option(help="Transcript of the run's parent.")] = None,
    pad_seconds: Annotated[float | None, typer.Option(help="Answer after exactly this long.")] = None,
    as_json: AsJson = False,
) -> None:
    """Asks a registered query in the sealed room; its bits are spent before it is answered.

    The same query asked again gives the stored answer, and costs nothing. Exits with 3 if there was no answer.

    Example: weighbridge sealed query runs/3f2a share --log log --roots roots --ledger answers --key inspector.pem
    """
    check_pad(pad_seconds)
    trusted = TrustRoots.load(roots)
    statement = read_plain(folder / "registration.cose", limit_bytes=LIMITS.statement_bytes)
    print("weighbridge: the room is closed until it answers …", file=sys.stderr)
    asked = question.ask(
        run,
        question.query_files(folder),
        verify_statement(statement, trusted),
        logged=logged_statements(log, trusted),
        ledger=ledger,
        signer=FileSigner.load(key),
        roots=trusted,
        sealed=Sealed(roots=roots, data=data, parent=parent, pad_seconds=pad_seconds),
        kept=kept,
    )
    _print("answer", asked.as_dict(), as_json=as_json)
    raise typer.Exit(0 if asked.answer.levels is not None else 3)


def logged_statements(log: Path, roots: TrustRoots) -> list[Statement]:
    """Returns what an exported log holds, verified, in order."""
    exported = ExportedLog.open(log, roots.log_key)
    return [verify_statement(raw, roots) for _, raw in exported.entries()]


def sign_and_log(
    out: Path, key: Path, kind: str, subject: str, payload: dict[str, object], spool: Path | None
) -> bytes:
    """Signs a statement, logs it if a spool is named, and writes it; a file that is there is never replaced."""
    if out.exists():
        raise InputError("exists already", where=out, mend="name a new one")
    raw = sign_statement(FileSigner.load(key), kind=kind, subject=subject, payload=payload)
    if spool is not None:
        client = SpoolClient(spool)
        receipt = client.wait(client.submit(raw), timeout=_ANSWER_SECONDS)
        replace_whole(out.with_suffix(".receipt"), receipt)
    replace_whole(out, raw)
    return raw


def _run_id(run: str) -> str:
    if len(run) != 64 or set(run) - set("0123456789abcdef"):
        raise InputError("is no run id of 64 hexadecimal digits", where="--run")
    return run


def _print(title: str, told: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        print_pairs(title, pairs=[(name.replace("_", " "), str(value)) for name, value in told.items()])
