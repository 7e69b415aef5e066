"""The demo's institutions: a body with its inspector, a chip maker, a distributor, a log and its keeper."""

import hashlib
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.app.institutions import Institutions
from weighbridge.app.nonces import NonceService
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log
from weighbridge.evidence.spool import Keeper, SpoolClient
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.chip.setup import NewChip, init_chip
from weighbridge.mechanisms.registry.directory import sign_custody_event
from weighbridge.mechanisms.registry.epcis import Step

__all__ = ["OperatorPlace", "World", "say"]

_START = time.monotonic()


def say(line: str) -> None:
    """Prints one line of progress on standard error."""
    print(f"[{time.monotonic() - _START:6.1f} s] {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class OperatorPlace:
    """An operator's machine room: folder, key, and the user that its programs run as."""

    name: str
    folder: Path
    key: Path
    user: int | None
    signer: FileSigner

    def environment(self, world: "World") -> dict[str, str]:
        """Returns what the operator's programs need to record and to reach the log."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        return kept | {
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "WEIGHBRIDGE_KEY": str(self.key),
            "WEIGHBRIDGE_ROOTS": str(world.everybodys_roots),
            "WEIGHBRIDGE_RUNS": str(self.folder / "runs"),
            "WEIGHBRIDGE_SPOOL": str(world.spool),
        }


class World:
    """Keys, certificates, log and keeper. Keys and the log's database live in scratch, never in the bundle."""

    def __init__(self, scratch: Path, roots_folder: Path) -> None:
        self.scratch, self.roots_folder = scratch, roots_folder
        self.spool = scratch / "spool"
        self.nonce_key = secrets.token_bytes(32)
        self._people = Institutions.make(scratch / "keys", origin="weighbridge.example/demo")
        self.inspector, self.roots = self._people.inspector, self._people.roots
        self.log = Log.create(scratch / "log.db", self._people.log_key, origin=self.roots.log_key.origin)
        # The bundle may lie where operators' users cannot look: they have their own copy of the trust roots.
        self.everybodys_roots = scratch / "roots"
        for folder in (roots_folder, self.everybodys_roots):
            self.roots.save(folder)
        answerer = NonceService(self.inspector, self.nonce_key)
        self._keeper = Keeper(self.log, self.spool, roots=self.roots, on_entry=answerer)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keeper.run, args=(self._stop,), daemon=True)
        self._thread.start()
        self.client = SpoolClient(self.spool)

    def publish(self, kind: str, payload: Mapping[str, Any]) -> str:
        """Signs a statement as the inspector, logs it, and returns its id."""
        return self._log(sign_statement(self.inspector, kind=kind, subject="inspection", payload=payload))

    def _log(self, raw: bytes) -> str:
        identifier = self.client.submit(raw)
        self.client.wait(identifier, timeout=60)
        return identifier

    def operator(self, name: str, number: int) -> OperatorPlace:
        """Makes an operator's room, key and certificate."""
        folder = self.scratch / "operators" / name
        (folder / "runs").mkdir(parents=True)
        key = folder / "operator.pem"
        signer = self._people.operator(key, name)
        user = 52_000 + number if os.geteuid() == 0 else None
        if user is not None:
            for path in (folder, folder / "runs", *folder.glob("operator.pem*")):
                os.chown(path, user, user)
        return OperatorPlace(name, folder, key, user, signer)

    def make_chip(self, folder: Path, *, rate_hz: float) -> NewChip:
        """Has the maker make a chip."""
        return init_chip(folder, maker=self._people.maker, maker_chain=self._people.maker.chain, rate_hz=rate_hz)

    def ship(self, chip: str, operator: OperatorPlace) -> None:
        """Logs the distributor's word that it sent a chip to an operator."""
        self._custody(Step.SHIPPED, chip, self._people.distributor, "Distributor", other=operator.name)

    def deliver(self, chip: str, operator: OperatorPlace, *, serial: str) -> None:
        """Logs a chip's whole way, each step signed by whom it concerns: made, shipped, received, installed."""
        self._custody(Step.MADE, chip, self._people.maker, "Chip Works", serial=serial)
        self._custody(Step.SHIPPED, chip, self._people.maker, "Chip Works", other="Distributor")
        self._custody(Step.RECEIVED, chip, self._people.distributor, "Distributor", other="Chip Works")
        self.ship(chip, operator)
        self._custody(Step.RECEIVED, chip, operator.signer, operator.name, other="Distributor")
        self._custody(Step.INSTALLED, chip, operator.signer, operator.name)

    def _custody(
        self,
        step: Step,
        chip: str,
        signer: FileSigner,
        party: str,
        *,
        other: str | None = None,
        serial: str | None = None,
    ) -> None:
        now = time.time()
        self._log(
            sign_custody_event(signer, step=step, chips=[chip], time=now, party=party, other=other, serial=serial)
        )

    def export_log(self, folder: Path) -> None:
        """Exports the log, and keeps its checkpoint among the trust roots as an inspector would."""
        self.log.export(folder)
        (self.roots_folder / "checkpoint").write_bytes(self.log.checkpoint())

    def close(self) -> None:
        """Stops the keeper."""
        self._stop.set()
        self._thread.join(timeout=10)
        self._keeper.close()
        self.log.close()


def seal(path: Path, truth: Mapping[str, str]) -> str:
    """Writes the truth where the inspector's side does not look, and returns its digest for the plan.

    With 32 random bytes: a bare digest of one in 720 castings would give it away.
    """
    data = json.dumps({"truth": dict(truth), "salt": secrets.token_hex(32)}, sort_keys=True).encode()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
