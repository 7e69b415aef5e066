"""Two parties and one output: every way in which a verdict can be less than both parties' word on the same bytes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weighbridge.app.main import build as commands
from weighbridge.errors import EvidenceError, InputError, WeighbridgeError
from weighbridge.evidence.certificates import issue, issue_root
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.statement import sign_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.sealed.agreement import (
    AGREEMENT,
    OUTPUT_BYTES,
    VERDICT,
    Output,
    Terms,
    agreed_terms,
    check_verdict,
    seed_hash,
)
from weighbridge.mechanisms.transcript.sealed.build import Build, Places
from weighbridge.mechanisms.transcript.sealed.record import SealedRecord

from .secrets_of import run_and_look
from .world import World

PASSED = SealedRecord.of(
    [
        Finding(check=f"transcript.{name}", subject="s", outcome=Outcome.PASS, reason="")
        for name in ("journal", "steps", "initial-state", "replay")
    ],
    share=1.0,
)
SEED = bytes(range(32))


@dataclass
class Table:
    """Two parties, a rival, and their papers in memory."""

    roots: TrustRoots
    inspector: FileSigner
    operator: FileSigner
    rival: FileSigner

    @property
    def terms(self) -> Terms:
        parties = tuple(sorted([self.inspector.key_id, self.operator.key_id]))
        return Terms(run="ab" * 32, parties=parties, builds=("11" * 32, "22" * 32), seed_hash=seed_hash(SEED))

    def agreement(self, signer: FileSigner, terms: Terms | None = None) -> bytes:
        payload = (terms or self.terms).payload()
        return sign_statement(signer, kind=AGREEMENT, subject=self.terms.run, payload=payload)

    def output(self, build: str = "11" * 32, record: SealedRecord = PASSED) -> Output:
        return Output(self.terms.digest, self.terms.run, build, record)

    def signature(self, signer: FileSigner, output: Output | None = None, **edits: Any) -> bytes:
        payload = {**(output or self.output()).verdict_payload(self.terms), **edits}
        return sign_statement(signer, kind=VERDICT, subject=self.terms.run, payload=payload)

    def verdict(self, *signatures: bytes, output: Output | None = None) -> Outcome:
        return check_verdict((output or self.output()).encode(), self.terms, signatures, self.roots)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("keys")
    body = FileSigner.create(folder / "body.pem")
    root = issue_root(body, name="Inspectorate", role="inspectorate")

    def certified(name: str, role: str) -> FileSigner:
        signer = FileSigner.create(folder / f"{name}.pem")
        return signer.with_chain([issue(body, root, public_key=signer.public_key, name=name, role=role), root])

    roots = TrustRoots(roots=(root,), log_key=None)  # type: ignore[arg-type]
    return Table(roots, certified("I", "inspector"), certified("O", "operator"), certified("R", "operator"))


def spoilt(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


def test_both_signatures_make_a_verdict(table: Table) -> None:
    assert agreed_terms([table.agreement(table.inspector), table.agreement(table.operator)], table.roots) == table.terms
    assert table.verdict(table.signature(table.inspector), table.signature(table.operator)) is Outcome.PASS
    assert table.verdict(table.signature(table.operator), table.signature(table.inspector)) is Outcome.PASS
    assert len(table.output().encode()) == OUTPUT_BYTES


@pytest.mark.parametrize(
    "papers",
    [
        lambda t: [],
        lambda t: [t.agreement(t.inspector)],
        lambda t: [t.agreement(t.inspector), t.agreement(t.inspector)],
        lambda t: [t.agreement(t.inspector), t.agreement(t.rival)],
        lambda t: [t.agreement(t.operator), t.agreement(t.rival)],
        lambda t: [t.agreement(t.inspector), t.agreement(t.operator), t.agreement(t.rival)],
        lambda t: [t.agreement(t.inspector), t.agreement(t.operator, replace(t.terms, segments=0))],
        lambda t: [t.agreement(t.inspector), t.agreement(t.operator, replace(t.terms, builds=("33" * 32,)))],
        lambda t: [t.agreement(t.inspector), t.signature(t.operator)],
        lambda t: [t.agreement(t.inspector), spoilt(t.agreement(t.operator))],
    ],
)
def test_terms_are_both_parties_or_nobodys(table: Table, papers: Callable[[Table], list[bytes]]) -> None:
    with pytest.raises(EvidenceError):
        agreed_terms(papers(table), table.roots)


@pytest.mark.parametrize(
    "papers",
    [
        lambda t: [],
        lambda t: [t.signature(t.inspector)],
        lambda t: [t.signature(t.inspector)] * 2,
        lambda t: [t.signature(t.inspector), t.signature(t.rival)],
        lambda t: [t.signature(t.inspector), t.agreement(t.operator)],
        lambda t: [t.signature(t.inspector), t.signature(t.operator, t.output(record=SealedRecord.nothing()))],
        lambda t: [t.signature(t.inspector), t.signature(t.operator, t.output(build="22" * 32))],
        lambda t: [t.signature(t.inspector), t.signature(t.operator, builds=["11" * 32])],
        lambda t: [t.signature(t.inspector), t.signature(t.operator, verdict="fail")],
        lambda t: [t.signature(t.inspector), t.signature(t.operator, note="I was forced to")],
    ],
)
def test_a_verdict_is_both_parties_on_the_same_bytes(table: Table, papers: Callable[[Table], list[bytes]]) -> None:
    with pytest.raises(EvidenceError):
        table.verdict(*papers(table))


def test_a_build_that_neither_agreed_to_is_refused(table: Table) -> None:
    other = table.output(build="33" * 32)
    with pytest.raises(EvidenceError, match="neither party agreed"):
        table.verdict(table.signature(table.inspector, other), table.signature(table.operator, other), output=other)


def test_an_output_of_other_terms_is_refused(table: Table) -> None:
    later = replace(table.terms, seed_hash=seed_hash(bytes(32)))
    with pytest.raises(EvidenceError, match="other terms"):
        Output.decode(table.output().encode(), later)
    with pytest.raises(InputError):
        later.check_seed(SEED)


def venv(folder: Path) -> Path:
    """A build in small: an interpreter, its library, a package and this one."""
    packages = folder / "venv" / "lib" / "python3.11" / "site-packages"
    (packages / "weighbridge").mkdir(parents=True)
    (packages / "weighbridge" / "__init__.py").write_text("X = 1\n")
    (packages / "other-1.dist-info").mkdir()
    (packages / "other-1.dist-info" / "RECORD").write_text(f"{folder}\n")
    (packages / "other.py").write_text("Y = 1\n")
    (folder / "venv" / "bin").mkdir()
    (folder / "venv" / "bin" / "python").write_bytes(b"\x7fELF")
    library = folder / "base" / "lib" / "python3.11"
    library.mkdir(parents=True)
    (library / "os.py").write_text("Z = 1\n")
    (folder / "venv" / "pyvenv.cfg").write_text(f"home = {folder}/base/bin\nversion = 3.11\n")
    return folder / "venv"


def measured(prefix: Path) -> str:
    return Build.measure(Places.at(prefix)).digest


def test_a_build_has_the_same_digest_elsewhere(tmp_path: Path) -> None:
    one, other = venv(tmp_path / "one"), venv(tmp_path / "two")
    cache = other / "lib/python3.11/site-packages/__pycache__"
    cache.mkdir()
    (cache / "other.cpython-311.pyc").write_bytes(b"its own, or not; the room compiles anew")
    assert measured(one) == measured(other)


@pytest.mark.parametrize(
    "name",
    [
        "venv/lib/python3.11/site-packages/weighbridge/__init__.py",
        "venv/lib/python3.11/site-packages/other.py",
        "venv/bin/python",
        "base/lib/python3.11/os.py",
    ],
)
def test_one_changed_byte_is_another_build(tmp_path: Path, name: str) -> None:
    prefix = venv(tmp_path)
    before = measured(prefix)
    raw = bytearray((tmp_path / name).read_bytes())
    raw[-1] ^= 1
    (tmp_path / name).write_bytes(raw)
    assert measured(prefix) != before


@pytest.mark.parametrize("name", ["weighbridge/new.py", "weighbridge/old.pyc", "zz.pth", "sitecustomize.py", "x/y.so"])
def test_one_file_more_is_another_build(tmp_path: Path, name: str) -> None:
    prefix = venv(tmp_path)
    before = measured(prefix)
    path = prefix / "lib/python3.11/site-packages" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    assert measured(prefix) != before


def test_what_is_no_build_is_refused(tmp_path: Path) -> None:
    prefix = venv(tmp_path)
    shutil.rmtree(prefix / "lib/python3.11/site-packages/weighbridge")
    with pytest.raises(InputError, match="weighbridge"):
        Places.at(prefix)
    with pytest.raises(InputError, match="virtual environment"):
        Places.at(tmp_path)


@pytest.mark.real
def test_two_parties_reach_a_verdict_by_the_commands(world: World, tmp_path: Path) -> None:
    """Terms, two signatures, one room, two signatures: all by files, with the real build measured in the room."""
    ended = world.project(steps=4).train(spool=True)
    assert ended.status == 0, ended.errors
    keys = {name: world.folder / "keys" / f"{name}.pem" for name in ("Inspector", "Operator")}

    def run(*words: object, status: int = 0) -> str:
        result = CliRunner().invoke(commands(), ["sealed", *map(str, words)])
        if isinstance(result.exception, WeighbridgeError):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.stdout

    digest = json.loads(run("build", "--json"))["build"]
    party = [part for name in keys for part in ("--party", FileSigner.load(keys[name]).key_id)]
    seed = ["--seed", "07" * 32]
    for number, build in enumerate([digest, "33" * 32]):
        terms = tmp_path / f"terms-{number}.json"
        run("terms", terms, "--run", ended.open().run, *party, "--build", build, *seed)
        for name, key in keys.items():
            run("agree", terms, tmp_path / f"{name}-{number}.cose", "--key", key, "--spool", world.spool)
    roots = ["--roots", world.roots_folder]
    agreed = [part for name in keys for part in ("--agreement", tmp_path / f"{name}-0.cose")]
    with pytest.raises(InputError, match="hash the terms name"):
        run("run", ended.run, tmp_path / "no", *agreed, *roots, "--seed", "08" * 32)
    out = tmp_path / "output.json"
    left = run_and_look(tmp_path / "room", "sealed", "run", ended.run, out, *agreed, *roots, *seed)
    assert left.status == 0, (left.output, left.errors)
    assert left.output == out.read_bytes() and left.sizes == {}
    for name, key in keys.items():
        run("sign", out, tmp_path / f"{name}-verdict.cose", *agreed, *roots, "--key", key)
    signed = [part for name in keys for part in ("--signature", tmp_path / f"{name}-verdict.cose")]
    assert json.loads(run("check", out, *agreed, *signed, *roots, "--json"))["verdict"] == "pass"
    with pytest.raises(EvidenceError):
        run("check", out, *agreed, *signed[:2], *roots)
    other = [part for name in keys for part in ("--agreement", tmp_path / f"{name}-1.cose")]
    with pytest.raises(EvidenceError, match="no output"):  # the room measures its own build, and this one is not agreed
        run("run", ended.run, tmp_path / "no", *other, *roots, *seed)
    assert not (tmp_path / "no").exists()
