"""One honest inspection of real training under a real chip agent, and helpers to spoil copies of its report."""

import contextlib
import hashlib
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import weighbridge
from ledger.paper import NONCE_KEY, policy
from weighbridge.app.assess_commands import write_report
from weighbridge.app.demo.operators import available_cores, corpus_file
from weighbridge.app.institutions import Institutions
from weighbridge.app.main import main
from weighbridge.app.nonces import NonceService
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.log import Log
from weighbridge.evidence.spool import Keeper, SpoolClient
from weighbridge.evidence.statement import sign_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.assess import assess, audits_of
from weighbridge.ledger.inspect import audit_all
from weighbridge.ledger.report import MANIFEST, REPORT, SIGNATURE, encode_report, seal_report
from weighbridge.ledger.workspace import Workspace
from weighbridge.mechanisms.chip.challenge import answer_challenge
from weighbridge.mechanisms.chip.setup import init_chip
from weighbridge.mechanisms.registry.directory import sign_custody_event
from weighbridge.mechanisms.registry.epcis import Step
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.transcript import Transcript

ORIGIN = "real.example/log"
OPERATOR = "Alder"
RATE_HZ = 3.0
CONFIG = {
    "batch_size": 8,
    "context": 64,
    "dropout": 0.1,
    "flop_per_step": 1e6,
    "heads": 4,
    "layers": 6,
    "learning_rate": 1e-3,
    "steps": 120,
    "warm_up": 20,
    "width": 64,
}
# Steps of twenty milliseconds: an anchor after each freeze costs more than the step that it interrupts.
PLAN = policy(operators=(OPERATOR,), unexplained_limit_bytes=16 << 20, cpu_ratio_limit=2.5)
_PROGRAM = Path(weighbridge.__file__).parent / "app/demo/programs/gpt"
_USER = 52_900


