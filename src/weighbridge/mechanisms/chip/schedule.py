"""When a chip is stopped: a Poisson process on chip-active time, drawn from a committed hash chain.

Protocol section 2. Interval ``i`` (1, 2, ...) lasts
``gap_i = -ln(u_i) / f`` seconds of chip-active time, where
``u_i = H(domain || chip || s_(N-i))`` and ``s_0 ... s_N`` is a hash chain whose end ``s_N`` the chip's
certificate commits. The due time of interval ``i`` is the sum of the first ``i`` gaps, whatever the
lateness of earlier stops. A revealed link gives every link before it and none after it. When a chain runs
out (``i`` a multiple of N), the record that reveals its first link ``s_0`` commits the next chain.

All arithmetic is exact to the nanosecond on every machine: ``u`` has 256 bits, the logarithm 50 digits.
"""

import decimal
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from weighbridge.errors import EvidenceError, InputError

__all__ = ["MAX_LENGTH", "HashChain", "ScheduleTerms", "chain_seed", "due_after", "gap_ns", "next_link"]

MAX_LENGTH = 1 << 20
"""Links in one chain: a chain is held in memory (32 bytes a link) and walked to check a reveal."""

_LINK = b"weighbridge chip link v1\0"
_GAP = b"weighbridge chip gap v1\0"
_SEED = b"weighbridge chip chain v1\0"
_CONTEXT = decimal.Context(prec=50, rounding=decimal.ROUND_HALF_EVEN)
_NANOSECONDS = 1_000_000_000


def next_link(link: bytes) -> bytes:
    """Returns ``s_(j+1)`` from ``s_j``."""
    return hashlib.sha256(_LINK + link).digest()


def gap_ns(link: bytes, *, chip: str, rate_hz: float) -> int:
    """Returns the length of an interval, in nanoseconds of chip-active time.

    Args:
        link: ``s_(N-i)``, 32 bytes.
        chip: the chip's id, hex.
        rate_hz: f, stops per second of chip-active time.
    """
    digest = hashlib.sha256(_GAP + bytes.fromhex(chip) + link).digest()
    # (k + 1) / 2**256 lies in (0, 1], so the logarithm always exists.
    u = _CONTEXT.divide(decimal.Decimal(int.from_bytes(digest, "big") + 1), decimal.Decimal(1 << 256))
    seconds = _CONTEXT.divide(-_CONTEXT.ln(u), decimal.Decimal(repr(rate_hz)))
    return int(_CONTEXT.multiply(seconds, decimal.Decimal(_NANOSECONDS)))


def chain_seed(secret: bytes, *, chip: str, epoch: int) -> bytes:
    """Returns ``s_0`` of the chip's chain number ``epoch`` (0 for the one in its certificate)."""
    return hmac.new(secret, _SEED + bytes.fromhex(chip) + epoch.to_bytes(8, "big"), hashlib.sha256).digest()


class HashChain:
    """One chain as its chip holds it.

    Args:
        seed: ``s_0``, 32 bytes.
        length: N, the number of intervals it serves.
    """

    def __init__(self, seed: bytes, *, length: int) -> None:
        if not 1 <= length <= MAX_LENGTH:
            raise InputError(f"a schedule has 1 to {MAX_LENGTH} links", field="length")
        links = [seed]
        for _ in range(length):
            links.append(next_link(links[-1]))
        self._links = links

    @property
    def length(self) -> int:
        """N."""
        return len(self._links) - 1

    @property
    def commitment(self) -> bytes:
        """``s_N``."""
        return self._links[-1]

    def link(self, position: int) -> bytes:
        """Returns the link of the interval at ``position`` (1 to N) in this chain."""
        if not 1 <= position <= self.length:
            raise ValueError(f"position {position} outside 1..{self.length}")
        return self._links[self.length - position]


@dataclass(frozen=True, kw_only=True)
class ScheduleTerms:
    """What a chip's certificate fixes about its schedule.

    Attributes:
        commitment: ``s_N`` of the first chain.
        length: N.
        rate_hz: f, stops per second of chip-active time.
    """

    commitment: bytes
    length: int
    rate_hz: float

    def claims(self) -> dict[str, str]:
        """Returns the terms as certificate claims."""
        return {
            "schedule_commitment": self.commitment.hex(),
            "schedule_length": str(self.length),
            "rate_hz": repr(self.rate_hz),
        }

    @classmethod
    def from_claims(cls, claims: Mapping[str, str], *, where: str) -> Self:
        """Reads what :meth:`claims` wrote.

        Raises:
            EvidenceError: a claim is absent or not in the form that :meth:`claims` writes.
        """
        try:
            terms = cls(
                commitment=bytes.fromhex(claims["schedule_commitment"]),
                length=int(claims["schedule_length"]),
                rate_hz=float(claims["rate_hz"]),
            )
            valid = len(terms.commitment) == 32 and 1 <= terms.length <= MAX_LENGTH and 0 < terms.rate_hz < 1e6
        except (KeyError, ValueError) as error:
            raise EvidenceError(
                "the certificate commits no schedule", where=where, field="schedule_commitment"
            ) from error
        if not valid or terms.claims() != {name: claims[name] for name in terms.claims()}:
            raise EvidenceError("the certificate's schedule is malformed", where=where, field="schedule_commitment")
        return terms

    def epoch_of(self, interval: int) -> tuple[int, int]:
        """Returns (chain number, position in it from 1) of an interval."""
        epoch, position = divmod(interval - 1, self.length)
        return epoch, position + 1

    def is_last(self, interval: int) -> bool:
        """Returns whether the record that ends ``interval`` must commit the next chain."""
        return interval % self.length == 0


def due_after(due_ns: int, links: list[bytes], *, chip: str, rate_hz: float) -> list[int]:
    """Returns when each link's interval is due, in order; the interval before them is due at ``due_ns``."""
    dues = []
    for link in links:
        due_ns += gap_ns(link, chip=chip, rate_hz=rate_hz)
        dues.append(due_ns)
    return dues
