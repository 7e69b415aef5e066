"""What differs between two runs before their first step: seeds, code files, and every field that was committed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.telling import Telling

__all__ = ["Difference", "changed", "commitments"]

_MOST_NAMED = 200
"""Differences of one part that are named one by one."""

_WORDS = 120
_DEPTH = 50


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Attributes:
        part: ``seed``, ``code``, ``data``, ``config``, ``environment``, ``program``, ``loop``, ``parent``, ``batch``,
            ``loss``, ``updates``, ``hyperparameters``, ``seen``, ``state``, ``tensor`` or ``length``.
        what: how, in words.
        step: the first step at which it does; None for what was committed before.
        count: at how many of the steps compared.
    """

    part: str
    what: str
    step: int | None = None
    count: int | None = None


def commitments(one: Telling, other: Telling, unknown: list[str]) -> Iterator[Difference]:
    """Yields what differs in two commitments, and adds to ``unknown`` what cannot be compared."""
    if one.run != other.run:
        what = f"runs {one.run[:16]} and {other.run[:16]} have seeds of their own: first weights and order differ"
        yield Difference("seed", what)
    if one.opening is None or other.opening is None:
        side = "first" if one.opening is None else "second"
        unknown.append(f"commitments: the {side} has no opening, so what it committed to stays hidden")
    else:
        left, right = one.opening.contents, other.opening.contents
        for part in ("code", "data", "config", "environment", "program", "loop", "parent"):
            leaves = list(changed(left.get(part), right.get(part), part))
            yield from (Difference(part, what) for what in leaves[:_MOST_NAMED])
            if len(leaves) > _MOST_NAMED:
                yield Difference(part, f"and {len(leaves) - _MOST_NAMED} more")
    try:
        trees = one.code, other.code
    except EvidenceError as error:
        unknown.append(f"code files: {error}")
        return
    for telling, tree, side in ((one, trees[0], "first"), (other, trees[1], "second")):
        if telling.opening is not None and tree.digest.hex() != telling.opening.contents["code"]["digest"]:
            yield Difference("code", f"the {side}'s code tree is not the one that it committed to")
    yield from _files(trees[0].files, trees[1].files)


def _files(left: Mapping[str, bytes], right: Mapping[str, bytes]) -> Iterator[Difference]:
    changed = sorted(name for name in {*left, *right} if left.get(name) != right.get(name))
    for name in changed[:_MOST_NAMED]:
        if name not in left or name not in right:
            yield Difference("code", f"{name} is only in the {'second' if name not in left else 'first'}")
        else:
            lines = enumerate(zip_longest(left[name].splitlines(), right[name].splitlines()), 1)
            line = next((number for number, (a, b) in lines if a != b), None)
            yield Difference("code", f"{name} differs" + (f" from line {line}" if line else " in its line ends"))
    if len(changed) > _MOST_NAMED:
        yield Difference("code", f"and {len(changed) - _MOST_NAMED} more files")


def changed(left: Any, right: Any, path: str, depth: int = 0) -> Iterator[str]:
    """Yields one sentence for each leaf of two nested values that differs; of what lies too deep, one for the whole."""
    if isinstance(left, dict) and isinstance(right, dict) and depth < _DEPTH:
        for key in sorted({*left, *right}):
            if key not in left or key not in right:
                side, value = ("second", right.get(key)) if key not in left else ("first", left[key])
                yield f"{path}.{key}: only in the {side}, {value!r:.{_WORDS}}"
            else:
                yield from changed(left[key], right[key], f"{path}.{key}", depth + 1)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right) and depth < _DEPTH:
        for number, (a, b) in enumerate(zip(left, right, strict=True)):
            yield from changed(a, b, f"{path}[{number}]", depth + 1)
    elif canonical(left) != canonical(right):
        yield f"{path}: {left!r:.{_WORDS}} against {right!r:.{_WORDS}}"
