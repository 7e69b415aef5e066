"""What a journal's lines may say: five types of event, each field checked before anything uses it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from weighbridge.errors import EvidenceError

__all__ = ["check_event", "is_anchor_name"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ANCHOR = re.compile(r"[a-z0-9][a-z0-9-]{0,100}\.safetensors")
_MOST = 1 << 63
_LONGEST_STATES = 1 << 16

Check = Callable[[Any], bool]


def is_anchor_name(value: Any) -> bool:
    """Returns whether this is an anchor's file name: plain, without a folder."""
    return isinstance(value, str) and _ANCHOR.fullmatch(value) is not None


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 512


def _digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _number(value: Any) -> bool:
    return type(value) is float or _natural(value)


def _one_of(*words: str) -> Check:
    return lambda value: value in words and isinstance(value, str)


def _all(check: Check, *, exactly: int | None = None) -> Check:
    def listed(value: Any) -> bool:
        return isinstance(value, list) and (exactly is None or len(value) == exactly) and all(map(check, value))

    return listed


def _loss(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) <= 64 and float.fromhex(value) is not None
    except (ValueError, OverflowError):
        return False


def _placed(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and _text(value[0]) and all(map(_natural, value[1:]))


def _sequences(value: Any) -> bool:
    return _all(_natural, exactly=2)(value) and value[0] <= value[1]


def _groups(value: Any) -> bool:
    return isinstance(value, dict) and all(_all(lambda group: isinstance(group, dict))(v) for v in value.values())


def _parent(value: Any) -> bool:
    fields: dict[str, Check] = {"journal": _text, "head": _digest, "anchor": is_anchor_name, "lost_steps": _natural}
    return value is None or (
        isinstance(value, dict) and set(value) == set(fields) and all(check(value[n]) for n, check in fields.items())
    )


def _drawn(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"point", "digest", "states"}
        and _text(value["point"])
        and _digest(value["digest"])
        and isinstance(value["states"], str)
        and len(value["states"]) <= _LONGEST_STATES
    )


def _packages(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(n) and _all(_text, exactly=2)(told) for n, told in value.items())


def _rollout(value: Any) -> bool:
    fields: dict[str, Check] = {"generator": _digest, "rollout": _digest, "kept": lambda kept: isinstance(kept, bool)}
    return isinstance(value, dict) and set(value) == set(fields) and all(fields[n](v) for n, v in value.items())


def _group(value: Any) -> bool:
    """Returns whether this is what a rank says for its group; the sums are parsed where they are added."""
    fields: dict[str, Check] = {
        "wrapped": _text,
        "pieces": lambda found: isinstance(found, dict) and all(isinstance(piece, list) for piece in found.values()),
        "sums": lambda found: isinstance(found, dict) and all(isinstance(part, dict) for part in found.values()),
        "part": _all(_natural, exactly=3),
        "batch": _digest,
        "fault": _text,
    }
    return isinstance(value, dict) and all(name in fields and fields[name](held) for name, held in value.items())


def _claimed(value: Any) -> bool:
    return value == -1 or _natural(value)


_WHERE: dict[str, Check] = {
    "chip": _text,
    "process": _natural,
    "cpu_ns": _natural,
    "monotonic_ns": _natural,
    "time": _number,
}
_TYPES: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "segment": (
        {
            "segment": _natural,
            "run": _digest,
            "step": _natural,
            "steps": lambda value: value is None or _natural(value),
            "stride": _natural,
            "state": _digest,
            "anchor": is_anchor_name,
            "names": _all(_text),
            "hyperparameters": _groups,
            "threads": _natural,
            "environment": _all(_text),
            "parent": _parent,
            **_WHERE,
        },
        {
            "by_passes": lambda value: value is True,
            "scaled": lambda value: value is True,
            "salt": _digest,
            "startup_until": _natural,
            "packages": _packages,
            "system_random": _natural,
            "asked": _digest,
            "group": _group,
        },
    ),
    "step": (
        {
            "step": _natural,
            "batch": _digest,
            "seen": _one_of("forward", "yielded"),
            "loss": _all(_loss),
            "updates": _natural,
            "cpu_ns": _natural,
            "monotonic_ns": _natural,
        },
        {
            "state": _digest,
            "hyperparameters": _groups,
            "draws": _all(_drawn),
            "rollouts": _all(_rollout),
            "unwatched": _natural,
            "group": _group,
        },
    ),
    "freeze": (
        {
            "boot": _natural,
            "sequences": _sequences,
            "step": _natural,
            "phase": _one_of("still", "updating"),
            "anchor": is_anchor_name,
            "state": _digest,
            "layout": _all(_placed),
            "data": _all(_placed),
            **_WHERE,
        },
        {},
    ),
    "anchor": ({"step": _natural, "state": _digest, "anchor": is_anchor_name, **_WHERE}, {}),
    "end": (
        {"step": _natural, "finished": lambda value: isinstance(value, bool), "claimed_until": _claimed, **_WHERE},
        {
            "state": _digest,
            "anchor": is_anchor_name,
            "left_inside_step": _natural,
            "unwatched": _natural,
            "group": _group,
        },
    ),
}
"""By type: fields that must be there, and fields that may be."""


def check_event(data: Mapping[str, Any], where: str) -> None:
    """Checks one line.

    Raises:
        EvidenceError: an unknown type, a field missing, unknown or of another kind.
    """
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise EvidenceError(f"is no event of a journal: {kind!r:.80}", where=where, field="type")
    needed, possible = _TYPES[kind]
    fields = needed | possible
    for name in needed:
        if name not in data:
            raise EvidenceError(f"is missing from a {kind} event", where=where, field=name)
    for name, value in data.items():
        if name == "type":
            continue
        if name not in fields:
            raise EvidenceError(f"is no field of a {kind} event", where=where, field=name[:80])
        if not fields[name](value):
            raise EvidenceError(f"is malformed: {value!r:.80}", where=where, field=name)
