"""Making a chip: its key, its secret, and the maker's certificate that commits its schedule."""

import os
from dataclasses import dataclass
from pathlib import Path

from weighbridge.errors import InputError
from weighbridge.evidence.certificates import Role, certificates_from_pem, issue
from weighbridge.evidence.keys import Signer
from weighbridge.mechanisms.chip.schedule import MAX_LENGTH, HashChain, ScheduleTerms, chain_seed, gap_ns
from weighbridge.mechanisms.chip.store import Store

__all__ = ["DEFAULT_LENGTH", "DEFAULT_RATE_HZ", "NewChip", "init_chip", "read_certificates"]

DEFAULT_RATE_HZ = 1.0
DEFAULT_LENGTH = 4096


@dataclass(frozen=True, kw_only=True)
class NewChip:
    """A chip just made.

    Attributes:
        directory: where it lives.
        chip: its id.
        certificate: the maker's certificate for it, DER.
        terms: the schedule committed in the certificate.
    """

    directory: Path
    chip: str
    certificate: bytes
    terms: ScheduleTerms


def init_chip(
    directory: str | os.PathLike[str],
    *,
    maker: Signer,
    maker_chain: tuple[bytes, ...],
    rate_hz: float = DEFAULT_RATE_HZ,
    length: int = DEFAULT_LENGTH,
    name: str | None = None,
) -> NewChip:
    """Makes a chip in an empty directory.

    Args:
        directory: where it shall live; made if absent.
        maker: the maker's key.
        maker_chain: the maker's certificates in DER, its own first, the root included or not.
        rate_hz: f, stops per second of chip-active time.
        length: links in each schedule chain.
        name: common name in the certificate; from the id if None.

    Raises:
        InputError: something is there already, or a value cannot be used.
    """
    if not 0 < rate_hz < 1e3:
        raise InputError("is not between 0 and 1000 stops a second", where=rate_hz, field="rate")
    if not 1 <= length <= MAX_LENGTH:
        raise InputError(f"is not between 1 and {MAX_LENGTH} links", where=length, field="length")
    if not maker_chain:
        raise InputError("a chip needs its maker's certificate", field="maker_chain")
    folder = Path(directory)
    signer, seed = Store.create(folder)
    first = HashChain(chain_seed(seed, chip=signer.key_id, epoch=0), length=length)
    terms = ScheduleTerms(commitment=first.commitment, length=length, rate_hz=float(rate_hz))
    certificate = issue(
        maker,
        maker_chain[0],
        public_key=signer.public_key,
        name=name or f"chip {signer.key_id[:16]}",
        role=Role.CHIP,
        claims=terms.claims(),
    )
    signer = signer.with_chain((certificate, *maker_chain))
    first_due = gap_ns(first.link(1), chip=signer.key_id, rate_hz=terms.rate_hz)
    Store.finish(folder, signer, terms, first_due_ns=first_due)
    return NewChip(directory=folder, chip=signer.key_id, certificate=certificate, terms=terms)


def read_certificates(path: str | os.PathLike[str]) -> tuple[bytes, ...]:
    """Reads a PEM file of certificates.

    Raises:
        InputError: it cannot be read or holds none.
    """
    source = Path(path)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=source) from error
    return certificates_from_pem(data, where=source)
