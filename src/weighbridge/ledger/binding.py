"""A transcript's folder against the log: what lies there must be what was logged, all of it, and nothing besides.

The folder is the operator's. A journal rewritten afterwards, with statements signed anew and given old times, agrees
with itself; only the log, which took the statements while training ran, tells it from the first.
"""

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.runs import progress_of
from weighbridge.ledger.workspace import Logged, Workspace
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.environment import CONTENTS_LIMIT_BYTES as LARGEST_CONTENTS_BYTES
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["LARGEST_CONTENTS_BYTES", "check_against_log"]


def check_against_log(workspace: Workspace, item: Logged, transcript: Transcript) -> list[Finding]:
    """Returns what does not agree between an opened transcript and the log, or one finding that all of it does.

    1. The folder is this run's, and its nonce the logged one.
    2. Every statement of progress in the folder is in the log.
    3. Every logged statement of progress names a head that the journal has.
    4. The run took no more steps than it committed to, and what it opened is too small to hide weights in.
    """
    run = item.statement.id
    if transcript.commitment is None or transcript.commitment.id != run:
        return [_fail(item, "its folder holds another run's transcript, or none that was committed")]
    reasons = []
    if transcript.nonce is None or transcript.nonce.id not in workspace.by_id:
        reasons.append("its folder holds no inspector's nonce that the log has")
    unlogged = [statement for statement in transcript.progress if statement.id not in workspace.by_id]
    if unlogged:
        reasons.append(
            f"{len(unlogged)} statements in its folder were not in the log when the inspection closed: whatever time"
            " they give themselves, they may have been made afterwards"
        )
    heads = {event.head.hex() for event in transcript.events}
    logged = progress_of(workspace, item)
    unknown = [entry for entry in logged if entry.payload.get("journal") not in heads]
    if unknown:
        reasons.append(
            f"{len(unknown)} logged statements name journal heads that the journal handed over does not have: it was"
            " rewritten or cut"
        )
    committed = transcript.planned
    if committed is not None and transcript.reached > committed:
        reasons.append(f"its journal reaches step {transcript.reached}, and it committed to {committed} steps")
    size = len(canonical(transcript.contents))
    if size > LARGEST_CONTENTS_BYTES:
        reasons.append(f"its configuration, arguments and environment take {size} bytes: room to smuggle weights in")
    if reasons:
        return [_fail(item, reason) for reason in reasons]
    return [
        Finding(
            check="transcript.log",
            subject=run,
            outcome=Outcome.PASS,
            reason=f"its folder and the log agree: {len(logged)} statements logged before the close, none besides",
            evidence=(run,),
        )
    ]


def _fail(item: Logged, reason: str) -> Finding:
    run = item.statement.id
    return Finding(check="transcript.log", subject=run, outcome=Outcome.FAIL, reason=reason, evidence=(run,))
