"""What chance gave for a frame, recomputed from what was signed: the same few lines make a draw and check it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.beacon import QUICKNET, Chain, verify_round
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.draw_form import COMMITMENT, SHARE, Frame, require_fields, share_commitment, shares_value
from weighbridge.evidence.draw_form import vrf_input as alpha_of
from weighbridge.evidence.draws import draw_order, frame_seed
from weighbridge.evidence.population import Population
from weighbridge.evidence.statement import Statement
from weighbridge.evidence.vrf import PROOF_BYTES, vrf_verify

__all__ = ["Parties", "draw_payload", "given_by_shares", "source_value"]

_SHARE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Parties:
    """What the parties to a draw signed.

    Attributes:
        commitments: statements of kind ``draw-commitment``.
        shares: statements of kind ``draw-share``.
    """

    commitments: Sequence[Statement] = ()
    shares: Sequence[Statement] = ()

    def opened_by(self, key_id: str, frame_id: str) -> list[Statement]:
        """Returns every share by which a key opened itself for a frame."""
        return [s for s in self.shares if s.identity.key_id == key_id and s.payload.get("frame") == frame_id]

    def share_of(self, key_id: str, frame_id: str) -> Statement:
        """Returns the one share by which a key opened itself for a frame.

        Raises:
            EvidenceError: there is none, or there are two that differ.
        """
        own = self.opened_by(key_id, frame_id)
        if not own:
            who = next(
                (s.issuer for s in self.commitments if s.identity.key_id == key_id),
                f"the challenger, key {key_id[:16]},",
            )
            raise EvidenceError(f"{who} has opened no share", where=f"frame {frame_id[:16]}")
        if len({opened_share(statement) for statement in own}) > 1:
            raise EvidenceError(f"{own[0].issuer} opened two different shares", where=f"frame {frame_id[:16]}")
        return own[0]

    def committed(self, frame: Frame, frame_id: str) -> list[Statement]:
        """Returns the commitments that a frame names, each by another party.

        Raises:
            EvidenceError: one is not at hand, is for another draw, two are by one party, or none is by an inspector.
        """
        at_hand = {statement.id: statement for statement in self.commitments}
        where = f"frame {frame_id[:16]}"
        found = []
        for identifier in frame.source["commitments"]:
            if identifier not in at_hand:
                raise EvidenceError(f"commitment {identifier[:16]} is not at hand", where=where)
            statement = at_hand[identifier]
            payload = require_fields(statement, COMMITMENT, frozenset({"purpose", "period", "commitment"}))
            if (payload["purpose"], payload["period"]) != (frame.purpose, frame.period):
                raise EvidenceError(f"{statement.issuer} committed to another draw", where=where)
            found.append(statement)
        if len({s.identity.key_id for s in found}) < len(found) or len({s.issuer for s in found}) < len(found):
            raise EvidenceError("one party made two of the commitments", where=where)
        if not any(s.role == Role.INSPECTOR for s in found):
            raise EvidenceError("no inspector is a party: the others could agree on a draw", where=where)
        return found


def opened_share(statement: Statement) -> bytes:
    """Returns the 32 bytes of a share.

    Raises:
        EvidenceError: it is no share.
    """
    value = require_fields(statement, SHARE, frozenset({"frame", "share"}))["share"]
    if not isinstance(value, str) or not _SHARE.fullmatch(value):
        raise EvidenceError("is not 32 bytes in hexadecimal", where=f"share {statement.id[:16]}", field="share")
    return bytes.fromhex(value)


def given_by_shares(frame: Frame, frame_id: str, parties: Parties) -> dict[str, Any]:
    """Returns what a draw by commit-reveal says of its source: the shares, by id.

    Raises:
        EvidenceError: a commitment or share is missing or does not fit.
    """
    committed = parties.committed(frame, frame_id)
    return {"shares": sorted(parties.share_of(s.identity.key_id, frame_id).id for s in committed)}


def source_value(
    frame_statement: Statement, frame: Frame, given: Mapping[str, Any], parties: Parties, *, chain: Chain = QUICKNET
) -> bytes:
    """Returns what the announced source gave, verified.

    Args:
        frame_statement: the frame's statement.
        frame: what it says.
        given: what the draw says of its source.
        parties: commitments and shares at hand.
        chain: the beacon whose rounds count.

    Raises:
        EvidenceError: it is not what the frame announced, or does not verify.
    """
    where = f"frame {frame_statement.id[:16]}"
    kind = frame.source["kind"]
    expected = {"drand": {"round", "signature"}, "ecvrf": {"proof", "share"}, "commit-reveal": {"shares"}}[kind]
    if set(given) != expected:
        raise EvidenceError(f"a draw by {kind} says {' and '.join(sorted(expected))}", where=where, field="source")
    if kind == "drand":
        if frame.source["chain"] != chain.hash:
            raise EvidenceError("announces another beacon than the one that is trusted", where=where, field="source")
        if given["round"] != frame.source["round"]:
            raise EvidenceError(
                f"announces round {frame.source['round']}, drawn with round {given['round']}", where=where
            )
        return verify_round(given["round"], given["signature"], chain=chain)
    if kind == "ecvrf":
        challenger = frame.source["challenger"]
        if challenger == frame_statement.identity.key_id:
            raise EvidenceError("its own signer is the challenger", where=where, field="source")
        share = parties.share_of(challenger, frame_statement.id)
        if given["share"] != share.id:
            raise EvidenceError("drawn with another share than the challenger's", where=where, field="source")
        proof = _proof(given["proof"], where)
        return vrf_verify(bytes.fromhex(frame.source["key"]), proof, alpha_of(frame_statement.id, opened_share(share)))
    shares = {}
    for commitment in parties.committed(frame, frame_statement.id):
        key_id = commitment.identity.key_id
        opened = parties.share_of(key_id, frame_statement.id)
        shares[key_id] = opened_share(opened)
        if share_commitment(shares[key_id], key_id=key_id) != commitment.payload["commitment"]:
            raise EvidenceError(f"{opened.issuer} opened another share than it committed to", where=where)
    if given["shares"] != given_by_shares(frame, frame_statement.id, parties)["shares"]:
        raise EvidenceError("drawn with other shares than the parties'", where=where, field="source")
    return shares_value(shares)


def draw_payload(
    frame_statement: Statement,
    frame: Frame,
    population: Population,
    given: Mapping[str, Any],
    parties: Parties,
    *,
    chain: Chain = QUICKNET,
) -> dict[str, Any]:
    """Returns the payload of the one draw that follows from a frame; see :func:`source_value`.

    Raises:
        EvidenceError: the population is not the frozen one, or the source does not verify.
    """
    if population.commitment != frame.population or len(population.items) != frame.size:
        raise EvidenceError("is not the population that was frozen", where=f"frame {frame_statement.id[:16]}")
    value = source_value(frame_statement, frame, given, parties, chain=chain)
    seed = frame_seed(
        bytes.fromhex(frame_statement.id),
        source=frame.source["kind"],
        value=value,
        purpose=frame.purpose,
        period=frame.period,
    )
    order = draw_order(population.ids, frame.count + frame.reserves, seed=seed)
    return {
        "frame": frame_statement.id,
        "source": dict(given),
        "seed": seed.hex(),
        "drawn": order[: frame.count],
        "reserves": order[frame.count :],
    }


def _proof(value: object, where: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{2 * PROOF_BYTES}}}", value):
        raise EvidenceError("is not a proof in hexadecimal", where=where, field="proof")
    return bytes.fromhex(value)
