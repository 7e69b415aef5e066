"""Going on with an interrupted run: what must not have changed, and the newest anchor that the journal vouches for."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.commitment import Opening, salt_for
from weighbridge.mechanisms.transcript.committing import seed_of
from weighbridge.mechanisms.transcript.environment import CodeTree, differences
from weighbridge.mechanisms.transcript.journal import read_segment, segment_paths
from weighbridge.mechanisms.transcript.recorder_parts import Resumption

__all__ = ["find_resumption"]

_LONGEST_SENTENCE = 500
_MUST_STAND = ("data", "code", "config", "loop", "parent")


def find_resumption(
    folder: Path, contents: Mapping[str, Any], tree: CodeTree, *, must_stand: Sequence[str] = _MUST_STAND
) -> tuple[Opening, str, bytes, Resumption]:
    """Finds the newest usable anchor of an interrupted run; nothing of the run may have changed since.

    Args:
        folder: the run's folder.
        contents: what would be committed now.
        tree: the code tree as it stands now.
        must_stand: the parts of the contents that have to be those committed.

    Returns:
        The opening, the run's id, its seed, and where it goes on.

    Raises:
        InputError: something changed, or the run has finished.
        EvidenceError: the run cannot be read, or none of its anchors can be used.
    """
    opening = Opening.read(folder / "opening.json")
    for name in must_stand:
        if opening.contents.get(name) != contents.get(name):
            raise InputError(
                "is not what the run was committed with" + (_changed_file(folder, tree) if name == "code" else ""),
                where=folder,
                field=name,
                mend="start a new run instead",
            )
    paths = segment_paths(folder)
    segments = [read_segment(path) for path in paths]
    last = segments[-1]
    if last.complete and last.events[-1].data.get("finished"):
        raise InputError("has finished", where=folder, mend="start a new run")
    events = [event for segment in segments for event in segment.events]
    run = str(events[0].data["run"]) if events else ""
    committed = folder / "commitment.cose"
    if committed.exists():
        run = hashlib.sha256(committed.read_bytes()).hexdigest()
    reached = max((int(e.data["step"]) + 1 for e in last.events if e.type == "step"), default=0)
    anchored = [e.data for e in events if "anchor" in e.data]
    for data in sorted(anchored, key=lambda data: int(data["step"]), reverse=True):
        step = int(data["step"])
        try:
            state = read_anchor(folder / "anchors" / data["anchor"])
        except EvidenceError:
            continue
        salt = salt_for(opening.key, f"state/{step}")
        if state.plain["step"] == step and state.digest(salt).hex() == data["state"]:
            resumption = Resumption(
                segment=len(paths),
                parent=paths[-1].name,
                parent_head=last.head.hex(),
                anchor=str(data["anchor"]),
                step=step,
                state=state,
                lost_steps=max(0, reached - step),
                environment=_elsewhere(opening.contents["environment"], contents["environment"]),
            )
            for sentence in resumption.environment:
                print(f"weighbridge: resumed elsewhere, and replay may differ: {sentence}", file=sys.stderr)
            return opening, run, seed_of(folder, run, opening), resumption
    raise EvidenceError("has no anchor that matches its journal", where=folder, mend="start a new run")


def _elsewhere(committed: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what differs from the committed environment; packages are compared where both name them."""
    both = set(committed["packages"]) & set(here["packages"])
    one, other = (
        {**told, "packages": {name: told["packages"][name] for name in sorted(both)}} for told in (committed, here)
    )
    return tuple(sentence[:_LONGEST_SENTENCE] for sentence in differences(one, other))


def _changed_file(folder: Path, tree: CodeTree) -> str:
    committed = CodeTree.read(folder / "code").files
    changed = sorted(n for n in {*committed, *tree.files} if committed.get(n) != tree.files.get(n))
    return f" ({changed[0]} changed)" if changed else ""
