"""A query inside the room: the transcript opened and checked, the program run over it in a sandbox, its answer rounded.

The steps, each of which ends in an answer that says nothing where it fails:

1. Open the transcript under the trust roots; it must be the run that was registered.
2. Hold the data against the committed root.
3. Measure what the query asks for (FLOP of one step, by replay of one).
4. Run the program: read-only transcript, data and parameters; no network; nothing kept.
5. Read its answer, believed in nothing, and round it to the registered levels.
"""

import base64
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import weighbridge
from weighbridge.errors import EvidenceError
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.parents import parent_anchor
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_data import data_binds
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.sealed import opened as api
from weighbridge.mechanisms.transcript.sealed.queries import Answer, Query
from weighbridge.mechanisms.transcript.sealed.room import INSIDE
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.sandbox import Bind, Sandbox, interpreter_binds, run_isolated

__all__ = ["asked"]

_ANSWER_BYTES = 1 << 20


def asked(request: Mapping[str, Any]) -> bytes:
    """Runs a query over the run shown and returns its answer, encoded."""
    query = Query.from_payload(request["query"])
    try:
        answer = _ask(query, request)
    except Exception:  # whatever it is, it is no answer; a reason could tell more than the bits that were paid for
        answer = Answer(None)
    return answer.encode(query)


def _ask(query: Query, request: Mapping[str, Any]) -> Answer:
    transcript = Transcript.open(INSIDE / "run", TrustRoots.load(INSIDE / "roots"))
    if transcript.commitment is None or transcript.run != query.run:
        raise EvidenceError("is not the run that was registered", where="run")
    data = INSIDE / request["data"] if request["data"] else None
    described = transcript.contents["data"]
    shown = data_binds(described, data, None) if described["arrays"] else []
    names = {path["path"]: name for name, path in described["arrays"].items()}
    files = {name: base64.b64decode(content) for name, content in request["files"].items()}
    query.check_files(files)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "out").mkdir()
        (work / "program").mkdir()
        for name, content in files.items():
            (work / "program" / name).write_bytes(content)
        about = {
            "run": transcript.run,
            "seed": hashlib.sha256(
                b"weighbridge/query/1" + transcript.seed + request["registration"].encode()
            ).hexdigest(),
            "run_seed": transcript.seed.hex(),
            "parameters": dict(query.parameters),
            "declared": dict(transcript.commitment.payload["declared"]),
            "measured": _measured(query, transcript, data),
        }
        (work / "about.json").write_text(json.dumps(about))
        binds = [*interpreter_binds(), Bind(INSIDE / "run", api.INSIDE / "run")]
        binds += [Bind(work / name, api.INSIDE / name) for name in ("program", "about.json")]
        binds += [Bind(bind.host, api.INSIDE / "data" / f"{names[str(bind.place)]}.npy") for bind in shown]
        binds += [Bind(work / "out", api.INSIDE / "out", writable=True)]
        source = Path(weighbridge.__file__).resolve().parents[1]
        result = run_isolated(
            [sys.executable, str(api.INSIDE / "program" / "program.py")],
            Sandbox(
                binds=tuple(binds),
                environment={"PATH": "/usr/bin:/bin", "HOME": "/tmp", "OMP_NUM_THREADS": "1"}  # noqa: S108
                | ({} if source.is_relative_to(sys.prefix) else {"PYTHONPATH": str(source)}),
                seconds=float(query.seconds),
            ),
        )
        if result.returncode != 0 or result.timed_out or result.overflowed:
            raise EvidenceError("the program did not end well", where="query")
        said = json.loads(read_plain(work / "out" / "answer.json", limit_bytes=_ANSWER_BYTES))
    if not isinstance(said, dict):
        raise EvidenceError("is no mapping", where="answer")
    return Answer.of(query, said)


def _measured(query: Query, transcript: Transcript, data: Path | None) -> dict[str, float]:
    if "flop_per_step" not in query.measures:
        return {}
    parent = None
    if transcript.contents.get("parent"):
        shown = Transcript.open(INSIDE / "parent", TrustRoots.load(INSIDE / "roots"))
        parent = parent_anchor(transcript, shown)
    with replay(transcript, legs=[Leg(0, 1)], count_flop=True, data=data, parent=parent) as outcome:
        if outcome.flop_per_step is None:
            raise EvidenceError("was not counted", where="flop_per_step")
        return {"flop_per_step": outcome.flop_per_step}
