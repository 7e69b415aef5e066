"""Questions about a run and their answers, as files in a folder that verifier and operator share.

``question-N.json`` is the verifier's: ``run``, ``step``, ``wants`` (``digest`` or ``state``). ``answer-N.json`` is the
operator's: ``run``, ``step``, ``digest``; ``answer-N.safetensors`` beside it, written before, is the state, if it was
wanted. ``done.json`` ends it. Files appear whole; a state holds weights in the clear, so the folder is its owner's.
"""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import read_plain, replace_whole
from weighbridge.mechanisms.transcript.anchors import read_anchor, write_anchor
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["FolderAnswers", "Operator", "answer_questions"]

_LIMIT_BYTES = 1 << 16
_PAUSE_S = 0.1


class FolderAnswers:
    """An operator at the other end of a folder.

    Args:
        folder: the shared folder; made if it is not there.
        run: the run's id.
        wait: seconds to wait for each answer.
    """

    def __init__(self, folder: Path, *, run: str, wait: float) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.glob("question-*.json")) or (folder / "done.json").exists():
            raise InputError("holds questions already", where=folder, mend="name a fresh folder")
        self._folder, self._run, self._wait, self._number = folder, run, wait, 0

    def digest(self, step: int) -> str:
        """Asks for a digest."""
        return self._ask(step, "digest")[0]

    def state(self, step: int) -> TrainingState:
        """Asks for a state."""
        return read_anchor(self._ask(step, "state")[1].with_suffix(".safetensors"))

    def close(self) -> None:
        """Tells the operator that nothing more is asked."""
        replace_whole(self._folder / "done.json", b"{}\n")

    def _ask(self, step: int, wants: str) -> tuple[str, Path]:
        self._number += 1
        question = {"run": self._run, "step": step, "wants": wants}
        replace_whole(self._folder / f"question-{self._number:04d}.json", json.dumps(question).encode())
        path = self._folder / f"answer-{self._number:04d}.json"
        deadline = time.monotonic() + self._wait
        while not path.exists():
            if time.monotonic() > deadline:
                raise EvidenceError(f"the operator did not answer for step {step} in {self._wait:.0f} s", where=path)
            time.sleep(_PAUSE_S)
        answer = _read(path)
        if (answer.get("run"), answer.get("step")) != (self._run, step) or not isinstance(answer.get("digest"), str):
            raise EvidenceError("is no answer to what was asked", where=path)
        return answer["digest"], path


class Operator:
    """The operator's side: digests and states from a replay of his own, each stretch between digests walked once.

    Args:
        transcript: his run.
        data: as :func:`~.replay.replay`.
        parent: as there.
    """

    def __init__(self, transcript: Transcript, *, data: Path | None = None, parent: Path | None = None) -> None:
        self._transcript, self._data, self._parent = transcript, data, parent
        self._known: dict[int, str] = {}

    def digest(self, step: int) -> str:
        """Returns the digest of his state at a step."""
        if step not in self._known:
            leg = self._leg(step)
            ends = [s for s in self._transcript.digests if step <= s <= leg.until]
            before = [s for s in self._transcript.digests if leg.start <= s <= step]
            until = min(ends, default=leg.until)
            wanted = range(max(before, default=leg.start), until + 1)
            with self._walk(Leg(leg.start, until, leg.anchor), set(wanted), set()) as outcome:
                self._known |= outcome.digests
        return self._known[step]

    def state(self, step: int) -> TrainingState:
        """Returns his state at a step."""
        leg = self._leg(step)
        with self._walk(Leg(leg.start, step, leg.anchor), set(), {step}) as outcome:
            return outcome.captured(step)  # read into memory: the file goes with the replay

    def _leg(self, step: int) -> Leg:
        for leg in segments_of(self._transcript):
            if leg.start <= step <= leg.until:
                return leg
        raise InputError(f"the run has no step {step}", where=self._transcript.folder)

    def _walk(self, leg: Leg, digests: set[int], captures: set[int]) -> AbstractContextManager[Replay]:
        return replay(
            self._transcript, legs=[leg], digests=digests, captures=captures, data=self._data, parent=self._parent
        )


def answer_questions(
    folder: Path, operator: Operator, *, run: str, wait: float, tell: Callable[[str], None] = lambda sentence: None
) -> int:
    """Answers what is asked in a folder until the verifier is done, or asks nothing for ``wait`` seconds.

    Returns:
        How many questions were answered.

    Raises:
        EvidenceError: a question is malformed, or about another run.
    """
    number, deadline = 1, time.monotonic() + wait
    while time.monotonic() < deadline:
        path = folder / f"question-{number:04d}.json"
        if not path.exists():
            if (folder / "done.json").exists():
                break
            time.sleep(_PAUSE_S)
            continue
        question = _read(path)
        step, wants = question.get("step"), question.get("wants")
        if question.get("run") != run or type(step) is not int or wants not in ("digest", "state"):
            raise EvidenceError("is no question about this run", where=path)
        tell(f"question {number}: the {wants} at step {step}")
        answer = folder / f"answer-{number:04d}.json"
        if wants == "state":
            write_anchor(answer.with_suffix(".safetensors"), operator.state(step))
        replace_whole(answer, json.dumps({"run": run, "step": step, "digest": operator.digest(step)}).encode())
        number, deadline = number + 1, time.monotonic() + wait
    return number - 1


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_plain(path, limit_bytes=_LIMIT_BYTES))
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"is not JSON ({error})", where=path) from error
    if not isinstance(data, dict):
        raise EvidenceError("is no object", where=path)
    return data
