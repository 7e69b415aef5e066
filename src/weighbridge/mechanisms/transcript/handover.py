"""What a recording signs while training runs, and how it reaches the log: without ever making the training wait."""

import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weighbridge.errors import WeighbridgeError
from weighbridge.evidence.files import replace_whole
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.spool import SpoolClient
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.transcript.commitment import PROGRESS

__all__ = ["Handover"]

RECEIPTS_SECONDS = 15.0
"""How long the end of a run waits for receipts, all of them together."""


class Handover:
    """Signs statements of where a run stands, keeps them in ``progress/``, and drops them into the log's spool.

    Args:
        folder: the run's folder.
        run: the run's id.
        signer: the operator's key; without it nothing is signed.
        spool: the log's spool; without it nothing is handed over.
    """

    def __init__(self, folder: Path, *, run: str, signer: Signer | None, spool: SpoolClient | None) -> None:
        self._folder, self._run, self._signer, self._spool = folder / "progress", run, signer, spool
        self._number = sum(1 for _ in self._folder.glob("*.cose"))
        self._dropped: set[str] = set()
        self._complained = False

    def sign(self, public: Mapping[str, Any], *, head: bytes) -> None:
        """Signs one statement over the journal's head, keeps it, and hands it over without waiting.

        Raises:
            OSError: the run's own folder cannot be written to.
        """
        if self._signer is None:
            return
        payload = {**public, "run": self._run, "journal": head.hex()}
        raw = sign_statement(self._signer, kind=PROGRESS, subject=self._run, payload=payload)
        path = self._folder / f"{self._number:06d}.cose"
        replace_whole(path, raw)
        self._number += 1
        self._drop(path.name, raw)

    def collect(self) -> None:
        """Stores the receipts of every statement, those of earlier segments included.

        What the log does not answer in time stays unanswered, and is said.
        """
        if self._spool is None:
            return
        deadline = time.monotonic() + RECEIPTS_SECONDS
        waiting = [path for path in sorted(self._folder.glob("*.cose")) if not path.with_suffix(".receipt").exists()]
        raws = {path: path.read_bytes() for path in waiting}
        for path in waiting:
            if path.name not in self._dropped:  # a segment that was killed may not have come to it
                self._drop(path.name, raws[path])
        missing: list[str] = []
        for path in waiting:
            identifier = hashlib.sha256(raws[path]).hexdigest()
            try:
                receipt = self._spool.wait(identifier, timeout=max(0.0, deadline - time.monotonic()))
                replace_whole(path.with_suffix(".receipt"), receipt)
            except (WeighbridgeError, OSError) as error:
                missing.append(str(error))
        if missing:
            print(
                f"weighbridge: {len(missing)} of {len(waiting)} statements have no receipt of the log ({missing[0]});"
                f" the transcript is whole in {self._folder.parent}, and statements dropped into the spool are logged"
                " when its keeper runs",
                file=sys.stderr,
            )

    def _drop(self, name: str, raw: bytes) -> None:
        """Hands one statement over; a spool that takes none is said once, and tried again at the end."""
        if self._spool is None:
            return
        try:
            self._spool.submit(raw)
            self._dropped.add(name)
        except WeighbridgeError as error:
            if not self._complained:
                print(f"weighbridge: a statement could not be handed to the log ({error})", file=sys.stderr)
            self._complained = True
