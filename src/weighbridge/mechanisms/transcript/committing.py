"""Committing to a run before it trains: logged, answered by an inspector, and the seed that follows."""

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import replace_whole
from weighbridge.evidence.keys import FileSigner, Signer
from weighbridge.evidence.spool import SpoolClient
from weighbridge.evidence.statement import sign_statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.commitment import COMMITMENT, NONCE, Opening, derive_seed, nonce_of

__all__ = ["commit", "seed_of", "signer_and_spool"]

_QUIET_SECONDS = 3.0
_WAIT_SECONDS = 57.0


def signer_and_spool() -> tuple[Signer | None, SpoolClient | None]:
    """Opens what the environment names, before anything is committed."""
    key, folder = os.environ.get("WEIGHBRIDGE_KEY"), os.environ.get("WEIGHBRIDGE_SPOOL")
    for name, why, mend in (
        ("WEIGHBRIDGE_KEY", "nothing can be signed", "name the key file"),
        ("WEIGHBRIDGE_ROOTS", "nobody's nonce can be verified", "name the trust roots"),
    ):
        if folder and not os.environ.get(name):
            raise InputError(f"is not set though WEIGHBRIDGE_SPOOL is, so {why}", where=name, mend=mend)
    return FileSigner.load(Path(key)) if key else None, SpoolClient(Path(folder)) if folder else None


def commit(
    base: Path, payload: dict[str, Any], opening: Opening, signer: Signer | None, spool: SpoolClient | None
) -> tuple[Path, str, bytes]:
    """Logs the commitment, waits for the inspector's answer, and returns folder, run id and seed."""
    if signer is None:
        run = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
        raw = None
    else:
        raw = sign_statement(signer, kind=COMMITMENT, subject="run", payload=payload)
        run = hashlib.sha256(raw).hexdigest()
    folder = base / run[:16]
    (folder / "anchors").mkdir(parents=True)
    (folder / "progress").mkdir()
    opening.write(folder / "opening.json")
    if raw is None or spool is None:
        print(
            "weighbridge: no log is named (WEIGHBRIDGE_SPOOL), so this run is bound to nothing that an inspector"
            " saw: its transcript cannot support a verdict",
            file=sys.stderr,
        )
        if raw is not None:
            (folder / "commitment.cose").write_bytes(raw)
        return folder, run, derive_seed(commitment_id=run, inspector_nonce=opening.nonce)
    (folder / "commitment.cose").write_bytes(raw)
    identifier = spool.submit(raw)
    (folder / "commitment.receipt").write_bytes(_wait(spool, identifier))
    for answer in spool.answers(identifier):
        roots = TrustRoots.load(Path(os.environ["WEIGHBRIDGE_ROOTS"]))
        if verify_statement(answer, roots).kind == NONCE:
            logged = _wait(spool, hashlib.sha256(answer).hexdigest())
            (folder / "nonce.receipt").write_bytes(logged)
            replace_whole(folder / "nonce.cose", answer)
            return folder, run, seed_of(folder, run, opening)
    raise EvidenceError(
        "the log took the commitment, but no inspector answered it",
        where=spool.directory,
        mend="run the keeper with an inspector's nonce key",
    )


def _wait(spool: SpoolClient, identifier: str) -> bytes:
    """Waits for a receipt; nothing may be trained before, so this wait is said and not cut short."""
    with contextlib.suppress(EvidenceError):
        return spool.wait(identifier, timeout=_QUIET_SECONDS)
    print(f"weighbridge: waiting for the log's keeper, at most {_WAIT_SECONDS:.0f} s more …", file=sys.stderr)
    return spool.wait(identifier, timeout=_WAIT_SECONDS)


def seed_of(folder: Path, run: str, opening: Opening) -> bytes:
    """Returns the run's seed from the inspector's signed answer, or from the operator's nonce where none is."""
    answer = folder / "nonce.cose"
    if not answer.exists():
        return derive_seed(commitment_id=run, inspector_nonce=opening.nonce)
    directory = os.environ.get("WEIGHBRIDGE_ROOTS")
    if directory is None:
        raise InputError(
            "is not set, so nobody's nonce can be verified", where="WEIGHBRIDGE_ROOTS", mend="name the trust roots"
        )
    statement = verify_statement(answer.read_bytes(), TrustRoots.load(Path(directory)), kind=NONCE, role="inspector")
    nonce = nonce_of(statement.payload, run=run, where=answer)
    return derive_seed(commitment_id=run, inspector_nonce=nonce)
