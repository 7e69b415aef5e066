"""What an audit asks besides of a program that knows nothing of us, before its steps may cover chip-time.

Its loop and its data loading are its own, so its initial state is derived with the data in sight: weights could lie
there. It is therefore derived under a second seed too (:mod:`~weighbridge.mechanisms.transcript.second_seed`), and what
comes out the same there follows from the data or the code, whose training nobody has shown (protocol section 4.5).
"""

from pathlib import Path

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.counted_flop import count_watched_flop
from weighbridge.mechanisms.transcript.merging import group_of
from weighbridge.mechanisms.transcript.second_seed import check_second_seed
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["count_flop", "unauditable", "where_weights_come_from"]


def unauditable(transcript: Transcript) -> Finding | None:
    """Returns why a watched run cannot be audited whatever it shows, if so."""
    if not transcript.bound:
        return _inconclusive(
            transcript,
            "the run was recorded by what was seen of it, with seeds of its own: such runs are not audited, and cover"
            " no chip-time. Record it with --bind",
        )
    if group_of(transcript) is not None or "spawner" in transcript.contents["config"]:
        return _inconclusive(
            transcript,
            "the run is a rank of several, or was started by another program: such runs are verified when merged"
            " (transcript merge), but not audited, and cover no chip-time",
        )
    return None


def where_weights_come_from(
    transcript: Transcript,
    *,
    core: int | None,
    scratch: Path | None,
    parent: Path | None,
    data: Path | None,
) -> Finding:
    """Returns whether the weights before step 1 change with the seed, by a seed that anybody can derive again.

    Code and data were committed before the inspector's nonce, from which it follows.
    """
    return check_second_seed(transcript, draw=transcript.seed, core=core, scratch=scratch, parent=parent, data=data)


def count_flop(
    transcript: Transcript, *, core: int | None, scratch: Path | None, parent: Path | None, data: Path | None
) -> tuple[float, Finding | None]:
    """Returns the FLOP of a step; and, where none can be counted, why the run covers nothing."""
    counted = count_watched_flop(transcript, core=core, scratch=scratch, parent=parent, data=data)
    if counted is not None:
        return counted, None
    reason = "no FLOP of its steps could be counted, so they cannot be added to what the operator declared"
    return 0.0, _inconclusive(transcript, reason)


def _inconclusive(transcript: Transcript, reason: str) -> Finding:
    return Finding(
        check="transcript.audit",
        subject=transcript.run,
        outcome=Outcome.INCONCLUSIVE,
        reason=reason,
        evidence=(transcript.run,),
    )
