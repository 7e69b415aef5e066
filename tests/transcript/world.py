"""An inspectorate, an operator, a log with its keeper, and real training programs run under all of them."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from transcript.forked import forked
from weighbridge.attacks.zygote import Zygote
from weighbridge.evidence.certificates import issue, issue_root
from weighbridge.evidence.keys import FileSigner, Signer
from weighbridge.evidence.log import Log, LogEntry
from weighbridge.evidence.spool import Keeper
from weighbridge.evidence.statement import Statement, sign_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.commitment import COMMITMENT, NONCE, PROGRESS, inspector_nonce
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.transcript import Transcript

CHIP = "c0" * 32
"""As in faults.py, which programs import and this does not."""

HERE = Path(__file__).parent
FAULTS = f"{HERE.name}.faults:install"
PROGRAMS = HERE / "programs"

FREEZES = [[3, "fetching"], [7, "forward"], [11, "inside"], [15, "after"]]
"""Where a run of 20 steps is stopped: between steps, before an update, inside one, after one."""

RICH: dict[str, Any] = {
    "steps": 20,
    "dropout": 0.2,
    "norm": True,
    "optimizers": ["adamw", "momentum"],
    "schedule": "lambda",
    "evaluate": True,
}
"""A program with something of everything."""


@dataclass(frozen=True)
class Ended:
    """How a program ended, and the transcript that it left, if any."""

    status: int
    output: str
    errors: str
    project: "Project"
    folder: Path | None

    @property
    def run(self) -> Path:
        assert self.folder is not None, self.errors
        return self.folder

    @property
    def said(self) -> dict[str, Any]:
        """The program's last line, as JSON."""
        result: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return result

    def open(self, *, bound: bool | None = None) -> Transcript:
        bound = (self.run / "nonce.cose").exists() if bound is None else bound
        return Transcript.open(self.run, self.project.world.roots if bound else None)


@dataclass(frozen=True)
class Project:
    """An operator's folder with a program, its configuration and its data."""

    world: "World"
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "corpus.npy"

    def train(
        self,
        script: str = "train.py",
        *arguments: str,
        spool: bool = False,
        resume: Path | None = None,
        faults: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Runs the project's program to its end."""
        runs = self.folder.parent / f"{self.folder.name}-runs"
        runs.mkdir(exist_ok=True)
        before = set(runs.iterdir())
        names = {name: str(self.folder.parent / secrets.token_hex(8)) for name in ("output", "errors")}
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
        variables["WEIGHBRIDGE_RUNS"] = str(runs)
        if spool:
            variables |= self.world.environment()
        if resume is not None:
            variables["WEIGHBRIDGE_RESUME"] = str(resume)
        status = self.world.zygote.run(
            {
                "arguments": [
                    str(self.folder / script),
                    *(arguments or (str(self.data), str(self.folder / "config.json"))),
                ],
                "environment": {**variables, **(environment or {})},
                "folder": str(self.folder),
                "tampering": [[FAULTS, {"faults": dict(faults)}]] if faults else [],
                **names,
            }
        ).status
        made = sorted(set(runs.iterdir()) - before)
        texts = {name: Path(path).read_text(errors="replace") for name, path in names.items()}
        for path in names.values():
            Path(path).unlink()
        return Ended(status, texts["output"], texts["errors"], self, made[0] if made else resume)

    def configure(self, **config: Any) -> None:
        """Changes the committed configuration."""
        path = self.folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))


