"""Which snapshot records are audited: drawn only when the log has fixed every claim (protocol section 4.3).

The draw's seed follows from the log's root at the close and the key that the inspector committed to before any run,
so that neither side can steer it and anybody can repeat it once the key is revealed.
"""

import hashlib
from collections.abc import Callable

from weighbridge.errors import EvidenceError
from weighbridge.evidence.draws import draw, draw_seed
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.records import readable
from weighbridge.ledger.workspace import Logged, Workspace

__all__ = ["audit_draw", "revealed_key"]


def revealed_key(closed: Logged, policy: Policy) -> bytes:
    """Returns the nonce key that the close reveals.

    Raises:
        EvidenceError: it is not the one committed to in the plan.
    """
    try:
        key = bytes.fromhex(str(closed.payload.get("nonce_key", "")))
    except ValueError:
        key = b""
    if len(key) != 32 or hashlib.sha256(key).hexdigest() != policy.nonce_commitment:
        raise EvidenceError(
            "the key that the close reveals is not the committed one", where="inspection-close", field="nonce_key"
        )
    return key


def audit_draw(workspace: Workspace, policy: Policy) -> Callable[[str, int], bool]:
    """Returns whether a record, by chip and sequence, was drawn for audit.

    Raises:
        EvidenceError: the inspection is not closed, or its key not the committed one.
    """
    closed = workspace.single("inspection-close")
    key = revealed_key(closed, policy)
    if policy.audits is None:
        return lambda chip, sequence: True
    population = sorted(
        record.name
        for logged in workspace.chip_records().values()
        for record, _ in readable(logged)
        if record.reason == "sample"
    )
    seed = draw_seed("audits", checkpoint_root=workspace.log.root_at(closed.index), secret=key)
    chosen = set(draw(population, min(policy.audits, len(population)), seed=seed))
    return lambda chip, sequence: f"{chip}#{sequence}" in chosen
