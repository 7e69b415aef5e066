"""Whether a draw was the only one: a frame for a purpose and period, a draw for a frame (``draw.single``)."""

from collections.abc import Iterable

from weighbridge.evidence.draw_evidence import DrawEvidence, draw_finding
from weighbridge.evidence.draw_form import COMMITMENT, DRAW, FRAME, Frame
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import Statement

__all__ = ["single"]


def single(evidence: DrawEvidence, frame: Frame) -> Finding:
    """Returns whether the log shows a second frame or draw, and what frames that were given up are worth."""
    draws = {s.id: s for s in (*evidence.draws, *(evidence.log or ())) if _draws_for(s, evidence.frame.id)}
    if len(draws) > 1:
        reason = f"{len(draws)} draws were signed for one frame, by {_signers(draws.values())}"
        return draw_finding(evidence, "single", Outcome.FAIL, reason, used=tuple(sorted(draws)))
    frames = {s.id: s for s in evidence.log or () if s.kind == FRAME}
    asked = (frame.purpose.casefold(), frame.period.casefold())
    same = {identifier: s for identifier, s in frames.items() if _for(s) == asked}
    if set(same) - {evidence.frame.id}:
        shown = {evidence.frame.id: evidence.frame, **same}
        reason = (
            f"{len(shown)} frames were signed for {frame.purpose} in {frame.period}, by {_signers(shown.values())}:"
            " one of them could be chosen"
        )
        return draw_finding(evidence, "single", Outcome.FAIL, reason, used=tuple(same))
    if evidence.log is None or evidence.frame.id not in frames:
        # Whoever may log something could otherwise undo a draw that was made without a log.
        why = "none is at hand" if evidence.log is None else "the frame is not in it"
        if frame.source["kind"] == "commit-reveal":
            reason = f"a second draw would need a second share of every party; as to the log, {why}"
            return draw_finding(evidence, "single", Outcome.PASS, reason)
        reason = f"not checked: a second draw would show in the log, and {why}"
        return draw_finding(evidence, "single", Outcome.INCONCLUSIVE, reason)
    drawn = {s.payload.get("frame") for s in evidence.log if s.kind == DRAW}
    idle = sum(1 for identifier in frames if identifier not in drawn and identifier != evidence.frame.id)
    named = frame.source.get("commitments", ())
    left = sum(1 for s in evidence.log if s.kind == COMMITMENT and s.id not in named and _for(s) == asked)
    reason = (
        f"the log holds one frame for {frame.purpose} in {frame.period}; of {len(frames) - 1} others, {idle} undrawn"
        f"{_worth(frame, idle)}{f'; {left} commitments to it were abandoned' if left else ''}"
    )
    return draw_finding(evidence, "single", Outcome.PASS, reason, figure=float(idle), unit="frames without a draw")


def _worth(frame: Frame, idle: int) -> str:
    """Returns what frames that were given up would be worth to whoever gave them up to draw again."""
    if not idle:
        return ""
    spared = 1 - frame.count / frame.size
    chosen = 1 - (1 - spared) ** (idle + 1)
    return f" (to keep a given item undrawn has chance {spared:.3g}, with a choice of {idle + 1} draws {chosen:.3g})"


def _signers(statements: Iterable[Statement]) -> str:
    return " and ".join(sorted({s.issuer for s in statements}))


def _for(statement: Statement) -> tuple[str, str]:
    purpose, period = (str(statement.payload.get(name)).casefold() for name in ("purpose", "period"))
    return purpose, period


def _draws_for(statement: Statement, frame_id: str) -> bool:
    return statement.kind == DRAW and statement.payload.get("frame") == frame_id
