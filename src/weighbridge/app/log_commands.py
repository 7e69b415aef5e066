"""``weighbridge log``: read, check, prove, export and keep a transparency log."""

import base64
import datetime
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.console import print_json, print_table
from weighbridge.app.nonces import NonceService, load_nonce_key
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import ExportedLog, Log, LogEntry
from weighbridge.evidence.merkle import leaf_hash, verify_consistency, verify_inclusion
from weighbridge.evidence.spool import Keeper
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots

__all__ = ["app"]

app = typer.Typer(
    name="log",
    no_args_is_help=True,
    help="Read, check, prove, export and keep a transparency log of signed statements.",
)

LogPath = Annotated[Path, typer.Argument(help="The log's database, or a directory that `log export` wrote.")]
Roots = Annotated[
    Path | None,
    typer.Option(help="Directory of trust roots: *.pem, log.vkey, perhaps a checkpoint kept by the inspector."),
]
_SHOWN = ("kind", "subject", "issuer", "id")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.command()
def show(
    path: LogPath,
    roots: Roots = None,
    kind: Annotated[str | None, typer.Option(help="Only statements of this kind.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only statements about this subject.")] = None,
    start: Annotated[int, typer.Option(min=0, help="First entry to show.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Most entries to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List a log's entries, each statement verified as it is read.

    Without --roots nobody's signature can be checked, so statements are not opened: only index, time and
    id are shown.

    Example: weighbridge log show log.db --roots demo.roots --kind chip-record --limit 10
    """
    trusted = None if roots is None else TrustRoots.load(roots)
    if trusted is None and (kind or subject):
        raise InputError("statements are opened only under trust roots", field="--kind, --subject", mend="add --roots")
    with _opened(path, trusted) as log:
        rows = []
        for entry, raw in log.entries(start):
            statement = None if trusted is None else verify_statement(raw, trusted)
            if statement is None or (kind in (None, statement.kind) and subject in (None, statement.subject)):
                rows.append(_row(entry, statement))
            if len(rows) == limit:
                break
        summary = {
            "origin": log.log_key.origin,
            "size": log.size,
            "root": log.root.hex(),
            "entries": rows,
        }
    if as_json:
        print_json(summary)
        return
    print_table(
        f"{summary['origin']}: {summary['size']} entries, root {summary['root']}",
        columns=["index", "logged (UTC)", "kind", "subject", "by", "id"],
        rows=[[str(row["index"]), _utc(row["integrated_at"]), *(_short(row[name]) for name in _SHOWN)] for row in rows],
    )
    if trusted is None:
        typer.echo("Statements not opened: give --roots to verify and read them.")


@app.command()
def verify(
    path: LogPath,
    roots: Roots = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint kept from outside, which the log must extend.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a log from its statements up; exit 0 only if nothing failed.

    Prints each check as pass, fail or inconclusive, with the reason. An export can be verified only under the
    log's key, so it needs --roots.

    Example: weighbridge log verify log.db --roots demo.roots --checkpoint kept.checkpoint
    """
    trusted = None if roots is None else TrustRoots.load(roots)
    kept = None if checkpoint is None else _read(checkpoint)
    findings = _verify_export(path, trusted) if path.is_dir() else _verify_database(path, trusted)
    if kept is not None and not any(f.outcome is Outcome.FAIL for f in findings):
        # A checkpoint named here stands in for one that the trust roots lack.
        findings = [f for f in findings if (f.check, f.outcome) != ("log.kept", Outcome.INCONCLUSIVE)]
        findings.append(_verify_kept(path, trusted, kept, str(checkpoint)))
    failed = [f for f in findings if f.outcome is Outcome.FAIL]
    if as_json:
        print_json({"holds": not failed, "findings": [f.as_dict() for f in findings]})
    else:
        rows = [[finding.check, finding.outcome.value, finding.reason] for finding in findings]
        print_table(f"log {path}", columns=["check", "outcome", "reason"], rows=rows)
    raise typer.Exit(1 if failed else 0)


@app.command()
def prove(
    path: LogPath,
    entry: Annotated[str | None, typer.Argument(help="An entry's index, or its statement's id.")] = None,
    since: Annotated[
        int | None, typer.Option(min=0, help="Prove instead that the log extends its first so many entries.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=0, help="Size of the tree to prove in; the newest by default.")
    ] = None,
    roots: Roots = None,
    as_json: AsJson = False,
) -> None:
    """Print an RFC 9162 inclusion or consistency proof, checked before it is printed.

    Example: weighbridge log prove log.db 17 --json

    Example: weighbridge log prove log.db --since 100
    """
    if (entry is None) == (since is None):
        raise InputError("give either an entry or --since", where="log prove")
    trusted = None if roots is None else TrustRoots.load(roots)
    if path.is_dir():
        raise InputError("proofs are made from the database", where=path, mend="an export carries receipts")
    with Log.open(path, log_key=None if trusted is None else trusted.log_key) as log:
        newest = log.size if size is None else size
        proof = _consistency(log, since, newest) if since is not None else _inclusion(log, str(entry), newest)
        proof["checkpoint"] = log.checkpoint().decode()
    if as_json:
        print_json(proof)
        return
    for name, value in proof.items():
        lines = value if isinstance(value, list) else [value]
        typer.echo(f"{name}: {'' if isinstance(value, list) else lines[0]}".rstrip())
        if isinstance(value, list):
            for line in lines:
                typer.echo(f"  {line}")


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="The log's database.")],
    directory: Annotated[Path, typer.Argument(help="Where to write; must not exist or be empty.")],
    roots: Roots = None,
    as_json: AsJson = False,
) -> None:
    """Write a log as static files that anyone verifies without the database.

    The files are the checkpoint, C2SP tiles, statements.cborseq and receipts.cborseq.

    Example: weighbridge log export log.db public/log
    """
    trusted = None if roots is None else TrustRoots.load(roots)
    with Log.open(path, log_key=None if trusted is None else trusted.log_key) as log:
        log.export(directory)
        exported = ExportedLog.open(directory, log.log_key)
    result = {"directory": str(directory), "size": exported.size, "root": exported.root.hex()}
    if as_json:
        print_json(result)
    else:
        typer.echo(f"{directory}: {exported.size} entries, root {exported.root.hex()}, verified as written")


@app.command()
def keep(
    path: Annotated[Path, typer.Argument(help="The log's database.")],
    spool: Annotated[Path, typer.Option(help="Folder through which others hand statements in.")],
    key: Annotated[Path, typer.Option(help="The log's private key file.")],
    roots: Annotated[Path, typer.Option(help="Directory of trust roots: who may state anything.")],
    create: Annotated[bool, typer.Option(help="Make the log if it is not there, named as log.vkey says.")] = False,
    inspector: Annotated[Path | None, typer.Option(help="Inspector's key file: answer runs with nonces.")] = None,
    nonce_key: Annotated[Path | None, typer.Option(help="Key that the nonces follow from; made if absent.")] = None,
    once: Annotated[bool, typer.Option(help="Handle what lies in the spool, then stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the log's keeper in the foreground until SIGINT or SIGTERM.

    It may be killed at any moment: what it gave a receipt for is on the disk. With --inspector and --nonce-key it
    also answers each run's commitment, so that recorded runs are bound to a seed that nobody could choose.

    Example: weighbridge log keep log.db --spool spool --key log.key --roots demo.roots
    """
    trusted = TrustRoots.load(roots)
    signer = FileSigner.load(key)
    if (inspector is None) != (nonce_key is None):
        raise InputError("--inspector and --nonce-key go together", mend="name both, or neither")
    service = NonceService(FileSigner.load(inspector), load_nonce_key(nonce_key)) if inspector and nonce_key else None
    if create and not path.exists():
        Log.create(path, signer, origin=trusted.log_key.origin).close()
    with Log.open(path, signer, log_key=trusted.log_key) as log:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        with Keeper(log, spool, roots=trusted, on_entry=service) as keeper:
            typer.echo(f"keeping {trusted.log_key.origin} ({log.size} entries), spool {spool}", err=True)
            if once:
                while keeper.run_once():
                    pass
            else:
                keeper.run(stop)
        result = {"origin": trusted.log_key.origin, "size": log.size, "root": log.root.hex()}
    if as_json:
        print_json(result)
    else:
        typer.echo(f"stopped at {result['size']} entries, root {result['root']}", err=True)


def _verify_database(path: Path, trusted: TrustRoots | None) -> list[Finding]:
    try:
        with Log.open(path) as log:
            return log.verify(roots=trusted)
    except EvidenceError as error:
        return [_finding("log.open", path, Outcome.FAIL, str(error))]


def _verify_export(path: Path, trusted: TrustRoots | None) -> list[Finding]:
    if trusted is None:
        raise InputError("an export is verified under the log's key", where=path, mend="add --roots")
    try:
        exported = ExportedLog.open(path, trusted.log_key)
    except EvidenceError as error:
        return [_finding("log.export", path, Outcome.FAIL, str(error))]
    passed = f"{exported.size} statements, receipts and all tiles fit the checkpoint signed by the log trusted"
    findings = [_finding("log.export", path, Outcome.PASS, passed)]
    try:
        for _, raw in exported.entries():
            verify_statement(raw, trusted)
        reason = f"{exported.size} statements verify under the trust roots"
        findings.append(_finding("log.statements", path, Outcome.PASS, reason))
    except EvidenceError as error:
        findings.append(_finding("log.statements", path, Outcome.FAIL, str(error)))
    if trusted.checkpoint is not None:
        findings.append(_kept(exported, path, trusted.checkpoint, "the trust roots' checkpoint"))
    else:
        reason = "not given: a checkpoint kept outside, without which a log rewritten by its own key does not show"
        findings.append(_finding("log.kept", path, Outcome.INCONCLUSIVE, reason))
    return findings


def _verify_kept(path: Path, trusted: TrustRoots | None, kept: bytes, name: str) -> Finding:
    with _opened(path, trusted) as log:
        return _kept(log, path, kept, name)


def _kept(log: Log | ExportedLog, path: Path, kept: bytes, name: str) -> Finding:
    try:
        old = log.consistent_with(kept)
    except EvidenceError as error:
        return _finding("log.kept", path, Outcome.FAIL, str(error))
    return _finding("log.kept", path, Outcome.PASS, f"extends {name}, of {old.size} entries")


def _finding(check: str, path: Path, outcome: Outcome, reason: str) -> Finding:
    return Finding(check=check, subject=str(path), outcome=outcome, reason=reason)


def _inclusion(log: Log, entry: str, size: int) -> dict[str, Any]:
    found = log.entry(int(entry)) if entry.isdecimal() and len(entry) < 20 else log.entry_of(entry)
    if found is None:
        raise InputError("the log holds no such statement", where=entry)
    path = log.prove_inclusion(found.index, size)
    root = log.root_at(size)
    verify_inclusion(leaf_hash(bytes.fromhex(found.statement_id)), found.index, size, path, root)
    return {
        "index": found.index,
        "id": found.statement_id,
        "integrated_at": found.integrated_at,
        "size": size,
        "root": root.hex(),
        "path": [node.hex() for node in path],
        "receipt": base64.b64encode(found.receipt).decode(),
    }


def _consistency(log: Log, old: int, new: int) -> dict[str, Any]:
    path = log.prove_consistency(old, new)
    old_root, new_root = log.root_at(old), log.root_at(new)
    verify_consistency(old, new, old_root, new_root, path)
    return {
        "old_size": old,
        "old_root": old_root.hex(),
        "size": new,
        "root": new_root.hex(),
        "path": [node.hex() for node in path],
    }


@contextmanager
def _opened(path: Path, trusted: TrustRoots | None) -> Iterator[Log | ExportedLog]:
    if path.is_dir():
        if trusted is None:
            raise InputError("an export is read under the log's key", where=path, mend="add --roots")
        yield ExportedLog.open(path, trusted.log_key)
        return
    with Log.open(path, log_key=None if trusted is None else trusted.log_key) as log:
        yield log


def _row(entry: LogEntry, statement: Statement | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "index": entry.index,
        "id": entry.statement_id,
        "integrated_at": entry.integrated_at,
        "kind": None,
        "subject": None,
        "issuer": None,
    }
    if statement is not None:
        row |= {
            "kind": statement.kind,
            "subject": statement.subject,
            "issuer": statement.issuer,
            "role": statement.role.value,
            "issued_at": statement.issued_at,
            "protection": statement.protection,
        }
    return row


def _short(value: str | None) -> str:
    if value is None:
        return ""
    return value if len(value) <= 20 else f"{value[:16]}…"


def _utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error
