"""Answering an inspector's nonce: proof that the key is at hand now, and how far the records reach."""

import os
import time
from pathlib import Path

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import replace_durably
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.chip.firmware import firmware_digest, host_digest
from weighbridge.mechanisms.chip.inbox import Requests, check_nonce
from weighbridge.mechanisms.chip.position import read_head
from weighbridge.mechanisms.chip.record import KIND, ChipRecord, encode_record
from weighbridge.mechanisms.chip.store import ChipBusyError, Store, record_path, sequences

__all__ = ["answer_challenge"]


def answer_challenge(directory: str | os.PathLike[str], nonce: str, *, timeout: float = 10.0) -> Path:
    """Appends a challenge record, by the running agent if there is one.

    Args:
        directory: the chip's directory.
        nonce: the inspector's nonce, 8 to 64 bytes in hex.
        timeout: seconds to wait for a running agent.

    Returns:
        The new record's file.

    Raises:
        InputError: no chip there, or a nonce of another form.
        EvidenceError: the agent does not answer, or the store is damaged.
    """
    nonce = check_nonce(nonce)
    folder = Path(directory)
    known = len(sequences(folder))
    try:
        store = Store.open(folder)
    except ChipBusyError:
        Requests(folder).leave(nonce)
        return _await(folder, nonce, known, timeout)
    try:
        return _sign_alone(store, nonce)
    finally:
        store.close()


def _await(folder: Path, nonce: str, known: int, timeout: float) -> Path:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for sequence in sequences(folder):
            if sequence >= known:
                path = record_path(folder, sequence)
                # The nonce is in the signed payload; whoever inspects verifies the record.
                if bytes.fromhex(nonce) in path.read_bytes():
                    return path
        time.sleep(0.02)
    raise EvidenceError(
        f"the running agent has not answered within {timeout:g} s", where=folder, mend="see whether it is stopped"
    )


def _sign_alone(store: Store, nonce: str) -> Path:
    head = read_head(store)
    event = head.event
    record = ChipRecord(
        chip=store.chip,
        sequence=head.count,
        previous=head.previous,
        boot=head.newest.boot if head.newest else 0,
        reason="challenge",
        interval=head.revealed + 1,
        rate_hz=store.terms.rate_hz,
        active_ns=event.active_ns if event else 0,
        monotonic_ns=time.monotonic_ns(),
        accounting="none",
        firmware=firmware_digest(),
        host=host_digest(store.chip),
        uid_separated=False,
        nonce=nonce,
    )
    raw = sign_statement(store.signer, kind=KIND, subject=store.chip, payload=encode_record(record), encoding="cbor")
    path = record_path(store.directory, record.sequence)
    try:
        replace_durably(path, raw)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=path) from error
    return path
