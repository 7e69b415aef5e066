"""The field on which transcripts are attacked: an inspectorate, an operator, a log with its keeper, real programs.

Everything here is the real thing but for its size: keys and certificates, a log whose keeper answers commitments
with an inspector's nonces, training programs in processes of their own, verification in a sandbox. The operator is
root, holds its keys and knows our source; nobody else's key is in its hands.
"""

import json
import os
import secrets
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from weighbridge.attacks.zygote import Zygote
from weighbridge.errors import InputError
from weighbridge.evidence.certificates import issue, issue_root
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log, LogEntry
from weighbridge.evidence.spool import Keeper
from weighbridge.evidence.statement import Statement, sign_statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.commitment import COMMITMENT, NONCE, inspector_nonce
from weighbridge.mechanisms.transcript.verification import Request, Verification, verify_run

__all__ = ["Ended", "Field", "Judgement", "Project", "Tampering"]

_SHARED = ("models.py", "train.py")
_DEFAULTS: Mapping[str, Any] = {"model": "perceptron", "width": 16, "steps": 40, "batch_size": 8, "stride": 5}

Tampering = tuple[str, Mapping[str, Any]]
"""A function of :mod:`.tampering` (or ``module:function``) and its arguments, called before the program begins."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a verifier made of a transcript.

    Attributes:
        verification: all that was found.
    """

    verification: Verification

    def _named(self, outcome: Outcome) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f.check for f in self.verification.findings if f.outcome is outcome))

    @property
    def caught_by(self) -> tuple[str, ...]:
        """Names of the checks that failed, in their order."""
        return self._named(Outcome.FAIL)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Names of the checks that were inconclusive, in their order: they raise suspicion and accuse nobody."""
        return self._named(Outcome.INCONCLUSIVE)

    @property
    def steps(self) -> int:
        """Steps replayed."""
        return self.verification.steps

    def reason(self, check: str) -> str:
        """Returns what the worst finding of a check says; empty where it was not made."""
        found: list[Finding] = [f for f in self.verification.findings if f.check == check]
        worst = [f for f in found if f.outcome is Outcome.FAIL] or found
        return worst[0].reason if worst else ""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended, and the transcript that it left.

    Attributes:
        status: its exit status.
        errors: what it said on its standard error.
        cpu_seconds: what it used, its children included.
        project: whose program it was.
        folder: the transcript; None if it left none.
    """

    status: int
    errors: str
    cpu_seconds: float
    project: "Project"
    folder: Path | None

    @property
    def run(self) -> Path:
        """The transcript's folder.

        Raises:
            InputError: the program left none, or did not end well.
        """
        if self.folder is None or self.status != 0:
            raise InputError(f"a program of the field ended with status {self.status}: {self.errors[-2000:]}")
        return self.folder


@dataclass(frozen=True)
class Project:
    """An operator's folder with a program, its configuration and its data."""

    field: "Field"
    folder: Path

    @property
    def data(self) -> Path:
        """The committed rows."""
        return self.folder / "rows.npy"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration."""
        read: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        return read

    @property
    def runs(self) -> Path:
        """Where its transcripts go."""
        return self.folder.parent / f"{self.folder.name}-runs"

    def train(
        self,
        script: str = "train.py",
        *,
        tampering: Sequence[Tampering] = (),
        resume: Path | None = None,
        parent: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Runs a program to its end, recorded and bound to the log.

        Args:
            script: the program.
            tampering: what the operator changes in the recording process, in this order.
            resume: transcript to go on with.
            parent: transcript of the declared parent.
            environment: variables besides.
        """
        self.runs.mkdir(exist_ok=True)
        before = set(self.runs.iterdir())
        said = {name: self.folder.parent / secrets.token_hex(8) for name in ("output", "errors")}
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
            "WEIGHBRIDGE_RUNS": str(self.runs),
            **self.field.environment(),
        }
        if resume is not None:
            variables["WEIGHBRIDGE_RESUME"] = str(resume)
        arguments = [str(self.folder / script), str(self.data), str(self.folder / "config.json")]
        ended = self.field.zygote.run(
            {
                "arguments": arguments + ([str(parent)] if parent is not None else []),
                "environment": {**variables, **(environment or {})},
                "folder": str(self.folder),
                "tampering": [
                    [name if ":" in name else f"weighbridge.attacks.tampering:{name}", dict(arguments)]
                    for name, arguments in tampering
                ],
                **{name: str(path) for name, path in said.items()},
            }
        )
        errors = said["errors"].read_text(errors="replace")
        for path in said.values():
            path.unlink()
        made = sorted(set(self.runs.iterdir()) - before)
        return Ended(
            status=ended.status,
            errors=errors,
            cpu_seconds=ended.cpu_seconds,
            project=self,
            folder=made[0] if made else resume,
        )


