"""The two-party form: what both sides agree before the room closes, what comes out, and what makes it a verdict.

1. Terms name the run, both parties' keys, the builds that both have measured, and a hash of the draw's seed.
2. Each party signs the same terms (``sealed-agreement``).
3. The room runs an agreed build, which measures itself, and gives one output of fixed size.
4. Each party signs that output (``sealed-verdict``).
5. A verdict is both signatures, over the same bytes, under the same terms, by a build that the terms name.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.statement import Statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.sealed.record import SealedRecord, padded, unpadded

__all__ = ["AGREEMENT", "OUTPUT_BYTES", "VERDICT", "Output", "Terms", "agreed_terms", "check_verdict", "seed_hash"]

AGREEMENT: Final = "sealed-agreement"
VERDICT: Final = "sealed-verdict"
OUTPUT_BYTES: Final = 2048

_FORMAT: Final = "weighbridge sealed output 1"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PARTIES: Final = frozenset({Role.INSPECTOR, Role.OPERATOR})


def seed_hash(seed: bytes) -> str:
    """Returns the hash by which terms name the seed of the draw, which is shown when the room closes (hex)."""
    return hashlib.sha256(b"weighbridge/sealed-seed/1" + seed).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What two parties agree.

    Attributes:
        run: id of the run.
        parties: key ids of the two.
        builds: digests of the builds of which both accept the output: one, or one of each side.
        seed_hash: :func:`seed_hash` of the draw's seed.
        segments: segments to replay; None for all.
        budget: steps to replay at most; None for no limit.
        pad_seconds: when the room answers; None for when it is done.
    """

    run: str
    parties: tuple[str, ...]
    builds: tuple[str, ...]
    seed_hash: str
    segments: int | None = None
    budget: int | None = None
    pad_seconds: float | None = None

    def __post_init__(self) -> None:
        digests = {"run": (self.run,), "parties": self.parties, "builds": self.builds, "seed_hash": (self.seed_hash,)}
        for field, values in digests.items():
            if not all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in values):
                raise InputError("are 64 hexadecimal digits each", where="terms", field=field)
        if len(self.parties) != 2 or tuple(sorted(set(self.parties))) != self.parties:
            raise InputError("are not two different keys, in order", where="terms", field="parties")
        if not 1 <= len(self.builds) <= 2 or tuple(sorted(set(self.builds))) != self.builds:
            raise InputError("are not one or two, in order", where="terms", field="builds")
        for field in ("segments", "budget"):
            value = getattr(self, field)
            if value is not None and (type(value) is not int or value < 0):
                raise InputError("is no whole number", where="terms", field=field)
        pad = self.pad_seconds
        if pad is not None and (type(pad) not in (int, float) or not 0 < pad <= 30 * 86_400):
            raise InputError("is no time above 0 and up to 30 days", where="terms", field="pad_seconds")

    def payload(self) -> dict[str, Any]:
        """Returns what both parties sign."""
        return {
            "run": self.run,
            "parties": list(self.parties),
            "builds": list(self.builds),
            "seed_hash": self.seed_hash,
            "segments": self.segments,
            "budget": self.budget,
            "pad_seconds": self.pad_seconds,
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> "Terms":
        """Reads terms.

        Raises:
            InputError: they are malformed.
        """
        try:
            terms = cls(**{**payload, "parties": tuple(payload["parties"]), "builds": tuple(payload["builds"])})
        except (KeyError, TypeError) as error:
            raise InputError(f"are malformed ({error})", where="terms", mend="write them with sealed terms") from error
        return terms

    @property
    def digest(self) -> str:
        """Digest of the terms (hex): what output and verdict name."""
        return hashlib.sha256(b"weighbridge/sealed-terms/1" + canonical(self.payload())).hexdigest()

    def check_seed(self, seed: bytes) -> None:
        """Checks that a seed is the one agreed.

        Raises:
            InputError: it is not.
        """
        if not hmac.compare_digest(seed_hash(seed), self.seed_hash):
            raise InputError("is not the one whose hash the terms name", where="--seed")

    def check_build(self, digest: str) -> None:
        """Checks that a build is one of those agreed.

        Raises:
            EvidenceError: it is not.
        """
        if digest not in self.builds:
            raise EvidenceError(
                "is a build that neither party agreed to",
                where=f"build {digest[:16]}",
                mend=f"run {' or '.join(build[:16] for build in self.builds)}",
            )


def _of_both(raws: Sequence[bytes], roots: TrustRoots, kind: str) -> list[Statement]:
    """Returns one statement of each side, verified.

    Raises:
        EvidenceError: they are not two, or not one of an inspector and one of an operator.
    """
    statements = [verify_statement(raw, roots, kind=kind, role=_PARTIES) for raw in raws]
    keys = {statement.identity.key_id for statement in statements}
    if len(statements) != 2 or len(keys) != 2 or {statement.role for statement in statements} != _PARTIES:
        signers = ", ".join(f"{s.issuer} ({s.role})" for s in statements)
        raise EvidenceError(f"needs one inspector's and one operator's, and has {signers or 'none'}", where=kind)
    return statements


def agreed_terms(raws: Sequence[bytes], roots: TrustRoots) -> Terms:
    """Returns the terms that both parties signed.

    Raises:
        EvidenceError: a signature is missing, is of somebody else, or is over other terms.
    """
    first, second = _of_both(raws, roots, AGREEMENT)
    if first.payload != second.payload:
        raise EvidenceError("are over different terms", where=AGREEMENT, mend="both sign the same file")
    try:
        terms = Terms.from_payload(first.payload)
    except InputError as error:
        raise EvidenceError(error.what, where=AGREEMENT, field=error.field) from error
    if {first.identity.key_id, second.identity.key_id} != set(terms.parties):
        raise EvidenceError("are not signed by the keys that the terms name", where=AGREEMENT)
    return terms


@dataclass(frozen=True)
class Output:
    """What the agreed room gives: the record, and what it is about. All else of it is public before."""

    terms: str
    run: str
    build: str
    record: SealedRecord

    def encode(self) -> bytes:
        """Returns the output in its one spelling, :data:`OUTPUT_BYTES` long."""
        told = {"build": self.build, "format": _FORMAT, "record": self.record.as_dict(), "run": self.run}
        return padded({**told, "terms": self.terms}, OUTPUT_BYTES)

    @classmethod
    def decode(cls, raw: bytes, terms: Terms, where: str = "output") -> "Output":
        """Reads an output that must be one under these terms.

        Raises:
            EvidenceError: it is none, or of other terms, another run, or a build that neither agreed to.
        """
        data = unpadded(raw, OUTPUT_BYTES, where)
        record = SealedRecord.from_dict(data.get("record"), where)
        output = cls(terms.digest, terms.run, str(data.get("build")), record)
        if (data.get("terms"), data.get("run")) != (terms.digest, terms.run):
            raise EvidenceError("was made under other terms", where=where)
        terms.check_build(output.build)
        if output.encode() != raw:
            raise EvidenceError("is no output of the sealed room", where=where)
        return output

    def verdict_payload(self, terms: Terms) -> dict[str, Any]:
        """Returns what each party signs: the bytes by their digest, and what they are under."""
        return {
            "terms": self.terms,
            "run": self.run,
            "build": self.build,
            "builds": list(terms.builds),
            "output": hashlib.sha256(self.encode()).hexdigest(),
            "verdict": self.record.verdict.value,
        }


def check_verdict(raw: bytes, terms: Terms, signatures: Sequence[bytes], roots: TrustRoots) -> Outcome:
    """Returns the verdict that both parties signed.

    Raises:
        EvidenceError: one signature is missing or of the same party, the bytes signed are not these or not the same,
            or the build is none that was agreed.
    """
    output = Output.decode(raw, terms)
    statements = _of_both(signatures, roots, VERDICT)
    if {statement.identity.key_id for statement in statements} != set(terms.parties):
        raise EvidenceError("is not signed by the keys that the terms name", where=VERDICT)
    for statement in statements:
        if statement.payload != output.verdict_payload(terms):
            raise EvidenceError(f"{statement.issuer} signed another output", where=VERDICT)
    return output.record.verdict