@dataclass
class World:
    """Everybody but the operator's programs."""

    folder: Path
    zygote: Zygote
    nonce_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def __post_init__(self) -> None:
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        body = FileSigner.create(keys / "body.pem")
        root = issue_root(body, name="Inspectorate", role="inspectorate")

        def certified(name: str, role: str) -> FileSigner:
            signer = FileSigner.create(keys / f"{name}.pem")
            return signer.with_chain([issue(body, root, public_key=signer.public_key, name=name, role=role), root])

        self.inspector = certified("Inspector", "inspector")
        self.operator = certified("Operator", "operator")
        self.rival = certified("Rival", "operator")
        log_key = FileSigner.create(keys / "log.pem")
        self.log = Log.create(self.folder / "log.db", log_key, origin="example.org/log")
        self.roots = TrustRoots(roots=(root,), log_key=self.log.log_key)
        self.roots_folder = self.folder / "roots"
        self.roots.save(self.roots_folder)
        self.spool = self.folder / "spool"
        self._keeper = Keeper(self.log, self.spool, roots=self.roots, on_entry=self._answer)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keeper.run, args=(self._stop,), daemon=True)
        self._thread.start()

    def _answer(self, statement: Statement, entry: LogEntry) -> Iterable[bytes]:
        if statement.kind == COMMITMENT:
            payload = {"run": statement.id, "nonce": inspector_nonce(self.nonce_key, statement.id).hex()}
            yield sign_statement(self.inspector, kind=NONCE, subject=statement.id, payload=payload)

    def environment(self) -> dict[str, str]:
        return {
            "WEIGHBRIDGE_KEY": str(self.folder / "keys" / "Operator.pem"),
            "WEIGHBRIDGE_ROOTS": str(self.roots_folder),
            "WEIGHBRIDGE_SPOOL": str(self.spool),
        }

    def project(self, *, programs: Sequence[str] = ("train.py",), **config: Any) -> Project:
        """Makes a project of its own, with 60 rows of data."""
        folder = self.folder / f"project-{secrets.token_hex(4)}"
        folder.mkdir()
        for name in programs:
            shutil.copy(PROGRAMS / name, folder / name)
        chosen = {"width": 16, "steps": 12, "batch_size": 4, **config}
        (folder / "config.json").write_text(json.dumps(chosen))
        np.save(folder / "corpus.npy", np.random.default_rng(7).integers(0, 64, (60, 9)).astype(np.uint8))
        return Project(self, folder)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        self._keeper.close()
        self.log.close()


def last_step(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The newest step of a journal, to be edited in place."""
    return [event for event in events if event["type"] == "step"][-1]


@contextlib.contextmanager
def copied(run: Path) -> Iterator[Path]:
    """A copy of a transcript, to be edited; it lies beside the original, under another folder."""
    target = run.parent.parent / secrets.token_hex(6) / run.name
    shutil.copytree(run, target)
    yield target
    shutil.rmtree(target.parent)


def rewrite(
    run: Path, edit: Callable[[list[dict[str, Any]]], None], *, signer: Signer | None = None, segment: int = 0
) -> None:
    """Edits a journal as an operator would: its chain holds again, and, with a key, so do its statements."""
    path = run / f"journal-{segment:04d}.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    name = events[0]["run"]
    edit(events)
    path.write_bytes(b"".join(canonical(event) + b"\n" for event in events))
    if signer is None:
        return
    for old in (run / "progress").iterdir():
        old.unlink()
    for number, (event, head) in enumerate(zip(events, _heads(events), strict=True)):
        if "state" in event or event["type"] == "end":
            step = event["step"] + (event["type"] == "step")
            payload = {"step": step, "run": name, "journal": head}
            payload |= {"state": event["state"]} if "state" in event else {}
            raw = sign_statement(signer, kind=PROGRESS, subject=name, payload=payload)
            (run / "progress" / f"{number:06d}.cose").write_bytes(raw)


def _heads(events: Sequence[Mapping[str, Any]]) -> list[str]:
    heads, head = [], bytes(32)
    for event in events:
        head = blake3(head + canonical(event) + b"\n").digest()
        heads.append(head.hex())
    return heads


def without_sandbox(world: World) -> contextlib.AbstractContextManager[None]:
    """Lets replay run its program in a fork instead of a sandbox.

    For tests of what replay restores; what the sandbox itself must hold has tests of its own.
    """
    return forked(world.folder, world.zygote)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
