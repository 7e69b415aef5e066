"""What a chip keeps on disk, so that nothing it has signed or begun is forgotten when it is killed.

    chip.json        id, rate, length, commitment; written once
    chip.key         Ed25519 key, 0600, with chip.key.chain.pem
    seed             32 secret bytes that chain links and salts are derived from, 0600
    state.json       the open interval and when it is due; replaced and synced before an interval starts
    heartbeat        chip-active time, written every 50 ms, synced every half second
    records/N.cose leaves/N.leaves salts/N.salt receipts/N.receipt
    requests/        nonces that an inspection has left for a running agent

All of it is mode 0700 or less: the command runs under another user id and can read none of it.
"""

import fcntl
import hashlib
import hmac
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import replace_durably
from weighbridge.evidence.keys import FileSigner
from weighbridge.mechanisms.chip.schedule import ScheduleTerms

__all__ = [
    "SALT_BYTES",
    "ChipBusyError",
    "State",
    "Store",
    "leaf_path",
    "receipt_path",
    "record_path",
    "salt_path",
    "sequences",
]

FOLDERS = ("records", "leaves", "salts", "receipts", "requests")
SALT_BYTES: Final = 32
"""Length of a record's salt: one SHA-256 output."""
_SALT = b"weighbridge chip salt v1\0"


class ChipBusyError(InputError):
    """Another agent holds the chip's directory."""


def record_path(directory: Path, sequence: int) -> Path:
    """Returns where a record lies in a chip's directory."""
    return directory / "records" / f"{sequence}.cose"


def leaf_path(directory: Path, sequence: int) -> Path:
    """Returns where a record's leaf table lies."""
    return directory / "leaves" / f"{sequence}.leaves"


def salt_path(directory: Path, sequence: int) -> Path:
    """Returns where a record's salt (32 bytes) lies."""
    return directory / "salts" / f"{sequence}.salt"


def receipt_path(directory: Path, sequence: int) -> Path:
    """Returns where the log's receipt for a record lies once it has come."""
    return directory / "receipts" / f"{sequence}.receipt"


def sequences(directory: Path) -> list[int]:
    """Returns the sequence numbers of the records present, ascending."""
    found = [p.stem for p in (directory / "records").glob("*.cose")]
    return sorted(int(stem) for stem in found if stem.isdecimal())


@dataclass(frozen=True, kw_only=True)
class State:
    """The schedule's durable position.

    Attributes:
        interval: the open interval.
        due_ns: when it is due, in chip-active time.
        active_ns: chip-active time when this was written.
        records: records that were on the disk when this was written.
        cgroup: the control group of the newest boot, empty if none.
        notice: the notice directory of the newest boot.
    """

    interval: int
    due_ns: int
    active_ns: int
    records: int
    cgroup: str
    notice: str


class Store:
    """A chip's directory, opened by the one agent that may use it.

    Attributes:
        directory: the directory.
        terms: the schedule that the chip's certificate commits to.
        signer: the chip's key.
    """

    def __init__(self, directory: Path, terms: ScheduleTerms, signer: FileSigner, seed: bytes, lock: int) -> None:
        self.directory = directory
        self.terms = terms
        self.signer = signer
        self._seed = seed
        self._lock = lock

    @classmethod
    def create(cls, directory: Path) -> tuple[FileSigner, bytes]:
        """Makes the directory, the key and the secret seed of a new chip.

        Returns:
            The key and the seed; the certificate and :meth:`finish` are still to come.

        Raises:
            InputError: something is there already, or the directory cannot be written.
        """
        try:
            directory.mkdir(parents=True, mode=0o700, exist_ok=True)
            if any(directory.iterdir()):
                raise InputError("is not empty", where=directory, mend="give a chip a directory of its own")
            directory.chmod(0o700)
            for name in FOLDERS:
                (directory / name).mkdir(mode=0o700)
            seed = os.urandom(32)
            signer = FileSigner.create(directory / "chip.key")
            replace_durably(directory / "seed", seed, mode=0o600)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", where=directory) from error
        return signer, seed

    @staticmethod
    def finish(directory: Path, signer: FileSigner, terms: ScheduleTerms, *, first_due_ns: int) -> None:
        """Writes what makes the directory a chip, last of all."""
        state = State(interval=1, due_ns=first_due_ns, active_ns=0, records=0, cgroup="", notice="")
        replace_durably(directory / "state.json", _json(asdict(state)), mode=0o600)
        replace_durably(directory / "chip.json", _json({"chip": signer.key_id, **terms.claims()}), mode=0o644)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Opens a chip's directory and locks it.

        Raises:
            InputError: no chip there, it may not be read, or another agent has it.
            EvidenceError: its files contradict each other.
        """
        chip = read_chip(directory)
        try:
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", where=directory) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ChipBusyError(
                    "another agent runs this chip", where=directory, mend="end it, or use another chip"
                ) from None
            signer = FileSigner.load(directory / "chip.key")
            if signer.key_id != chip["chip"]:
                raise EvidenceError("is not the key of this chip", where=directory / "chip.key")
            terms = ScheduleTerms.from_claims(chip, where=str(directory / "chip.json"))
            return cls(directory, terms, signer, _read_seed(directory / "seed"), lock)
        except BaseException:
            os.close(lock)
            raise

    @property
    def chip(self) -> str:
        """The chip's id."""
        return self.signer.key_id

    @property
    def seed(self) -> bytes:
        """The secret that chains are derived from."""
        return self._seed

    def salt(self, sequence: int) -> bytes:
        """Returns a record's salt: derived, so that none is ever lost by the chip."""
        message = _SALT + bytes.fromhex(self.chip) + sequence.to_bytes(8, "big")
        return hmac.new(self._seed, message, hashlib.sha256).digest()

    def state(self) -> State:
        """Reads the durable position.

        Raises:
            EvidenceError: it is absent or unreadable; a chip that does not know its position must not run.
        """
        path = self.directory / "state.json"
        try:
            content = json.loads(path.read_bytes())
            state = State(**content)
            if not all(type(content[name]) is int and content[name] >= 0 for name in _STATE_NUMBERS):
                raise ValueError
            if not isinstance(state.cgroup, str) or not isinstance(state.notice, str) or state.interval < 1:
                raise ValueError
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EvidenceError(
                "the chip's position in its schedule cannot be read",
                where=path,
                mend="restore the file; a chip that lost it is retired and a new one made",
            ) from error
        return state

    def save(self, state: State) -> None:
        """Makes a position durable."""
        replace_durably(self.directory / "state.json", _json(asdict(state)), mode=0o600)

    def close(self) -> None:
        """Gives the directory up."""
        os.close(self._lock)


def read_chip(directory: Path) -> dict[str, str]:
    """Reads ``chip.json``: id and schedule terms; unsigned, for people and for opening the store.

    Raises:
        InputError: no chip there.
    """
    path = directory / "chip.json"
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError("holds no chip", where=directory, mend="make one with weighbridge chip init") from None
    except (OSError, ValueError) as error:
        raise InputError("cannot be read", where=path) from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError("is not a chip's description", where=path)
    return content


def _read_seed(path: Path) -> bytes:
    try:
        if path.stat().st_mode & 0o077:
            raise InputError("can be read by others", where=path, mend="chmod 600, and consider it known")
        seed = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error
    if len(seed) != 32:
        raise EvidenceError("is not a chip's secret", where=path)
    return seed


_STATE_NUMBERS = ("interval", "due_ns", "active_ns", "records")


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode() + b"\n"