class Room:
    """Everybody's keys, a log with its keeper, and one operator with one chip."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.spool, self.roots_folder = scratch, scratch / "spool", scratch / "roots"
        self.people = Institutions.make(scratch / "keys", origin=ORIGIN)
        self.people.roots.save(self.roots_folder)
        self.log = Log.create(scratch / "log.db", self.people.log_key, origin=ORIGIN)
        nonces = NonceService(self.people.inspector, NONCE_KEY)
        self._keeper = Keeper(self.log, self.spool, roots=self.people.roots, on_entry=nonces)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keeper.run, args=(self._stop,), daemon=True)
        self._thread.start()
        self.client = SpoolClient(self.spool)
        self.place = scratch / "operator"
        (self.place / "runs").mkdir(parents=True)
        self.operator = self.people.operator(self.place / "operator.pem", OPERATOR)
        self.user = _USER if os.geteuid() == 0 else None
        if self.user is not None:
            for path in (self.place, self.place / "runs", *self.place.glob("operator.pem*")):
                os.chown(path, self.user, self.user)
        self.chip_folder = scratch / "chip"
        maker = self.people.maker
        self.chip = init_chip(self.chip_folder, maker=maker, maker_chain=maker.chain, rate_hz=RATE_HZ).chip

    def log_raw(self, raw: bytes) -> None:
        self.client.wait(self.client.submit(raw), timeout=60)

    def publish(self, kind: str, payload: Mapping[str, Any]) -> None:
        self.log_raw(sign_statement(self.people.inspector, kind=kind, subject="inspection", payload=payload))

    def deliver(self) -> None:
        """Logs the chip's whole way to the operator."""
        steps: list[tuple[Step, Signer, str, str | None]] = [
            (Step.MADE, self.people.maker, "Chip Works", None),
            (Step.SHIPPED, self.people.maker, "Chip Works", OPERATOR),
            (Step.RECEIVED, self.operator, OPERATOR, "Chip Works"),
        ]
        for step, signer, party, other in steps:
            now = time.time()
            serial = "S1" if step is Step.MADE else None
            self.log_raw(
                sign_custody_event(
                    signer, step=step, chips=[self.chip], time=now, party=party, other=other, serial=serial
                )
            )

    def train(self, corpus: Path) -> None:
        """Runs the demo's program under the chip's agent."""
        program = self.place / "gpt"
        shutil.copytree(_PROGRAM, program, ignore=shutil.ignore_patterns("__pycache__"))
        (program / "config.json").write_text(json.dumps(CONFIG))
        self.run([sys.executable, str(program / "train.py"), str(corpus), str(program / "config.json")])

    def run(self, program: Sequence[str]) -> None:
        """Runs a command under the chip's agent."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        environment = kept | {
            "HOME": str(self.place),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "WEIGHBRIDGE_KEY": str(self.place / "operator.pem"),
            "WEIGHBRIDGE_ROOTS": str(self.roots_folder),
            "WEIGHBRIDGE_RUNS": str(self.place / "runs"),
            "WEIGHBRIDGE_SPOOL": str(self.spool),
        }
        command = [
            sys.executable,
            "-m",
            "weighbridge",
            "chip",
            "run",
            str(self.chip_folder),
            "--spool",
            str(self.spool),
        ]
        command += ["--core", str(available_cores()[0])]
        command += ["--user", str(self.user)] if self.user is not None else []
        command += ["--", *program]
        ended = subprocess.run(
            command, env=environment, cwd=self.place, capture_output=True, text=True, check=False, timeout=300
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def close_inspection(self) -> None:
        nonce = secrets.token_bytes(16).hex()
        self.publish("inspection-challenge", {"chip": self.chip, "nonce": nonce})
        self.log_raw(answer_challenge(self.chip_folder, nonce).read_bytes())
        self.publish("inspection-close", {"nonce_key": NONCE_KEY.hex()})

    def hand_over(self, out: Path, corpus: Path) -> None:
        """What the operator gives into the sealed room."""
        (out / "data").mkdir(parents=True)
        shutil.copyfile(corpus, out / "data" / f"{Dataset.of(corpus).root.hex()}.npy")
        for part in ("leaves", "salts"):
            shutil.copytree(self.chip_folder / part, out / "chips" / self.chip / part)
        shutil.copytree(self.place / "runs", out / "runs")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        self._keeper.close()
        self.log.close()


@dataclass(frozen=True)
class Bundle:
    """A sealed report in its folder, the trust roots beside it, and everybody's keys."""

    folder: Path
    roots: Path
    people: Institutions
    operator: Signer
    chip: str

    def copy(self, target: Path, *, checkpoint: bool = True) -> "Bundle":
        """A copy that may be spoiled, with its own trust roots."""
        shutil.copytree(self.folder, target / "out")
        shutil.copytree(self.roots, target / "out.roots")
        if not checkpoint:
            (target / "out.roots" / "checkpoint").unlink()
        return Bundle(target / "out", target / "out.roots", self.people, self.operator, self.chip)

    @property
    def report(self) -> Path:
        return self.folder / REPORT

    def open(self) -> Workspace:
        return Workspace.open(self.folder, TrustRoots.load(self.roots))

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.report.read_bytes())
        return body

    def reseal(self, body: dict[str, Any] | None = None, *, signer: Signer | None = None) -> None:
        """Signs what now lies in the folder, with another report if one is given."""
        for name in (MANIFEST, SIGNATURE):
            (self.folder / name).unlink(missing_ok=True)
        if body is not None:
            self.report.write_bytes(encode_report(body))
        seal_report(self.folder, signer or self.people.inspector)

    def reassess(self) -> dict[str, Any]:
        """What an inspector would write about the evidence as it now lies there."""
        workspace = self.open()
        return assess(workspace, audits_of(workspace))

    def statements(self) -> list[bytes]:
        return [raw for _, raw in self.open().log.entries()]

    def kinds(self) -> list[str]:
        return [kind for _, kind in sorted((i.index, k) for k, items in self.open().by_kind.items() for i in items)]

    def sign(self, kind: str, payload: Mapping[str, Any], *, by: Signer | None = None) -> bytes:
        return sign_statement(by or self.people.inspector, kind=kind, subject="inspection", payload=payload)

    def relog(self, statements: Iterable[bytes]) -> None:
        """Builds the log anew, by its own key, from other statements; the kept checkpoint stays what it was."""
        shutil.rmtree(self.folder / "log")
        path = self.folder.parent / f"log-{secrets.token_hex(4)}.db"
        with Log.create(path, self.people.log_key, origin=ORIGIN) as log:
            log.append(list(statements))
            log.export(self.folder / "log")

    def forget_checkpoint(self) -> None:
        (self.roots / "checkpoint").unlink()


