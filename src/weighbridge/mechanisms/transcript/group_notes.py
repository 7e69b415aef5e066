"""What a rank notes for its group: sums that make the logical digests, and its batch under a salt that all ranks share.

Computed from a captured state alone, so that a verifier computes the same from the state that a replay wrote out.
"""

import re
from collections.abc import Mapping
from typing import Any

from blake3 import blake3

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.encoding import framed
from weighbridge.mechanisms.transcript.logical_digest import LogicalSum
from weighbridge.mechanisms.transcript.loop import Iteration
from weighbridge.mechanisms.transcript.ranks import Group, wrapped_as
from weighbridge.mechanisms.transcript.state import Subjects, TrainingState

__all__ = ["KINDS", "batch_note", "rank_note", "state_note"]

KINDS = {"weights": re.compile(r"model\d*/parameter/"), "optimizer": re.compile(r"optimizer\d*/")}
"""What has a logical digest, and the names of its tensors. Buffers have none: ranks' running means honestly differ."""


def rank_note(
    group: Group | None,
    subjects: Subjects,
    iteration: Iteration | None,
    state: TrainingState | None,
    *,
    begins: bool,
) -> dict[str, Any]:
    """Returns what a rank says in one event for its group; nothing without a group.

    Args:
        group: the group, if the run is a rank's.
        subjects: what is recorded.
        iteration: the step that the event ends, if it ends one.
        state: the state at rest, where the event has its digest.
        begins: whether the event begins a segment.
    """
    if group is None:
        return {}
    wrapped = wrapped_as(subjects.modules)
    note: dict[str, Any] = batch_note(group, iteration) if iteration is not None else {}
    if state is not None:
        note |= state_note(group, state, wrapped=wrapped)
    if begins and state is not None:
        note |= {"wrapped": wrapped, "pieces": state.plain.get("pieces", {})}
    return {"group": note}


def state_note(group: Group, state: TrainingState, *, wrapped: str) -> dict[str, Any]:
    """Returns the sums over one state, or why there are none.

    ``whole`` is the digest over what lies on this rank whole, and so must be the same on all ranks. ``sum`` is there
    where something lies in pieces: over this rank's pieces and, on the rank with the first piece, over what is whole.
    """
    pieces: Mapping[str, Any] = state.plain.get("pieces", {})
    salt = group.salt(f"logical/{state.plain['step']}")
    try:
        part = _part({name: piece for name, piece in pieces.items() if _kind(name) is not None})
        sums: dict[str, dict[str, str]] = {}
        for kind in KINDS:
            whole, shared = LogicalSum.empty(group.world), LogicalSum.empty(group.world)
            cut = False
            for name in sorted(name for name in state.tensors if _kind(name) == kind):
                tensor, logical = state.tensors[name], _logical(name, wrapped)
                if name in pieces:
                    shape, start = tuple(pieces[name][0]), int(pieces[name][1])
                    shared.add_rows(logical, tensor, start=start, shape=shape, salt=salt)
                    cut = True
                else:
                    whole.add_whole(logical, tensor, salt=salt)
            sums[kind] = {"whole": whole.digest}
            if cut:
                if part[0] == 0:
                    shared.add(whole)
                sums[kind]["sum"] = shared.text
    except InputError as error:
        return {"fault": str(error)[:500]}
    return {"sums": sums, **({"part": part} if pieces else {})}


def batch_note(group: Group, iteration: Iteration) -> dict[str, Any]:
    """Returns the digest of what the model was given, alike on all ranks for the same batch, at whatever step."""
    if not iteration.inputs:
        return {}
    seen = b"".join(map(framed, iteration.inputs))
    return {"batch": blake3(seen, key=group.salt("batch")).hexdigest()}


def _kind(name: str) -> str | None:
    return next((kind for kind, pattern in KINDS.items() if pattern.match(name)), None)


def _logical(name: str, wrapped: str) -> str:
    """Returns a tensor's name in the model that was wrapped: DDP puts one more name before it."""
    if wrapped not in ("ddp", "ddp-hook"):
        return name
    return re.sub(r"^(model\d*/parameter/)module\.", r"\1", name)


def _part(pieces: Mapping[str, Any]) -> list[int]:
    """Returns which part of the whole lies here, of how many, and which copy of it: one answer for all tensors."""
    found = set()
    for name, (_, _, _, part, parts, replica, fault) in sorted(pieces.items()):
        if fault:
            raise InputError(fault, where=name)
        found.add((int(part), int(parts), int(replica)))
    if len(found) > 1:
        raise InputError("are cut in several ways at once", where="tensors")
    return list(found.pop()) if found else [0, 1, 0]
