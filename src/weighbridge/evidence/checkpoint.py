"""Checkpoints: a log's size and root as a C2SP signed note (signed-note, tlog-checkpoint, tlog-cosignature).

Ours carry two lines by the log's key: the plain signature, and a timestamped cosignature/v1 that says when.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from weighbridge.errors import EvidenceError
from weighbridge.evidence.keys import Signer, signature_holds
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.trust import LogKey

__all__ = ["Checkpoint", "sign_checkpoint", "verify_checkpoint"]

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE = re.compile("\u2014 ([^ +]+) ([A-Za-z0-9+/]+={0,2})")
_TIME_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A verified checkpoint.

    Attributes:
        origin: the log's name.
        size: entries.
        root: root over them, 32 bytes.
        time: Unix seconds that the log signed.
        raw: the whole note.
    """

    origin: str
    size: int
    root: bytes
    time: int
    raw: bytes


def sign_checkpoint(signer: Signer, log_key: LogKey, *, size: int, root: bytes, time: int) -> bytes:
    """Signs a checkpoint; the same arguments give the same bytes with a deterministic signer.

    Args:
        signer: the log's key.
        log_key: its name and public half.
        size: entries.
        root: root over them.
        time: Unix seconds.
    """
    text = f"{log_key.origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    stamp = time.to_bytes(_TIME_BYTES, "big")
    plain = log_key.key_hash + signer.sign(text.encode())
    timed = log_key.cosignature_hash + stamp + signer.sign(_cosigned(text, time))
    lines = [f"\u2014 {log_key.origin} {base64.b64encode(line).decode()}\n" for line in (plain, timed)]
    return (text + "\n" + "".join(lines)).encode()


def verify_checkpoint(raw: bytes, log_key: LogKey) -> Checkpoint:
    """Verifies a checkpoint: form, origin, both of the log's signatures. Witnesses' lines are passed over.

    Raises:
        EvidenceError: naming what does not hold.
    """
    where = "checkpoint"
    if not isinstance(raw, bytes) or not 0 < len(raw) <= LIMITS.checkpoint_bytes:
        raise EvidenceError(f"is not 1 to {LIMITS.checkpoint_bytes} bytes", where=where)
    try:
        note = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EvidenceError("is not UTF-8", where=where) from error
    if any(ord(sign) < 0x20 and sign != "\n" for sign in note):
        raise EvidenceError("contains control characters", where=where)
    text, separator, signatures = note.partition("\n\n")
    body = text.split("\n")
    if not separator or len(body) != 3 or not signatures.endswith("\n"):
        raise EvidenceError("is not origin, size, root, an empty line and signatures", where=where)
    origin, size, encoded = body
    if origin != log_key.origin:
        raise EvidenceError(f"is by {origin!r:.80}, expected {log_key.origin!r}", where=where, field="origin")
    root = _unbase64(encoded)
    if not _SIZE.fullmatch(size) or int(size) > LIMITS.tree_size:
        raise EvidenceError("is not a tree size", where=where, field="size")
    if len(root) != 32:
        raise EvidenceError("is not a SHA-256 root", where=where, field="root")
    time = _verify_lines(signatures[:-1].split("\n"), text + "\n", log_key)
    return Checkpoint(origin=origin, size=int(size), root=root, time=time, raw=raw)


def _verify_lines(lines: list[str], text: str, log_key: LogKey) -> int:
    if len(lines) > LIMITS.checkpoint_signatures:
        raise EvidenceError(f"has over {LIMITS.checkpoint_signatures} signatures", where="checkpoint")
    signed = False
    times: list[int] = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise EvidenceError("has a line that is no signature", where="checkpoint", field="signatures")
        blob = _unbase64(match[2])
        if len(blob) < 5:
            raise EvidenceError("has a signature that is cut short", where="checkpoint", field="signatures")
        if match[1] != log_key.origin:
            continue
        if blob[:4] == log_key.key_hash:
            _require(log_key, blob[4:], text.encode())
            signed = True
        elif blob[:4] == log_key.cosignature_hash:
            times.append(int.from_bytes(blob[4 : 4 + _TIME_BYTES], "big"))
            _require(log_key, blob[4 + _TIME_BYTES :], _cosigned(text, times[-1]))
    if not signed or len(times) != 1:
        raise EvidenceError(
            f"needs one signature and one timed cosignature by {log_key.origin}",
            where="checkpoint",
            field="signatures",
        )
    return times[0]


def _require(log_key: LogKey, signature: bytes, message: bytes) -> None:
    if not signature_holds(log_key.public_key, signature, message):
        raise EvidenceError(f"the signature is not {log_key.origin}'s", where="checkpoint", field="signatures")


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvidenceError("contains text that is not base64", where="checkpoint") from error
    if base64.b64encode(data).decode() != text:
        raise EvidenceError("contains base64 in another than its one spelling", where="checkpoint")
    return data
