"""Checking a draw, by anybody and without I/O: statements, population and log times in, findings out.

1. ``draw.population``: the list is the one that was frozen.
2. ``draw.order``: the frame was fixed before anybody could know the chance.
3. ``draw.reveal``: every party opened its share, once and in time. Not opening is a failure, by name.
4. ``draw.source``: the chance is what the frame announced, and verifies.
5. ``draw.seed``, ``draw.selection``: seed and items follow from it.
6. ``draw.single``: one frame for a purpose and period, one draw for a frame.

What it cannot show: that the list was complete, and that no second draw was made where there is no log to see it in.
"""

from collections.abc import Iterator, Mapping

from weighbridge.errors import EvidenceError
from weighbridge.evidence.beacon import QUICKNET, Chain
from weighbridge.evidence.draw_evidence import DrawEvidence, draw_finding
from weighbridge.evidence.draw_form import Frame
from weighbridge.evidence.draw_single import single
from weighbridge.evidence.draw_value import draw_payload
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement

__all__ = ["BEACON_LEAD", "DRAW_WITHIN", "check_draw"]

BEACON_LEAD = 30.0
"""Seconds by which the log must have taken a frame before its round is known: ten rounds of quicknet, for clocks."""
DRAW_WITHIN = 86_400.0
"""Seconds after the chance is known in which the frame's signer draws: who waits has seen what would be drawn."""
_FIELDS = frozenset({"frame", "source", "seed", "drawn", "reserves"})


def check_draw(evidence: DrawEvidence, *, now: float, chain: Chain = QUICKNET) -> list[Finding]:
    """Returns what the checks conclude; see the module.

    Args:
        evidence: what is at hand.
        now: the reader's clock, Unix seconds: decides whether a share is overdue.
        chain: the beacon whose rounds count.

    Raises:
        EvidenceError: the frame itself cannot be read.
    """
    frame = Frame.from_statement(evidence.frame)
    findings = [_population(evidence, frame), _order(evidence, frame, chain)]
    findings += _reveals(evidence, frame, now)
    findings += _followed(evidence, frame, chain, now)
    findings.append(single(evidence, frame))
    return findings


def _population(evidence: DrawEvidence, frame: Frame) -> Finding:
    population = evidence.population
    if population is None:
        return draw_finding(evidence, "population", Outcome.INCONCLUSIVE, "not checked: the list is not at hand")
    if len(population.items) != frame.size:
        reason = f"the list has {len(population.items)} items, {frame.size} were frozen"
        return draw_finding(evidence, "population", Outcome.FAIL, reason)
    if population.commitment != frame.population:
        return draw_finding(evidence, "population", Outcome.FAIL, "the list was changed after it was frozen")
    return draw_finding(evidence, "population", Outcome.PASS, f"the list of {frame.size} items is the frozen one")


def _order(evidence: DrawEvidence, frame: Frame, chain: Chain) -> Finding:
    if frame.source["kind"] != "drand":
        reason = "the shares name the frame by its digest, so it is older than they are"
        return draw_finding(evidence, "order", Outcome.PASS, reason)
    number = frame.source["round"]
    taken = evidence.logged_at.get(evidence.frame.id)
    if taken is None:
        reason = f"not checked: no receipt shows that the frame is older than round {number}"
        return draw_finding(evidence, "order", Outcome.INCONCLUSIVE, reason)
    ahead = chain.time_of(number) - taken
    if ahead < BEACON_LEAD:
        when = f"{ahead:.0f} s before" if ahead >= 0 else f"{-ahead:.0f} s after"
        reason = f"the log took the frame {when} round {number} was known; {BEACON_LEAD:.0f} s before are needed"
        return draw_finding(evidence, "order", Outcome.FAIL, reason, figure=ahead, unit="s")
    reason = f"the log took the frame {ahead:.0f} s before round {number} was known"
    return draw_finding(evidence, "order", Outcome.PASS, reason, figure=ahead, unit="s")


def _reveals(evidence: DrawEvidence, frame: Frame, now: float) -> Iterator[Finding]:
    if frame.reveal_by is None:
        return
    try:
        awaited = _awaited(evidence, frame)
    except EvidenceError as error:
        yield draw_finding(evidence, "reveal", Outcome.FAIL, str(error))
        return
    for key_id, name in awaited.items():
        if not evidence.parties.opened_by(key_id, evidence.frame.id):
            if now > frame.reveal_by:
                late = now - frame.reveal_by
                reason = f"{name} did not open its share and is {late:.0f} s late: the draw was aborted by {name}"
                yield draw_finding(evidence, "reveal", Outcome.FAIL, reason, figure=late, unit="s")
            else:
                yield draw_finding(evidence, "reveal", Outcome.INCONCLUSIVE, f"{name} has not opened its share yet")
            continue
        try:
            share = evidence.parties.share_of(key_id, evidence.frame.id)
        except EvidenceError as error:
            yield draw_finding(evidence, "reveal", Outcome.FAIL, error.what)
            continue
        outcome, reason = _in_time(evidence, share, frame.reveal_by)
        yield draw_finding(evidence, "reveal", outcome, f"{name} {reason}", used=(share.id,))


