"""``weighbridge sealed``: the two-party form of the sealed room, and queries of opened transcripts."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app import sealed_query_commands
from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.sealed_output import exit_for
from weighbridge.app.sealed_query_commands import sign_and_log
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import read_plain, replace_whole
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.statement import statement_id
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.sealed import agreement
from weighbridge.mechanisms.transcript.sealed.agreement import OUTPUT_BYTES, Output, Terms
from weighbridge.mechanisms.transcript.sealed.build import Build, Places
from weighbridge.mechanisms.transcript.sealed.sealing import Sealed, verify_agreed

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

Out = Annotated[Path, typer.Argument(help="File to write; never overwritten.")]
Key = Annotated[Path, typer.Option(help="Key file, its certificates beside it.")]
Roots = Annotated[Path, typer.Option(help="Trust roots.")]
Agreements = Annotated[list[Path], typer.Option("--agreement", help="A party's signed terms; name both.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_TERMS_BYTES = 1 << 20


@app.command()
def build(
    at: Annotated[Path | None, typer.Option(help="Measure this virtual environment, not the one that runs.")] = None,
    expect: Annotated[str | None, typer.Option(help="Digest that it must have: else exit with 1.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measures a verifier's build: this package, interpreter, packages, and the tools that make the room.

    Measure the other party's with your own (--at): nothing of it is run.

    Example: weighbridge sealed build --at theirs/venv --expect DIGEST
    """
    print("weighbridge: reading every file of the build …", file=sys.stderr)
    measured = Build.measure(Places.at(at) if at is not None else Places.here())
    same = None if expect is None else measured.digest == expect
    if as_json:
        print_json({"build": measured.digest, "parts": dict(measured.parts), "as_expected": same})
    else:
        told = [("build", measured.digest), *measured.parts.items()]
        if same is not None:
            told.append(("as expected", "yes" if same else "NO"))
        print_pairs("build", pairs=told)
    raise typer.Exit(1 if same is False else 0)


@app.command()
def terms(
    out: Out,
    run: Annotated[str, typer.Option(help="Run id, as the log has it.")],
    party: Annotated[list[str], typer.Option(help="Key id of a party; name both.")],
    build: Annotated[list[str], typer.Option(help="Digest of a build whose output both accept; one or two.")],
    seed: Annotated[str, typer.Option(help="Seed of the draw, hex; the terms name its hash only. Keep it.")],
    segments: Annotated[int | None, typer.Option(help="Replay this many segments, drawn; default all.")] = None,
    budget: Annotated[int | None, typer.Option(help="Replay at most this many steps.")] = None,
    pad_seconds: Annotated[float | None, typer.Option(help="The room answers after exactly this long.")] = None,
    as_json: AsJson = False,
) -> None:
    """Writes the terms of a two-party verification, for both to read and sign.

    Example: weighbridge sealed terms terms.json --run RUN --party A --party B --build DIGEST --seed SEED
    """
    written = Terms(
        run=run,
        parties=tuple(sorted(party)),
        builds=tuple(sorted(set(build))),
        seed_hash=agreement.seed_hash(_seed(seed)),
        segments=segments,
        budget=budget,
        pad_seconds=pad_seconds,
    )
    _write_new(out, json.dumps(written.payload(), indent=1, sort_keys=True).encode() + b"\n")
    _told("terms", {"terms": written.digest, **written.payload()}, as_json=as_json)


@app.command()
def agree(
    terms: Annotated[Path, typer.Argument(help="The terms, as sealed terms wrote them.")],
    out: Out,
    key: Key,
    spool: Annotated[Path | None, typer.Option(help="The log keeper's spool.")] = None,
    as_json: AsJson = False,
) -> None:
    """Signs the terms: one file for each party.

    Example: weighbridge sealed agree terms.json operator.cose --key operator.pem
    """
    try:
        said = json.loads(read_plain(terms, limit_bytes=_TERMS_BYTES))
    except (ValueError, EvidenceError) as error:
        raise InputError(f"cannot be read ({error})", where=terms) from error
    if not isinstance(said, dict):
        raise InputError("is no JSON object", where=terms)
    read = Terms.from_payload(said)
    raw = sign_and_log(out, key, agreement.AGREEMENT, read.run, read.payload(), spool)
    _told("agreed", {"terms": read.digest, "statement": statement_id(raw)}, as_json=as_json)


