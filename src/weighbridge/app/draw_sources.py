"""What a source of chance needs: to be announced in a frame, and to give its value once that is known."""

import time
from pathlib import Path
from typing import Any

from weighbridge.app.draw_files import read_file, read_secret
from weighbridge.app.signing_roles import require_role
from weighbridge.app.visit_fields import show_time
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.beacon import QUICKNET
from weighbridge.evidence.certificates import certificates_from_pem, public_key_of
from weighbridge.evidence.draw_check import BEACON_LEAD
from weighbridge.evidence.draw_evidence import DrawEvidence
from weighbridge.evidence.draw_folder import DRAW_ROLES, load_parties
from weighbridge.evidence.draw_form import COMMITMENT, SHARE, Frame, vrf_input
from weighbridge.evidence.draw_value import given_by_shares, opened_share
from weighbridge.evidence.keys import key_id_of
from weighbridge.evidence.trust import TrustRoots
from weighbridge.evidence.vrf import vrf_prove, vrf_public_key
from weighbridge.units import parse_count

__all__ = ["after_frame", "announce", "announce_shares", "given_by_source"]

_AHEAD = 600  # seconds to the round that is announced if none is named: time for the log to take the frame


def announce(
    source: str, *, number: str | None, vrf_key: Path | None, challenger: Path | None, roots: TrustRoots
) -> dict[str, Any]:
    """Returns what a frame says of a beacon or an ECVRF, before anybody knows what it will give.

    Raises:
        InputError: no such source, a round that is known, or something that the source needs is not named.
    """
    if source == "drand":
        first = QUICKNET.first_after(time.time() + BEACON_LEAD)
        if number is None:
            chosen = QUICKNET.first_after(time.time() + _AHEAD)
        else:
            chosen = parse_count(number, name="--round", least=1)
        if chosen < first:
            raise InputError(
                f"round {chosen} is known already, or will be before the log has the frame",
                field="--round",
                mend=f"announce round {first} or a later one",
            )
        return {"kind": "drand", "chain": QUICKNET.hash, "round": chosen}
    if source == "ecvrf":
        if vrf_key is None or challenger is None:
            raise InputError("are needed for ecvrf", field="--vrf-key and --challenger")
        chain = certificates_from_pem(read_file(challenger), where=challenger)
        require_role(tuple(chain), DRAW_ROLES[SHARE], where=challenger, roots=roots, option="--challenger")
        secret, leaf = read_secret(vrf_key, create=not vrf_key.exists()), chain[0]
        return {"kind": "ecvrf", "key": vrf_public_key(secret).hex(), "challenger": key_id_of(public_key_of(leaf))}
    raise InputError("is drand, ecvrf or commit-reveal", where=source, field="--source")


def announce_shares(folder: Path, roots: TrustRoots, *, agreed: tuple[str, str], own: str) -> dict[str, Any]:
    """Returns what a frame says of the commitments in its folder: one a party, the frame's own signer among them.

    Raises:
        InputError: a commitment is to another draw, a party made two, or too few are there.
        EvidenceError: a statement in the folder does not verify.
    """
    if not folder.is_dir():
        mend = "each party commits first, the frame's signer too: weighbridge inspect commit"
        raise InputError("no such folder", where=folder, mend=mend)
    found = [s for s in load_parties(folder, roots)[0] if s.kind == COMMITMENT]
    for statement in found:
        told = (statement.payload.get("purpose"), statement.payload.get("period"))
        if told != agreed:
            reason = f"{statement.issuer} committed to {told[0]!r:.60} in {told[1]!r:.60}, the frame is for {agreed}"
            raise InputError(reason, where=folder, mend="use one folder for a draw, and the same words for it")
    keys = [s.identity.key_id for s in found]
    if len(set(keys)) < len(keys) or len({s.issuer for s in found}) < len(found):
        raise InputError("holds two commitments by one party", where=folder, mend="begin again in a new folder")
    if own not in keys or len(keys) < 2:
        raise InputError(
            f"holds commitments by {', '.join(s.issuer for s in found) or 'nobody'}; the signer of the frame and"
            " another party are needed, so that neither has to trust anybody",
            where=folder,
            mend="commit with: weighbridge inspect commit",
        )
    return {"kind": "commit-reveal", "commitments": sorted(s.id for s in found)}


def after_frame(stated: Frame, *, logged: bool) -> str:
    """Returns what to do next, and until when."""
    if stated.source["kind"] == "drand":
        known = show_time(QUICKNET.time_of(stated.source["round"]))
        bare = "" if logged else "No log took the frame (--spool): nothing will show that it came before the round. "
        return f"{bare}Round {stated.source['round']} is known from {known}: weighbridge inspect draw --signature HEX"
    by = show_time(stated.reveal_by or 0)
    who = "Every party opens its share" if stated.source["kind"] == "commit-reveal" else "The challenger answers"
    return f"{who} until {by}: weighbridge inspect reveal"


def given_by_source(
    evidence: DrawEvidence, stated: Frame, *, signature: str | None, vrf_key: Path | None
) -> dict[str, Any]:
    """Returns what a draw says of its source.

    Raises:
        InputError: a signature, secret or share is missing or another one.
        EvidenceError: a challenger's share does not verify.
    """
    kind = stated.source["kind"]
    if kind == "drand":
        if signature is None:
            known = show_time(QUICKNET.time_of(stated.source["round"]))
            raise InputError(
                f"is needed: round {stated.source['round']} is known from {known} on",
                field="--signature",
                mend=f"copy signature from https://api.drand.sh/{QUICKNET.hash}/public/{stated.source['round']}",
            )
        return {"round": stated.source["round"], "signature": signature}
    if kind == "ecvrf":
        if vrf_key is None:
            raise InputError("is needed for ecvrf", field="--vrf-key")
        secret = read_secret(vrf_key, create=False)
        if vrf_public_key(secret).hex() != stated.source["key"]:
            raise InputError("is not the key that the frame announced", where=vrf_key)
        share = evidence.parties.share_of(stated.source["challenger"], evidence.frame.id)
        proof = vrf_prove(secret, vrf_input(evidence.frame.id, opened_share(share)))
        return {"proof": proof.hex(), "share": share.id}
    try:
        return given_by_shares(stated, evidence.frame.id, evidence.parties)
    except EvidenceError as error:
        raise InputError(error.what, where=error.where, mend="await every party's share") from error
