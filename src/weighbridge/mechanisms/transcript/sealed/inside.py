"""The room, seen from inside: reads one request, does it, writes one answer of a size that the request fixes.

``python -m weighbridge.mechanisms.transcript.sealed.inside``, started by :mod:`.room` alone. Nothing that happens here
is told but by the answer: an error of whatever kind is the answer that says nothing.
"""

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.sealed.agreement import Output, Terms
from weighbridge.mechanisms.transcript.sealed.build import Build, Places
from weighbridge.mechanisms.transcript.sealed.record import SealedRecord
from weighbridge.mechanisms.transcript.sealed.room import INSIDE, keep_no_core

__all__ = ["main"]


def main() -> None:
    """Answers the request on standard input."""
    keep_no_core()
    answers = os.dup(1)
    silent = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(silent, descriptor)
    answer = b""
    # Whatever it is, SystemExit included: a traceback quotes what it met.
    with contextlib.suppress(BaseException):
        answer = _answer(json.load(sys.stdin))
    os.write(answers, answer)
    os._exit(0)


def _answer(request: Mapping[str, Any]) -> bytes:
    match request["task"]:
        case "verify":
            return verified(request).encode()
        case "agreed":
            return agreed(request).encode()
        case "query":
            from weighbridge.mechanisms.transcript.sealed.asking import asked

            return asked(request)
    raise ValueError


def verified(request: Mapping[str, Any]) -> SealedRecord:
    """Verifies the run shown, as ``transcript verify`` does, and returns what may leave of it."""
    from weighbridge.evidence.export import ExportedLog
    from weighbridge.evidence.statement import verify_statement
    from weighbridge.evidence.trust import TrustRoots
    from weighbridge.mechanisms.transcript.spending import Budget
    from weighbridge.mechanisms.transcript.verification import Request, verify_run

    roots = TrustRoots.load(INSIDE / "roots") if request["roots"] else None
    logged = None
    if request["log"]:
        assert roots is not None
        exported = ExportedLog.open(INSIDE / "log", roots.log_key)
        logged = [verify_statement(raw, roots) for _, raw in exported.entries()]
    verification = verify_run(
        INSIDE / "run",
        Request(
            seed=bytes.fromhex(request["seed"]),
            roots=roots,
            logged=logged,
            segments=request["segments"],
            budget=Budget(steps=request["budget"]) if request["budget"] is not None else None,
            data=INSIDE / request["data"] if request["data"] else None,
            parent=INSIDE / "parent" if request["parent"] else None,
            core=request["core"],
        ),
    )
    if request.get("run") not in (None, verification.run):
        raise EvidenceError("is not the run that was agreed", where="run")
    return SealedRecord.of(verification.findings, share=verification.share)


def agreed(request: Mapping[str, Any]) -> Output:
    """Measures this very build as the room sees it, and verifies the agreed run."""
    terms = Terms.from_payload(request["terms"])
    build = Build.measure(Places.here()).digest
    terms.check_build(build)
    record = SealedRecord.nothing()
    with contextlib.suppress(Exception):
        record = verified({**request, "run": terms.run, "segments": terms.segments, "budget": terms.budget})
    return Output(terms.digest, terms.run, build, record)


if __name__ == "__main__":
    main()
