"""A public beacon, drand's quicknet: a round's value is signed by a threshold of its nodes, and checked offline.

A round's time follows from its number, so that a round announced beforehand can be shown to lie after what it draws
from. The signature is BLS on BLS12-381 (scheme ``bls-unchained-g1-rfc9380``), unique for a round; its SHA-256 is the
round's randomness. What it cannot show: that no threshold of the nodes colluded to know a round early.
"""

import re
from dataclasses import dataclass

from weighbridge.errors import EvidenceError, InputError, MissingToolError

__all__ = ["QUICKNET", "Chain", "verify_round"]

_SIGNATURE = re.compile(r"[0-9a-f]{96}")


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A beacon's public facts.

    Attributes:
        hash: the chain's hash, hex, by which it is named.
        public_key: BLS public key on G2, hex.
        genesis: Unix seconds of round 1.
        period: seconds from one round to the next.
    """

    hash: str
    public_key: str
    genesis: int
    period: int

    def time_of(self, number: int) -> int:
        """Returns when a round becomes known, Unix seconds.

        Raises:
            InputError: rounds count from 1.
        """
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number < 1 << 62:
            raise InputError(f"{number!r} is not the number of a round", field="round")
        return self.genesis + (number - 1) * self.period

    def first_after(self, time: float) -> int:
        """Returns the number of the first round that becomes known later than ``time`` (Unix seconds)."""
        return max(1, int((time - self.genesis) // self.period) + 2)


QUICKNET = Chain(
    hash="52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971",
    public_key=(
        "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc2"
        "2b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
    ),
    genesis=1_692_803_367,
    period=3,
)
"""drand's quicknet, run by the League of Entropy; the facts that its ``/info`` gives."""


def verify_round(number: int, signature: str, *, chain: Chain = QUICKNET) -> bytes:
    """Returns a round's randomness, 32 bytes, if the beacon signed it.

    Args:
        number: the round.
        signature: its signature, 96 hexadecimal digits.
        chain: the beacon.

    Raises:
        EvidenceError: the signature is not the beacon's for this round.
        InputError: a number that no round has.
        MissingToolError: drand-verify is not installed.
    """
    chain.time_of(number)
    # The library panics, past `except Exception`, on what is not hexadecimal.
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise EvidenceError("is not 96 lower-case hexadecimal digits", where=f"round {number}", field="signature")
    try:
        import drand_verify
    except ImportError as error:
        raise MissingToolError(
            "a draw by a beacon needs drand-verify", where="beacon", mend="pip install 'weighbridge[draws]'"
        ) from error
    try:
        value = drand_verify.verify_bls_unchained_g1_rfc9380(number, signature, chain.public_key)
    except (ValueError, OverflowError) as error:
        raise EvidenceError("is not the beacon's", where=f"round {number}", field="signature") from error
    return bytes.fromhex(value)
