"""What the inspector fixed and logged before anything ran: rule, error, capacity, limits (protocol section 6)."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.ledger.account import Capacity
from weighbridge.rules import Rule
from weighbridge.rules.work import BITS

__all__ = ["Policy"]

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The inspection plan's payload, typed.

    Attributes:
        rule: the rule that the inspection applies.
        operators: names of those inspected; each gets one bound.
        alpha: chance that one operator's bound is wrong.
        capacity: of one chip, measured by the verifier before any run.
        nonce_commitment: SHA-256 of the inspector's nonce key.
        late_limit_s: latest honest freeze.
        cpu_ratio_limit: most signed CPU time a step over what replay needs, before it is a finding.
        unexplained_limit_bytes: most non-zero bytes beyond what the verifier's own replay holds.
        audits: how many snapshot records are drawn for audit, of all chips together; None: all.
    """

    rule: Rule
    operators: tuple[str, ...]
    alpha: float
    capacity: Capacity
    nonce_commitment: str
    late_limit_s: float
    cpu_ratio_limit: float
    unexplained_limit_bytes: int
    audits: int | None

    @property
    def alpha_together(self) -> float:
        """Chance that any of the bounds is wrong: a union bound over all of them, used or not."""
        return min(1.0, self.alpha * len(self.operators))

    @property
    def unexplained_limit_flop(self) -> float:
        """What a model whose training state fills the unexplained limit could be trained to, in FLOP.

        Weights, gradients and two moments in four bytes each, 20 tokens a parameter (Hoffmann et al. 2022):
        N = bytes / 16, C = 6 N · 20 N.
        """
        return 120.0 * (self.unexplained_limit_bytes / 16) ** 2

    def as_payload(self) -> dict[str, Any]:
        """Returns the statement's payload."""
        return {
            "rule": self.rule.model_dump(mode="json", exclude_none=True),
            "operators": list(self.operators),
            "alpha": self.alpha,
            "capacity": {"flop_per_s": self.capacity.flop_per_s, "format": self.capacity.format},
            "nonce_commitment": self.nonce_commitment,
            "late_limit_s": self.late_limit_s,
            "cpu_ratio_limit": self.cpu_ratio_limit,
            "unexplained_limit_bytes": self.unexplained_limit_bytes,
            "audits": self.audits,
            "bounds": "one exposure bound an operator at level A; none at levels B and C",
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> "Policy":
        """Reads a logged plan.

        Raises:
            EvidenceError: a field is missing, of another type or out of range; nothing is guessed or rounded.
        """
        where = "inspection-plan"
        try:
            capacity = payload["capacity"]
            policy = cls(
                rule=Rule.model_validate_json(json.dumps(payload["rule"])),
                operators=tuple(_names(payload["operators"])),
                alpha=float(payload["alpha"]),
                capacity=Capacity(float(capacity["flop_per_s"]), str(capacity["format"])),
                nonce_commitment=str(payload["nonce_commitment"]),
                late_limit_s=float(payload["late_limit_s"]),
                cpu_ratio_limit=float(payload["cpu_ratio_limit"]),
                unexplained_limit_bytes=_whole(payload["unexplained_limit_bytes"]),
                audits=None if payload["audits"] is None else _whole(payload["audits"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceError(f"is not a readable plan ({error})", where=where) from error
        for field, holds, wanted in policy._ranges():
            if not holds:
                raise EvidenceError(wanted, where=where, field=field)
        return policy

    def _ranges(self) -> Iterator[tuple[str, bool, str]]:
        """Yields each field that could be out of range, whether it holds, and what it must be."""
        digest = self.nonce_commitment
        yield "alpha", 0 < self.alpha < 1, "must lie between 0 and 1"
        yield "operators", all(self.operators) and len(self.operators) > 0, "must be named"
        yield "operators", len(set(self.operators)) == len(self.operators), "must not be named twice"
        yield "capacity", self.capacity.format in BITS, "must be of a known number format"
        yield "nonce_commitment", len(digest) == 64 and set(digest) <= _HEX, "must be a SHA-256, in hex"
        yield "late_limit_s", 0 <= self.late_limit_s < math.inf, "must be a number of at least 0"
        yield "cpu_ratio_limit", 1 < self.cpu_ratio_limit < math.inf, "must be a number above 1"
        yield "unexplained_limit_bytes", self.unexplained_limit_bytes >= 0, "must be at least 0"
        yield "audits", self.audits is None or self.audits >= 1, "must be null, for all, or at least 1"


def _names(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("operators must be a list of names")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value
