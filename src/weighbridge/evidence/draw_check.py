"""Checking a draw, by anybody and without I/O: statements, population and log times in, findings out.

1. ``draw.population``: the list is the one that was frozen.
2. ``draw.order``: the frame was fixed before anybody could know the chance.
3. ``draw.reveal``: every party opened its share, once and in time. Not opening is a failure, by name.
4. ``draw.source``: the chance is what the frame announced, and verifies.
5. ``draw.seed``, ``draw.selection``: seed and items follow from it.
6. ``draw.single``: one frame for a purpose and period, one draw for a frame.

What it cannot show: that the list was complete, and that no second draw was made where there is no log to see it in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from weighbridge.errors import EvidenceError
from weighbridge.evidence.beacon import QUICKNET, Chain
from weighbridge.evidence.draw_form import DRAW, FRAME, Frame
from weighbridge.evidence.draw_value import Parties, draw_payload
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.population import Population
from weighbridge.evidence.statement import Statement

__all__ = ["BEACON_LEAD", "DrawEvidence", "check_draw"]

BEACON_LEAD = 30.0
"""Seconds by which the log must have taken a frame before its round is known: ten rounds of quicknet, for clocks."""
_FIELDS = frozenset({"frame", "source", "seed", "drawn", "reserves"})


@dataclass(frozen=True, kw_only=True)
class DrawEvidence:
    """What is at hand of one draw, every statement's signature and role verified.

    Attributes:
        frame: the frame's statement.
        population: the list; None if it was not opened.
        parties: commitments and shares.
        draws: statements of kind ``draw``; none while nothing is drawn.
        logged_at: times at which the log took statements, Unix seconds, by id; from receipts or the log itself.
        log: the log's statements of the kinds of a draw, in its order; None without a log.
    """

    frame: Statement
    population: Population | None
    parties: Parties = field(default_factory=Parties)
    draws: Sequence[Statement] = ()
    logged_at: Mapping[str, float] = field(default_factory=dict)
    log: Sequence[Statement] | None = None


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
    findings.append(_single(evidence, frame))
    return findings


def _population(evidence: DrawEvidence, frame: Frame) -> Finding:
    population = evidence.population
    if population is None:
        return _finding(evidence, "population", Outcome.INCONCLUSIVE, "not checked: the list is not at hand")
    if len(population.items) != frame.size:
        reason = f"the list has {len(population.items)} items, {frame.size} were frozen"
        return _finding(evidence, "population", Outcome.FAIL, reason)
    if population.commitment != frame.population:
        return _finding(evidence, "population", Outcome.FAIL, "the list was changed after it was frozen")
    return _finding(evidence, "population", Outcome.PASS, f"the list of {frame.size} items is the frozen one")


def _order(evidence: DrawEvidence, frame: Frame, chain: Chain) -> Finding:
    if frame.source["kind"] != "drand":
        reason = "the shares name the frame by its digest, so it is older than they are"
        return _finding(evidence, "order", Outcome.PASS, reason)
    number = frame.source["round"]
    taken = evidence.logged_at.get(evidence.frame.id)
    if taken is None:
        reason = f"not checked: no receipt shows that the frame is older than round {number}"
        return _finding(evidence, "order", Outcome.INCONCLUSIVE, reason)
    ahead = chain.time_of(number) - taken
    if ahead < BEACON_LEAD:
        when = f"{ahead:.0f} s before" if ahead >= 0 else f"{-ahead:.0f} s after"
        reason = f"the log took the frame {when} round {number} was known; {BEACON_LEAD:.0f} s before are needed"
        return _finding(evidence, "order", Outcome.FAIL, reason, figure=ahead, unit="s")
    reason = f"the log took the frame {ahead:.0f} s before round {number} was known"
    return _finding(evidence, "order", Outcome.PASS, reason, figure=ahead, unit="s")


def _reveals(evidence: DrawEvidence, frame: Frame, now: float) -> Iterator[Finding]:
    if frame.reveal_by is None:
        return
    try:
        awaited = _awaited(evidence, frame)
    except EvidenceError as error:
        yield _finding(evidence, "reveal", Outcome.FAIL, str(error))
        return
    for key_id, name in awaited.items():
        try:
            share = evidence.parties.share_of(key_id, evidence.frame.id)
        except EvidenceError as error:
            if "opened no share" not in error.what:
                yield _finding(evidence, "reveal", Outcome.FAIL, error.what)
            elif now > frame.reveal_by:
                late = now - frame.reveal_by
                reason = f"{name} did not open its share and is {late:.0f} s late: the draw was aborted by {name}"
                yield _finding(evidence, "reveal", Outcome.FAIL, reason, figure=late, unit="s")
            else:
                yield _finding(evidence, "reveal", Outcome.INCONCLUSIVE, f"{name} has not opened its share yet")
            continue
        opened = evidence.logged_at.get(share.id, float(share.issued_at))
        if opened > frame.reveal_by:
            reason = f"{name} opened its share {opened - frame.reveal_by:.0f} s late, when it may have seen the others'"
            yield _finding(evidence, "reveal", Outcome.FAIL, reason, used=(share.id,))
        else:
            yield _finding(evidence, "reveal", Outcome.PASS, f"{name} opened its share in time", used=(share.id,))


def _awaited(evidence: DrawEvidence, frame: Frame) -> dict[str, str]:
    """Returns the parties that owe a share: names by key id."""
    if frame.source["kind"] == "ecvrf":
        key_id = frame.source["challenger"]
        names = [s.issuer for s in evidence.parties.shares if s.identity.key_id == key_id]
        return {key_id: names[0] if names else f"challenger {key_id[:16]}"}
    return {s.identity.key_id: s.issuer for s in evidence.parties.committed(frame, evidence.frame.id)}


def _not_drawn(evidence: DrawEvidence, frame: Frame, now: float) -> Finding:
    if frame.source["kind"] == "ecvrf" and frame.reveal_by is not None and now > frame.reveal_by:
        key_id = frame.source["challenger"]
        if any(s.identity.key_id == key_id for s in evidence.parties.shares):
            reason = f"challenged and overdue, {evidence.frame.issuer} has not drawn: the draw was aborted"
            return _finding(evidence, "source", Outcome.FAIL, reason)
    return _finding(evidence, "source", Outcome.INCONCLUSIVE, "nothing has been drawn yet")


def _followed(evidence: DrawEvidence, frame: Frame, chain: Chain, now: float) -> Iterator[Finding]:
    own = [s for s in evidence.draws if s.payload.get("frame") == evidence.frame.id]
    for statement in evidence.draws:
        if statement not in own:
            yield _finding(evidence, "source", Outcome.FAIL, "a draw is from another frame", used=(statement.id,))
    if not own:
        yield _not_drawn(evidence, frame, now)
    for statement in own:
        used = (statement.id,)
        if set(statement.payload) != _FIELDS or not isinstance(statement.payload["source"], Mapping):
            yield _finding(evidence, "source", Outcome.FAIL, "the draw is not of the known form", used=used)
            continue
        if evidence.population is None:
            yield _finding(evidence, "selection", Outcome.INCONCLUSIVE, "not checked: no list", used=used)
            continue
        try:
            due = draw_payload(
                evidence.frame, frame, evidence.population, statement.payload["source"], evidence.parties, chain=chain
            )
        except EvidenceError as error:
            yield _finding(evidence, "source", Outcome.FAIL, str(error), used=used)
            continue
        reason = f"the chance by {frame.source['kind']} is what the frame announced, and verifies"
        yield _finding(evidence, "source", Outcome.PASS, reason, used=used)
        if statement.payload["seed"] != due["seed"]:
            yield _finding(evidence, "seed", Outcome.FAIL, "the seed does not follow from the frame", used=used)
        else:
            yield _finding(evidence, "seed", Outcome.PASS, "the seed follows from frame and chance", used=used)
        wrong = [name for name in ("drawn", "reserves") if statement.payload[name] != due[name]]
        if wrong:
            reason = f"{' and '.join(wrong)} are not the items that the seed draws"
            yield _finding(evidence, "selection", Outcome.FAIL, reason, used=used)
        else:
            reason = (
                f"{frame.count} of {frame.size} items and {frame.reserves} in reserve are those that the seed draws"
            )
            yield _finding(evidence, "selection", Outcome.PASS, reason, used=used)


def _single(evidence: DrawEvidence, frame: Frame) -> Finding:
    draws = {s.id for s in (*evidence.draws, *(evidence.log or ())) if _draws_for(s, evidence.frame.id)}
    if len(draws) > 1:
        reason = f"{len(draws)} draws were signed for one frame"
        return _finding(evidence, "single", Outcome.FAIL, reason, used=tuple(sorted(draws)))
    if evidence.log is None:
        if frame.source["kind"] == "commit-reveal":
            reason = "a second draw would need a second share of every party"
            return _finding(evidence, "single", Outcome.PASS, reason)
        reason = "not checked: a second draw would show in the log, and none is at hand"
        return _finding(evidence, "single", Outcome.INCONCLUSIVE, reason)
    frames = [s for s in evidence.log if s.kind == FRAME]
    if evidence.frame.id not in {s.id for s in frames}:
        return _finding(evidence, "single", Outcome.FAIL, "the frame is not in the log")
    asked = (frame.purpose.casefold(), frame.period.casefold())
    same = [s.id for s in frames if _for(s) == asked]
    if len(same) > 1:
        reason = f"{len(same)} frames were logged for {frame.purpose} in {frame.period}: one of them could be chosen"
        return _finding(evidence, "single", Outcome.FAIL, reason, used=tuple(same))
    drawn = {s.payload.get("frame") for s in evidence.log if s.kind == DRAW}
    idle = sum(1 for s in frames if s.id not in drawn and s.id != evidence.frame.id)
    reason = (
        f"the log holds one frame for {frame.purpose} in {frame.period}; of {len(frames) - 1} others, {idle} undrawn"
    )
    return _finding(evidence, "single", Outcome.PASS, reason, figure=float(idle), unit="frames without a draw")


def _for(statement: Statement) -> tuple[str, str]:
    purpose, period = (str(statement.payload.get(name)).casefold() for name in ("purpose", "period"))
    return purpose, period


def _draws_for(statement: Statement, frame_id: str) -> bool:
    return statement.kind == DRAW and statement.payload.get("frame") == frame_id


def _finding(
    evidence: DrawEvidence,
    check: str,
    outcome: Outcome,
    reason: str,
    *,
    figure: float | None = None,
    unit: str | None = None,
    used: tuple[str, ...] = (),
) -> Finding:
    return Finding(
        check=f"draw.{check}",
        subject=evidence.frame.id,
        outcome=outcome,
        reason=reason,
        figure=figure,
        unit=unit,
        evidence=(evidence.frame.id, *used),
    )
