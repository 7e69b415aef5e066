"""JSON with one spelling per value: sorted keys, no spaces, UTF-8, no NaN. Anything else is refused."""

import json
from collections.abc import Mapping
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.limits import LIMITS

__all__ = ["dump_json", "load_json"]


def dump_json(value: Mapping[str, Any]) -> bytes:
    """Returns the one spelling of a JSON object.

    Raises:
        InputError: a value that JSON cannot hold (NaN, bytes, a key that is not text, a cycle).
    """
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be written as JSON: {error}", field="payload") from error


def load_json(data: bytes, *, where: str) -> dict[str, Any]:
    """Reads a JSON object in its one spelling.

    Args:
        data: UTF-8 bytes; size limits are the caller's.
        where: what is being read, for the error's sentence.

    Raises:
        EvidenceError: not JSON, not an object, nested too deep, or spelled in another way than
            :func:`dump_json` would (repeated keys, spaces, NaN, huge numbers, lone surrogates).
    """
    try:
        if _depth(data) > LIMITS.json_depth:
            raise EvidenceError(f"JSON is nested deeper than {LIMITS.json_depth}", where=where)
        value = json.loads(data.decode("utf-8"), parse_int=_integer, parse_float=_number, parse_constant=_refuse)
        spelled = _encode(value)
    except (ValueError, RecursionError) as error:
        raise EvidenceError("not readable JSON", where=where) from error
    if not isinstance(value, dict):
        raise EvidenceError("JSON here is an object", where=where)
    if spelled != data:
        raise EvidenceError("JSON is not in its one spelling (sorted unique keys, no spaces)", where=where)
    return value


def _encode(value: Any) -> bytes:
    if isinstance(value, Mapping):
        _check_keys(value)
        value = dict(value)
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
    ).encode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _check_keys(value: Any) -> None:
    # json.dumps silently turns 1, True and None into keys "1", "true" and "null".
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"key {key!r:.40} is not text")
            _check_keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_keys(inner)


def _depth(data: bytes) -> int:
    """Returns how deep the brackets outside strings nest; 0 where they are too few to matter."""
    deepest = depth = 0
    inside = escaped = False
    if data.count(b"{") + data.count(b"[") <= LIMITS.json_depth:
        return 0
    for byte in data:
        if inside:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                inside = False
        elif byte == 0x22:
            inside = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def _integer(text: str) -> int:
    if len(text) > LIMITS.number_digits:
        raise ValueError("number too long")
    return int(text)


def _number(text: str) -> float:
    if len(text) > LIMITS.number_digits:
        raise ValueError("number too long")
    return float(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