def _in_time(evidence: DrawEvidence, share: Statement, by: int) -> tuple[Outcome, str]:
    """Judges when a share was opened: a log and another's draw say when at the latest, its own clock only what it says.

    A share that somebody brings to the log long after it was used was not opened late: else whoever dislikes what was
    drawn could undo it.
    """
    told, given = float(share.issued_at), [s for s in evidence.draws if share.id in _shares_used(s)]
    shown = [evidence.logged_at[s.id] for s in (share, *given) if s.id in evidence.logged_at]
    shown += [float(s.issued_at) for s in given if s.identity.key_id != share.identity.key_id]
    if shown and min(shown) <= by:
        return Outcome.PASS, "opened its share in time"
    if told > by:
        return Outcome.FAIL, f"opened its share {told - by:.0f} s late, when it may have seen the others'"
    if shown:
        late = min(shown) - by
        return Outcome.INCONCLUSIVE, f"opened its share in time by its own clock; others saw it {late:.0f} s late"
    return Outcome.PASS, "opened its share in time, by its own clock"


def _shares_used(statement: Statement) -> list[object]:
    source = statement.payload.get("source")
    if not isinstance(source, Mapping):
        return []
    several = source.get("shares")
    return [source.get("share"), *(several if isinstance(several, list) else ())]


def _awaited(evidence: DrawEvidence, frame: Frame) -> dict[str, str]:
    """Returns the parties that owe a share: names by key id."""
    if frame.source["kind"] == "ecvrf":
        key_id = frame.source["challenger"]
        names = [s.issuer for s in evidence.parties.shares if s.identity.key_id == key_id]
        return {key_id: names[0] if names else f"challenger {key_id[:16]}"}
    return {s.identity.key_id: s.issuer for s in evidence.parties.committed(frame, evidence.frame.id)}


def _not_drawn(evidence: DrawEvidence, frame: Frame, chain: Chain, now: float) -> Finding:
    due = _chance_known(evidence, frame, chain)
    if due is not None and now > due + DRAW_WITHIN:
        hours, signer = (now - due) / 3_600, evidence.frame.issuer
        reason = f"the chance has been known for {hours:.0f} h and {signer} has not drawn: the draw was aborted"
        return draw_finding(evidence, "source", Outcome.FAIL, reason, figure=hours, unit="h")
    return draw_finding(evidence, "source", Outcome.INCONCLUSIVE, "nothing has been drawn yet")


def _chance_known(evidence: DrawEvidence, frame: Frame, chain: Chain) -> float | None:
    """Returns when at the latest whoever signed the frame could draw, or None while it could not."""
    if frame.source["kind"] == "drand":
        return float(chain.time_of(frame.source["round"])) if frame.source["chain"] == chain.hash else None
    try:
        shares = [evidence.parties.share_of(key_id, evidence.frame.id) for key_id in _awaited(evidence, frame)]
    except EvidenceError:  # findings name who has not opened
        return None
    return max([*(float(share.issued_at) for share in shares), float(frame.reveal_by or 0)])


def _followed(evidence: DrawEvidence, frame: Frame, chain: Chain, now: float) -> Iterator[Finding]:
    own = [s for s in evidence.draws if s.payload.get("frame") == evidence.frame.id]
    for statement in evidence.draws:
        if statement not in own:
            yield draw_finding(evidence, "source", Outcome.FAIL, "a draw is from another frame", used=(statement.id,))
    if not own:
        yield _not_drawn(evidence, frame, chain, now)
    for statement in own:
        used = (statement.id,)
        if set(statement.payload) != _FIELDS or not isinstance(statement.payload["source"], Mapping):
            yield draw_finding(evidence, "source", Outcome.FAIL, "the draw is not of the known form", used=used)
            continue
        if evidence.population is None:
            yield draw_finding(evidence, "selection", Outcome.INCONCLUSIVE, "not checked: no list", used=used)
            continue
        try:
            due = draw_payload(
                evidence.frame, frame, evidence.population, statement.payload["source"], evidence.parties, chain=chain
            )
        except EvidenceError as error:
            yield draw_finding(evidence, "source", Outcome.FAIL, str(error), used=used)
            continue
        reason = (
            f"the chance by {frame.source['kind']} is what the frame announced, and verifies{_unless(evidence, frame)}"
        )
        yield draw_finding(evidence, "source", Outcome.PASS, reason, used=used)
        if statement.payload["seed"] != due["seed"]:
            yield draw_finding(evidence, "seed", Outcome.FAIL, "the seed does not follow from the frame", used=used)
        else:
            yield draw_finding(evidence, "seed", Outcome.PASS, "the seed follows from frame and chance", used=used)
        wrong = [name for name in ("drawn", "reserves") if statement.payload[name] != due[name]]
        if wrong:
            reason = f"{' and '.join(wrong)} are not the items that the seed draws"
            yield draw_finding(evidence, "selection", Outcome.FAIL, reason, used=used)
        else:
            reason = (
                f"{frame.count} of {frame.size} items and {frame.reserves} in reserve are those that the seed draws"
            )
            yield draw_finding(evidence, "selection", Outcome.PASS, reason, used=used)


def _unless(evidence: DrawEvidence, frame: Frame) -> str:
    """Returns who could have steered the draw together: nobody else could."""
    if frame.source["kind"] == "drand":
        return ""
    keys = set(_awaited(evidence, frame))
    signers = {s.identity.key_id: f"{s.issuer} ({s.role})" for s in (*evidence.parties.shares, evidence.frame)}
    if frame.source["kind"] == "ecvrf":
        keys.add(evidence.frame.identity.key_id)
    return f"; only {' and '.join(sorted(signers[key] for key in keys))} together could have steered it"
