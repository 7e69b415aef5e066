"""What the inspector fixed and logged before anything ran: rule, error, capacity, limits (protocol section 6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.ledger.account import Capacity
from weighbridge.rules import Rule

__all__ = ["Policy"]


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
        audits: how many snapshot records are audited a run; None: all.
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
            EvidenceError: a field is missing or out of range.
        """
        try:
            capacity = payload["capacity"]
            policy = cls(
                rule=Rule.model_validate_json(_json(payload["rule"])),
                operators=tuple(str(name) for name in payload["operators"]),
                alpha=float(payload["alpha"]),
                capacity=Capacity(float(capacity["flop_per_s"]), str(capacity["format"])),
                nonce_commitment=str(payload["nonce_commitment"]),
                late_limit_s=float(payload["late_limit_s"]),
                cpu_ratio_limit=float(payload["cpu_ratio_limit"]),
                unexplained_limit_bytes=int(payload["unexplained_limit_bytes"]),
                audits=None if payload["audits"] is None else int(payload["audits"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceError(f"is not a readable plan ({error})", where="inspection-plan") from error
        if not 0 < policy.alpha < 1 or not policy.operators:
            raise EvidenceError("alpha must lie between 0 and 1, and operators be named", where="inspection-plan")
        return policy


def _json(value: Any) -> str:
    import json

    return json.dumps(value)