@app.command()
def run(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    out: Out,
    agreement: Agreements,
    roots: Roots,
    seed: Annotated[str, typer.Option(help="Seed of the draw, whose hash the terms name; hex.")],
    log: Annotated[Path | None, typer.Option(help="Exported log: it must hold no statement that is not shown.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training data, if not at its committed path.")] = None,
    parent: Annotated[Path | None, typer.Option(help="Transcript of the run's parent.")] = None,
    core: Annotated[int | None, typer.Option(help="Processor to replay on.")] = None,
) -> None:
    """Runs an agreed build in the sealed room and writes the one output that leaves it.

    Exits as the verdict does, which is none until both have signed: 0 pass, 1 fail, 3 not shown.

    Example: weighbridge sealed run runs/3f2a out.json --agreement a.cose --agreement b.cose --roots roots --seed SEED
    """
    trusted = TrustRoots.load(roots)
    agreed = _agreed(agreement, trusted)
    if out.exists():
        raise InputError("exists already", where=out, mend="name a new file")
    print("weighbridge: the room is closed until it answers …", file=sys.stderr)
    sealed = Sealed(seed=_seed(seed), roots=roots, log=log, data=data, parent=parent, core=core)
    output = verify_agreed(run, sealed, agreed)
    _write_new(out, output.encode())
    typer.echo(output.encode().decode("ascii"), nl=False)
    raise typer.Exit(exit_for(output.record.verdict))


@app.command()
def sign(
    output: Annotated[Path, typer.Argument(help="The room's output.")],
    out: Out,
    agreement: Agreements,
    roots: Roots,
    key: Key,
    spool: Annotated[Path | None, typer.Option(help="The log keeper's spool.")] = None,
    as_json: AsJson = False,
) -> None:
    """Signs the room's output, if it is one under the agreed terms.

    Example: weighbridge sealed sign out.json operator-verdict.cose --agreement a.cose --agreement b.cose
    --roots roots --key operator.pem
    """
    agreed = _agreed(agreement, TrustRoots.load(roots))
    read = Output.decode(read_plain(output, limit_bytes=OUTPUT_BYTES), agreed, str(output))
    raw = sign_and_log(out, key, "sealed-verdict", read.run, read.verdict_payload(agreed), spool)
    _told("signed", {"statement": statement_id(raw), **read.verdict_payload(agreed)}, as_json=as_json)


@app.command()
def check(
    output: Annotated[Path, typer.Argument(help="The room's output.")],
    agreement: Agreements,
    signature: Annotated[list[Path], typer.Option(help="A party's signature of the output; name both.")],
    roots: Roots,
    as_json: AsJson = False,
) -> None:
    """Checks that both parties signed this output: only then is it a verdict.

    Exits with 0 if it passes, 1 if it fails, 3 if it shows neither, 2 if it is no verdict.

    Example: weighbridge sealed check out.json --agreement a.cose --agreement b.cose --signature s.cose
    --signature t.cose --roots roots
    """
    trusted = TrustRoots.load(roots)
    agreed = _agreed(agreement, trusted)
    raw = read_plain(output, limit_bytes=OUTPUT_BYTES)
    signatures = [read_plain(path, limit_bytes=LIMITS.statement_bytes) for path in signature]
    verdict = _check_verdict(raw, agreed, signatures, trusted)
    told = {"verdict": verdict.value, "run": agreed.run, "terms": agreed.digest, "parties": list(agreed.parties)}
    _told("verdict of both parties", told, as_json=as_json)
    raise typer.Exit(exit_for(verdict))


_agreed_terms = agreement.agreed_terms
_check_verdict = agreement.check_verdict


def _agreed(paths: list[Path], roots: TrustRoots) -> Terms:
    return _agreed_terms([read_plain(path, limit_bytes=LIMITS.statement_bytes) for path in paths], roots)


def _seed(seed: str) -> bytes:
    try:
        raw = bytes.fromhex(seed)
    except ValueError:
        raw = b""
    if len(raw) < 16:  # its hash is in the terms, and must not be guessed
        raise InputError("is not at least 16 bytes, hexadecimal", where="--seed")
    return raw


def _write_new(out: Path, content: bytes) -> None:
    if out.exists():
        raise InputError("exists already", where=out, mend="name a new file")
    replace_whole(out, content)


def _told(title: str, told: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        print_pairs(title, pairs=[(name.replace("_", " "), str(value)) for name, value in told.items()])


sealed_query_commands.mount(app)