@dataclass
class Field:
    """Everybody but the operator's programs; use it as a context.

    Attributes:
        folder: an empty folder of its own.
        zygote: from which programs are forked.
    """

    folder: Path
    zygote: Zygote
    nonce_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        body = FileSigner.create(keys / "body.pem")
        root = issue_root(body, name="Inspectorate", role="inspectorate")

        def certified(name: str, role: str) -> FileSigner:
            signer = FileSigner.create(keys / f"{name}.pem")
            return signer.with_chain([issue(body, root, public_key=signer.public_key, name=name, role=role), root])

        self.inspector = certified("Inspector", "inspector")
        self.operator = certified("Operator", "operator")
        self.log = Log.create(self.folder / "log.db", FileSigner.create(keys / "log.pem"), origin="example.org/log")
        self.roots = TrustRoots(roots=(root,), log_key=self.log.log_key)
        self.roots.save(self.folder / "roots")
        self.spool = self.folder / "spool"
        self._keeper = Keeper(self.log, self.spool, roots=self.roots, on_entry=self._answer)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keeper.run, args=(self._stop,), daemon=True)
        self._thread.start()

    def _answer(self, statement: Statement, entry: LogEntry) -> Iterable[bytes]:
        if statement.kind == COMMITMENT:
            payload = {"run": statement.id, "nonce": inspector_nonce(self.nonce_key, statement.id).hex()}
            yield sign_statement(self.inspector, kind=NONCE, subject=statement.id, payload=payload)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the keeper and closes the log."""
        self._stop.set()
        self._thread.join(timeout=30)
        self._keeper.close()
        self.log.close()

    def environment(self) -> dict[str, str]:
        """Returns what a recorded program finds in its environment."""
        return {
            "WEIGHBRIDGE_KEY": str(self.folder / "keys" / "Operator.pem"),
            "WEIGHBRIDGE_ROOTS": str(self.folder / "roots"),
            "WEIGHBRIDGE_SPOOL": str(self.spool),
        }

    def project(self, *, seed: int, programs: Sequence[str] = (), rows: int = 240, **config: Any) -> Project:
        """Makes a project with programs of the package and data of its own.

        Args:
            seed: from which the data are drawn.
            programs: files of ``programs/`` besides those that all have.
            rows: rows of data: images of ten classes, 64 bytes and a label.
            config: the configuration, over small defaults.
        """
        folder = self.folder / f"project-{secrets.token_hex(4)}"
        folder.mkdir()
        source = files("weighbridge.attacks") / "programs"
        for name in (*_SHARED, *programs):
            (folder / name).write_bytes((source / name).read_bytes())
        (folder / "config.json").write_text(json.dumps({**_DEFAULTS, **config}))
        np.save(folder / "rows.npy", images(seed, rows))
        return Project(self, folder)

    def logged(self) -> list[Statement]:
        """Returns what the log holds, verified."""
        return [verify_statement(raw, self.roots) for _, raw in self.log.entries()]

    def judge(self, run: Path, **request: Any) -> Judgement:
        """Verifies a transcript as an inspector would: signatures, log, initial state, replay in a sandbox.

        Args:
            run: the transcript's folder.
            request: fields of :class:`~.verification.Request` besides trust roots and log, such as ``segments``.
        """
        asked = {"seed": secrets.token_bytes(32), "roots": self.roots, "logged": self.logged(), **request}
        return Judgement(verification=verify_run(run, Request(**asked)))

    def copy(self, run: Path) -> Path:
        """Returns a copy of a transcript, to be edited."""
        target = self.folder / "copies" / secrets.token_hex(6) / run.name
        shutil.copytree(run, target)
        return target


def images(seed: int, rows: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns rows of 64 bytes and a label: ten blurred patterns with noise, which a small model learns."""
    source = np.random.default_rng(seed)
    patterns = source.integers(40, 200, (10, 64))
    labels = source.integers(0, 10, rows)
    noisy = patterns[labels] + source.normal(0, 25, (rows, 64))
    return np.concatenate([noisy.clip(0, 255), labels[:, None]], axis=1).astype(np.uint8)