def make_bundle(scratch: Path) -> Bundle:
    """Trains, closes, audits, assesses and seals: about twenty seconds on a quiet machine."""
    scratch.chmod(0o711)
    room = Room(scratch)
    out, roots = scratch / "out", scratch / "out.roots"
    try:
        room.publish("inspection-plan", PLAN.as_payload())
        corpus = scratch / "corpus.npy"
        corpus_file(corpus, context=int(CONFIG["context"]))
        room.deliver()
        room.train(corpus)
        room.close_inspection()
        room.hand_over(out, corpus)
        _assess(room, out, roots)
    finally:
        room.stop()
    return Bundle(out, roots, room.people, room.operator, room.chip)


def make_watched_bundle(scratch: Path, *, script: str, corpus: Path) -> Bundle:
    """The same of a program with a loop of its own, recorded by ``record --bind`` and nothing else."""
    scratch.chmod(0o711)
    room = Room(scratch)
    out, roots = scratch / "out", scratch / "out.roots"
    try:
        room.publish("inspection-plan", PLAN.as_payload())
        room.deliver()
        (room.place / "program").mkdir()
        (room.place / "program" / "train.py").write_text(script)
        record = [sys.executable, "-m", "weighbridge", "record", "--bind", "--data", str(corpus), "--"]
        room.run([*record, "python", str(room.place / "program" / "train.py"), str(corpus)])
        room.close_inspection()
        (run,) = (room.place / "runs").iterdir()
        data = Transcript.open(run, room.people.roots).contents["data"]
        room.hand_over(out, corpus)
        shutil.rmtree(out / "data")
        (out / "data" / data["root"]).mkdir(parents=True)
        corpus.rename(out / "data" / data["root"] / corpus.name)
        _assess(room, out, roots)
    finally:
        room.stop()
    return Bundle(out, roots, room.people, room.operator, room.chip)


def _assess(room: Room, out: Path, roots: Path) -> None:
    """Audits what was handed over, assesses it, and writes the sealed report beside it."""
    room.log.export(out / "log")
    workspace = Workspace.open(out, room.people.roots)
    for audit in audit_all(workspace, cores=available_cores()[:1], scratch=room.scratch):
        room.publish("run-audit", audit.as_dict())
    shutil.rmtree(out / "log")
    room.log.export(out / "log")
    room.people.roots.save(roots)
    (roots / "checkpoint").write_bytes(room.log.checkpoint())
    workspace = Workspace.open(out, TrustRoots.load(roots))
    write_report(out, assess(workspace, audits_of(workspace)), room.people.inspector)


def fingerprint(*folders: Path) -> str:
    """A digest of every name, kind, mode and content below some folders."""
    whole = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            status = path.lstat()
            plain = path.is_file() and not path.is_symlink()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if plain else os.fspath(path)
            whole.update(f"{path.relative_to(folder)} {status.st_mode} {status.st_mtime_ns} {content}\n".encode())
    return whole.hexdigest()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


def command(*arguments: str | Path) -> Ended:
    """Runs ``weighbridge`` in this process, as its own main function would."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["weighbridge", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return Ended(status, out.getvalue(), err.getvalue())


def check(bundle: Bundle) -> Ended:
    """Checks a report by its command, and that checking wrote nothing."""
    before = fingerprint(bundle.folder, bundle.roots)
    ended = command("check", bundle.report, "--roots", bundle.roots)
    assert fingerprint(bundle.folder, bundle.roots) == before
    return ended


@contextlib.contextmanager
def one_byte_changed(path: Path, at: int) -> Iterator[None]:
    """Flips one bit of a file, and back; times and all."""
    status = path.stat()
    original = path.read_bytes()
    changed = bytearray(original)
    changed[at] ^= 1 << (at % 8)
    path.write_bytes(changed)
    try:
        yield
    finally:
        path.write_bytes(original)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
