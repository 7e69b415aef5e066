"""``weighbridge inspect commit | frame | reveal | draw | check-draw``: a draw that nobody could steer."""

import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.draw_files import logged_statements, open_once, read_file, read_secret, submit
from weighbridge.app.draw_sources import after_frame, announce, announce_shares, given_by_source
from weighbridge.app.output import exit_status, print_findings
from weighbridge.app.signing_roles import require_role
from weighbridge.errors import InputError
from weighbridge.evidence.draw_check import check_draw
from weighbridge.evidence.draw_folder import DRAW_ROLES, load_draw, save_statement
from weighbridge.evidence.draw_form import COMMITMENT, DRAW, FRAME, SHARE, Frame, share_commitment
from weighbridge.evidence.draw_value import draw_payload
from weighbridge.evidence.files import replace_whole
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.population import Population
from weighbridge.evidence.statement import sign_statement, statement_id
from weighbridge.evidence.trust import TrustRoots
from weighbridge.units import parse_count, parse_quantity

__all__ = ["mount"]

_IDS_BYTES = 900_000  # of a statement's 1 MiB; the frame must not promise what cannot be signed

Folder = Annotated[Path, typer.Argument(help="The draw's folder.", metavar="DRAW")]
Key = Annotated[Path, typer.Option(help="Your private key (PEM), its chain beside it.", metavar="FILE")]
Roots = Annotated[Path, typer.Option(help="Directory of trust roots, from outside.", metavar="DIR")]
Spool = Annotated[Path | None, typer.Option(help="Spool of a log that shall take the statement.", metavar="DIR")]
Purpose = Annotated[str, typer.Option(help="What is drawn for.", metavar="TEXT")]
Period = Annotated[str, typer.Option(help="For which period, such as 2026-11.", metavar="TEXT")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def mount(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, command in (
        ("commit", commit),
        ("frame", frame),
        ("reveal", reveal),
        ("draw", draw),
        ("check-draw", check_draw_command),
    ):
        app.command(name)(command)


def commit(
    folder: Folder,
    *,
    key: Key,
    purpose: Purpose,
    period: Period,
    secret: Annotated[Path, typer.Option(help="New file for your share; keep it to yourself.", metavar="FILE")],
    spool: Spool = None,
    as_json: Json = False,
) -> None:
    r"""Commit to a random share: the first step of a draw by commit-reveal, one a party.

    Example: weighbridge inspect commit draw --key operator.pem --purpose visit \
               --period 2026-11 --secret share.hex
    """
    signer = FileSigner.load(key)
    require_role(signer, DRAW_ROLES[COMMITMENT], where=key, roots=None)
    share = read_secret(secret, create=True)
    payload = {"purpose": purpose, "period": period, "commitment": share_commitment(share, key_id=signer.key_id)}
    raw = sign_statement(signer, kind=COMMITMENT, subject=purpose, payload=payload)
    path = save_statement(folder, raw, kind=COMMITMENT)
    submit(raw, path, spool)
    facts = {"statement": statement_id(raw), "file": str(path)}
    after = "Hand the folder to the other party; when both have committed: weighbridge inspect frame"
    _told("A commitment was signed", facts, after, as_json=as_json)


def frame(
    folder: Folder,
    *,
    population: Annotated[
        Path, typer.Option("--list", help="CSV with a heading: id (or chip), rack, serial, …", metavar="FILE")
    ],
    count: Annotated[str, typer.Option(help="Items to draw.", metavar="COUNT")],
    reserves: Annotated[str, typer.Option(help="Further items, as replacements in order.", metavar="COUNT")] = "0",
    purpose: Purpose,
    period: Period,
    source: Annotated[str, typer.Option(help="Source of chance.", metavar="drand|ecvrf|commit-reveal")],
    number: Annotated[
        str | None, typer.Option("--round", help="drand: the round; the first in ten minutes if not given.")
    ] = None,
    vrf_key: Annotated[
        Path | None, typer.Option(help="ecvrf: file with your secret; made if it is not there.", metavar="FILE")
    ] = None,
    challenger: Annotated[
        Path | None, typer.Option(help="ecvrf: certificate (PEM) of the party that challenges.", metavar="FILE")
    ] = None,
    hours: Annotated[str, typer.Option(help="Hours in which shares must be opened.", metavar="HOURS")] = "24",
    key: Key,
    roots: Roots,
    spool: Spool = None,
    as_json: Json = False,
) -> None:
    r"""Freeze a population and say how it will be drawn from, before anybody can know the chance.

    Example: weighbridge inspect frame draw --list chips.csv --count 20 --reserves 5 --purpose visit \
               --period 2026-11 --source drand --key inspector.pem --roots roots --spool spool
    """
    trusted, signer = TrustRoots.load(roots), FileSigner.load(key)
    require_role(signer, DRAW_ROLES[FRAME], where=key, roots=trusted)
    if (folder / "population.json").exists():
        raise InputError("a population is frozen here already", where=folder, mend="name a new folder")
    try:
        text = read_file(population).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=population) from error
    frozen = Population.from_csv(text, salt=secrets.token_bytes(32), where=population)
    wanted, spare = parse_count(count, name="--count", least=1), parse_count(reserves, name="--reserves")
    if wanted + spare > len(frozen.items):
        raise InputError(
            f"{wanted} and {spare} in reserve are more than the {len(frozen.items)} there are",
            where=population,
            field="--count and --reserves",
            mend="draw fewer",
        )
    longest = max(len(identifier.encode()) for identifier in frozen.ids)
    if (wanted + spare) * (longest + 3) > _IDS_BYTES:
        raise InputError(f"{wanted + spare} ids of up to {longest} bytes do not fit one draw", field="--count")
    if source == "commit-reveal":
        announced = announce_shares(folder, trusted, agreed=(purpose, period), own=signer.key_id)
    else:
        announced = announce(source, number=number, vrf_key=vrf_key, challenger=challenger, roots=trusted)
    beacon = announced["kind"] == "drand"
    stated = Frame(
        purpose=purpose,
        period=period,
        population=frozen.commitment,
        size=len(frozen.items),
        count=wanted,
        reserves=spare,
        source=announced,
        reveal_by=None if beacon else int(time.time() + 3600 * parse_quantity(hours, name="--hours")),
    )
    raw = sign_statement(signer, kind=FRAME, subject=purpose, payload=stated.as_payload())
    path = save_statement(folder, raw, kind=FRAME)
    replace_whole(folder / "population.json", frozen.as_json(), mode=0o600)
    submit(raw, path, spool)
    facts = {"frame": statement_id(raw), "population": frozen.commitment, "size": stated.size, "source": announced}
    _told("The population is frozen", facts, after_frame(stated, logged=spool is not None), as_json=as_json)


def reveal(
    folder: Folder,
    *,
    key: Key,
    roots: Roots,
    secret: Annotated[
        Path | None, typer.Option(help="Your share's file; without it a challenger's fresh share.", metavar="FILE")
    ] = None,
    spool: Spool = None,
    as_json: Json = False,
) -> None:
    r"""Open your share, for the frame in the folder and for no other.

    Example: weighbridge inspect reveal draw --key operator.pem --secret share.hex --roots roots
    """
    signer, trusted = FileSigner.load(key), TrustRoots.load(roots)
    require_role(signer, DRAW_ROLES[SHARE], where=key, roots=trusted)
    evidence = load_draw(folder, trusted)
    stated = Frame.from_statement(evidence.frame)
    if any(s.identity.key_id == signer.key_id for s in evidence.parties.shares):
        raise InputError("this key has opened its share already", where=folder)
    if evidence.population is not None and evidence.population.commitment != stated.population:
        raise InputError(
            "is not the list that was frozen", where=folder / "population.json", mend="open no share for it"
        )
    if stated.source["kind"] == "commit-reveal":
        if secret is None:
            raise InputError("is needed to open a commitment", field="--secret")
        share = read_secret(secret, create=False)
        own = [s for s in evidence.parties.committed(stated, evidence.frame.id) if s.identity.key_id == signer.key_id]
        if not own:
            raise InputError("the frame names no commitment of this key", where=key)
        if own[0].payload["commitment"] != share_commitment(share, key_id=signer.key_id):
            raise InputError("is not what this key committed to", where=secret)
    elif stated.source["kind"] == "ecvrf" and stated.source["challenger"] == signer.key_id:
        share = secrets.token_bytes(32)
    else:
        raise InputError("the frame asks this key for no share", where=key)
    open_once(key, stated, evidence.frame.id)
    payload = {"frame": evidence.frame.id, "share": share.hex()}
    raw = sign_statement(signer, kind=SHARE, subject=evidence.frame.id, payload=payload)
    path = save_statement(folder, raw, kind=SHARE)
    submit(raw, path, spool)
    facts = {"statement": statement_id(raw), "file": str(path)}
    after = "When every party has opened its share: weighbridge inspect draw"
    _told("A share was opened", facts, after, as_json=as_json)


def draw(
    folder: Folder,
    *,
    key: Key,
    roots: Roots,
    signature: Annotated[
        str | None,
        typer.Option(
            help="drand: signature of the announced ROUND, from https://api.drand.sh/CHAIN/public/ROUND.", metavar="HEX"
        ),
    ] = None,
    vrf_key: Annotated[Path | None, typer.Option(help="ecvrf: file with your secret.", metavar="FILE")] = None,
    spool: Spool = None,
    as_json: Json = False,
) -> None:
    r"""Draw, once the chance is known, and sign the result. Nothing is left to choose.

    Example: weighbridge inspect draw draw --key inspector.pem --roots roots --signature b446…5e39
    """
    signer, trusted = FileSigner.load(key), TrustRoots.load(roots)
    require_role(signer, DRAW_ROLES[DRAW], where=key, roots=trusted)
    evidence = load_draw(folder, trusted)
    if evidence.draws:
        raise InputError("was drawn already", where=folder, mend="one frame has one draw")
    if evidence.population is None:
        raise InputError("has no population.json", where=folder)
    stated = Frame.from_statement(evidence.frame)
    given = given_by_source(evidence, stated, signature=signature, vrf_key=vrf_key)
    payload = draw_payload(evidence.frame, stated, evidence.population, given, evidence.parties)
    raw = sign_statement(signer, kind=DRAW, subject=evidence.frame.id, payload=payload)
    path = save_statement(folder, raw, kind=DRAW)
    submit(raw, path, spool)
    if as_json:
        print_json({"statement": statement_id(raw), "file": str(path), **payload})
        return
    pairs = [("seed", payload["seed"]), ("statement", statement_id(raw))]
    pairs += [(f"drawn {n}", item) for n, item in enumerate(payload["drawn"], 1)]
    pairs += [(f"reserve {n}", item) for n, item in enumerate(payload["reserves"], 1)]
    print_pairs(f"{stated.count} of {stated.size} drawn", pairs=pairs)


def check_draw_command(
    folder: Folder,
    *,
    roots: Roots,
    log: Annotated[
        Path | None, typer.Option(help="The log or its export: shows second draws and when frames came.", metavar="LOG")
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Recompute a draw: exit 0 if it holds, 1 if a check failed, 3 if one could not be made.

    Example: weighbridge inspect check-draw draw --roots roots --log log-export
    """
    trusted = TrustRoots.load(roots)
    evidence = load_draw(folder, trusted, log=None if log is None else logged_statements(log, trusted))
    findings = check_draw(evidence, now=time.time())
    status = exit_status(findings)
    if as_json:
        print_json({"frame": evidence.frame.id, "holds": status == 0, "findings": [f.as_dict() for f in findings]})
    else:
        print_findings(f"draw from frame {evidence.frame.id[:16]}", findings)
    raise typer.Exit(status)


def _told(title: str, facts: dict[str, Any], after: str, *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    flat = {name: value for name, value in facts.items() if not isinstance(value, dict)}
    flat |= {name: value for several in facts.values() if isinstance(several, dict) for name, value in several.items()}
    pairs: list[tuple[str, str]] = []
    for name, value in flat.items():
        several = value if isinstance(value, list) else [value]
        pairs += [(name if len(several) == 1 else f"{name} {n}", str(one)) for n, one in enumerate(several, 1)]
    print_pairs(title, pairs=pairs)
    typer.echo(after)
