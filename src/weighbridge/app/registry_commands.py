"""``weighbridge registry``: the directory of chips."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.console import print_json, print_pairs, print_table
from weighbridge.app.output import exit_status
from weighbridge.errors import InputError
from weighbridge.evidence.files import replace_whole
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.statement import verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.registry.custody import ROLES, Custody, CustodyEvent
from weighbridge.mechanisms.registry.directory import Directory, sign_correction, sign_custody_event
from weighbridge.mechanisms.registry.epcis import KIND, Step, parse_time
from weighbridge.mechanisms.registry.table import import_csv
from weighbridge.units import SECONDS_PER_DAY, parse_quantity

__all__ = ["app"]

app = typer.Typer(
    help="The directory of chips: who made, shipped, received, installed and destroyed which.",
    no_args_is_help=True,
)

Db = Annotated[
    str, typer.Option("--db", help="The directory: a file, or an SQLAlchemy URL.", envvar="WEIGHBRIDGE_DIRECTORY")
]
Roots = Annotated[
    Path, typer.Option("--roots", help="Directory of trusted roots (*.pem, log.vkey).", envvar="WEIGHBRIDGE_ROOTS")
]
Key = Annotated[Path, typer.Option("--key", help="The signer's key, its chain beside it.")]
At = Annotated[str | None, typer.Option("--at", help="The time asked about; now if left out.", metavar="TIME")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Party = Annotated[str | None, typer.Option("--party", help="Who did it; the signer if left out.", metavar="NAME")]
_LARGEST_STATEMENT = 1 << 20


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with columns chip, step, time, party, to, from, ...")],
    *,
    db: Db,
    key: Key,
    roots: Roots,
    as_json: Json = False,
) -> None:
    r"""Sign every row of a table as a custody event and store all of them, or none.

    Columns: chip, step (made, shipped, received, installed, destroyed), time,
    and where they apply party, to, from, serial, location.

    Example: weighbridge registry import chips.csv --db chips.db \
               --key registrar.pem --roots roots/
    """
    signer = FileSigner.load(key)
    with Directory(db, roots=TrustRoots.load(roots), create=True) as directory:
        done = import_csv(file, directory=directory, signer=signer)
    if as_json:
        print_json({"rows": done.rows, "stored": list(done.stored), "known": done.known})
    else:
        typer.echo(f"{done.rows} rows: {len(done.stored)} events stored, {done.known} were known already")


@app.command()
def add(
    statements: Annotated[list[Path], typer.Argument(help="Files with one signed custody event each.")],
    *,
    db: Db,
    roots: Roots,
    as_json: Json = False,
) -> None:
    r"""Store custody events that others signed: all of them, or none.

    Example: weighbridge registry add shipping.cose receiving.cose --db chips.db --roots roots/
    """
    raws = [_read(path) for path in statements]
    with Directory(db, roots=TrustRoots.load(roots), create=True) as directory:
        stored = directory.add(raws)
    if as_json:
        print_json({"given": len(raws), "stored": list(stored)})
    else:
        typer.echo(f"{len(raws)} statements: {len(stored)} stored, {len(raws) - len(stored)} were known already")


@app.command()
def sign(
    step: Annotated[str, typer.Argument(help="made, shipped, received, installed or destroyed.")],
    *,
    chip: Annotated[list[str], typer.Option("--chip", help="Id of a chip; may be given again.", metavar="ID")],
    key: Key,
    out: Annotated[Path, typer.Option("--out", help="Where the signed event goes.")],
    party: Party = None,
    to: Annotated[str | None, typer.Option("--to", help="Addressee of a shipment.", metavar="NAME")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Sender of what was received.", metavar="NAME")] = None,
    at: At = None,
    serial: Annotated[str | None, typer.Option("--serial", help="The maker's serial number.")] = None,
    location: Annotated[str | None, typer.Option("--location", help="The site.")] = None,
) -> None:
    r"""Sign a custody event of one's own, to be handed to the registrar.

    Example: weighbridge registry sign shipped --chip 3f2a... --to operator-1 \
               --key distributor.pem --out shipping.cose
    """
    words = {step.name.lower(): step for step in Step} | {step.value: step for step in Step}
    if step not in words:
        raise InputError(f"{step!r} is not known", field="STEP", mend="made, shipped, received, installed, destroyed")
    if to is not None and from_ is not None:
        raise InputError("a shipment has --to, a receipt has --from", field="--to, --from", mend="give one")
    signer = FileSigner.load(key)
    raw = sign_custody_event(
        signer,
        step=words[step],
        chips=chip,
        time=_moment(at),
        party=_own_name(signer) if party is None else party,
        other=to if words[step] is not Step.RECEIVED else from_,
        serial=serial,
        location=location,
    )
    _write(out, raw)


@app.command()
def correct(
    statement: Annotated[Path, typer.Argument(help="The signed event that was an error.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="incorrect_data or did_not_occur.")],
    key: Key,
    roots: Roots,
    out: Annotated[Path, typer.Option("--out", help="Where the signed correction goes.")],
) -> None:
    r"""Sign the declaration that a custody event was an error; the event stays on record.

    Example: weighbridge registry correct shipping.cose --reason did_not_occur \
               --key distributor.pem --roots roots/ --out correction.cose
    """
    trusted = TrustRoots.load(roots)
    wrong = verify_statement(_read(statement), trusted, kind=KIND, role=ROLES)
    if reason == "incorrect_data":
        raw = sign_correction(FileSigner.load(key), of=wrong, reason="incorrect_data", time=time.time())
    elif reason == "did_not_occur":
        raw = sign_correction(FileSigner.load(key), of=wrong, reason="did_not_occur", time=time.time())
    else:
        raise InputError(f"{reason!r} is not known", field="--reason", mend="incorrect_data or did_not_occur")
    _write(out, raw)


@app.command()
def show(
    chip: Annotated[str | None, typer.Argument(help="A chip; all of them if left out.")] = None,
    *,
    db: Db,
    roots: Roots,
    at: At = None,
    as_json: Json = False,
) -> None:
    r"""Show all chips and who holds them, or one chip's whole history.

    Example: weighbridge registry show 3f2a... --db chips.db --roots roots/
    """
    with Directory(db, roots=TrustRoots.load(roots)) as directory:
        if chip is not None:
            _show_one(directory, chip, as_json=as_json)
            return
        moment = _moment(at)
        held = [(one.chip, one.at(moment)) for one in directory.histories()]
    if as_json:
        print_json({"at": _date(moment), "chips": [{"chip": one} | _custody(state) for one, state in held]})
        return
    print_table(
        f"{len(held)} chips at {_date(moment)}",
        columns=["chip", "holder", "status", "since", "location"],
        rows=[[one, *_cells(state)] for one, state in held],
    )


@app.command()
def holder(
    chip: Annotated[str | None, typer.Argument(help="The chip asked about.")] = None,
    *,
    of: Annotated[
        str | None, typer.Option("--party", help="Or a party: the chips that it answers for.", metavar="NAME")
    ] = None,
    db: Db,
    roots: Roots,
    at: At = None,
    as_json: Json = False,
) -> None:
    r"""Say who answered for a chip at a time, or which chips a party answered for.

    Example: weighbridge registry holder 3f2a... --at 2026-11-01 --db chips.db --roots roots/
             weighbridge registry holder --party operator-1 --db chips.db --roots roots/
    """
    if (chip is None) == (of is None):
        raise InputError("exactly one is needed", field="CHIP or --party")
    moment = _moment(at)
    with Directory(db, roots=TrustRoots.load(roots)) as directory:
        if chip is None:
            chips = directory.chips_of(str(of), moment)
            if as_json:
                print_json({"party": of, "at": _date(moment), "chips": chips})
            else:
                print_table(f"{of} at {_date(moment)}", columns=["chip"], rows=[[one] for one in chips])
            return
        state = directory.holder_at(chip, moment)
    if as_json:
        print_json({"chip": chip, "at": _date(moment)} | _custody(state))
    else:
        names = ("holder", "status", "since", "location")
        print_pairs(f"{chip} at {_date(moment)}", pairs=list(zip(names, _cells(state), strict=True)))


@app.command()
def findings(
    *,
    db: Db,
    roots: Roots,
    chip: Annotated[
        list[str] | None, typer.Option("--chip", help="Only this chip; may be given again.", metavar="ID")
    ] = None,
    at: At = None,
    transit_days: Annotated[
        str, typer.Option("--transit-days", help="Days that a shipment may be under way.", metavar="DAYS")
    ] = "14",
    as_json: Json = False,
) -> None:
    r"""Say what does not add up; exit status 1 if anything contradicts, 3 if anything is only somebody's word.

    Example: weighbridge registry findings --db chips.db --roots roots/ --json
    """
    limit = parse_quantity(transit_days, name="--transit-days") * SECONDS_PER_DAY
    with Directory(db, roots=TrustRoots.load(roots)) as directory:
        count = directory.verify()
        found = directory.findings(
            now=time.time(),
            at=None if at is None else _moment(at),
            transit_limit=limit,
            chips=chip,
            passes=chip is not None,
        )
    if as_json:
        print_json({"statements": count, "findings": [finding.as_dict() for finding in found]})
    else:
        print_table(
            f"{count} statements, {len(found)} findings",
            columns=["outcome", "check", "chip", "reason"],
            rows=[[one.outcome.value, one.check, one.subject, one.reason] for one in found],
        )
    raise typer.Exit(exit_status(found))


def _show_one(directory: Directory, chip: str, *, as_json: bool) -> None:
    history = directory.history(chip)
    if not history.events and not history.voided:
        raise InputError("is not in the directory", where=f"chip {chip}")
    if as_json:
        print_json(
            {
                "chip": chip,
                "serial": history.serial,
                "makers": list(history.makers),
                "states": [_custody(state) for state in history.states],
                "events": [_event(event) for event in history.events],
                "voided": [_event(event) for event in history.voided],
                "marks": [
                    {"check": mark.check, "reason": mark.reason, "evidence": list(mark.evidence)}
                    for mark in history.marks
                ],
            }
        )
        return
    print_table(
        f"Chip {chip}",
        columns=["time", "event", "by", "with", "signed by", "statement"],
        rows=[
            [
                _date(event.body.time),
                event.body.step.value,
                event.body.party,
                event.body.other or "",
                f"{event.issuer} ({event.role})",
                event.statement[:16],
            ]
            for event in history.events
        ],
    )
    for mark in history.marks:
        typer.echo(f"- {mark.check}: {mark.reason}")


def _custody(state: Custody | None) -> dict[str, Any]:
    if state is None:
        return {"holder": None, "status": "unknown"}
    return {
        "holder": state.holder,
        "status": state.status.value,
        "since": _date(state.since),
        "addressee": state.addressee,
        "location": state.location,
        "certified": state.certified,
        "evidence": list(state.evidence),
    }


def _cells(state: Custody | None) -> list[str]:
    if state is None:
        return ["unknown", "", "", ""]
    status = f"{state.status} to {state.addressee}" if state.addressee else state.status.value
    return [state.holder, status, _date(state.since), state.location or ""]


def _event(event: CustodyEvent) -> dict[str, Any]:
    body = event.body
    return {
        "statement": event.statement,
        "step": body.step.value,
        "time": _date(body.time),
        "party": body.party,
        "other": body.other,
        "location": body.location,
        "error": body.error,
        "issuer": event.issuer,
        "role": event.role.value,
        "issued_at": _date(event.issued_at),
    }


def _moment(at: str | None) -> float:
    return time.time() if at is None else parse_time(at, name="--at")


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _own_name(signer: FileSigner) -> str:
    from weighbridge.evidence.certificates import name_of

    if not signer.chain:
        raise InputError("has no certificate", where=signer.path, mend="have the key certified first")
    return name_of(signer.chain[0])


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError("there is no such file", where=path)
    with path.open("rb") as file:
        raw = file.read(_LARGEST_STATEMENT + 1)
    if len(raw) > _LARGEST_STATEMENT:
        raise InputError("is larger than any statement", where=path)
    return raw


def _write(path: Path, raw: bytes) -> None:
    if path.exists():
        raise InputError("is there already", where=path, mend="choose another name")
    try:
        replace_whole(path, raw)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=path) from error
    typer.echo(str(path))
