"""Where recorded footage has gaps, runs over itself, or is shown for two times."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["gaps", "overlaps", "shown_twice"]


def gaps(footage: Sequence[Mapping[str, Any]], *, start: int, end: int) -> list[tuple[int, int]]:
    """Returns the spans between ``start`` and ``end`` (Unix seconds) that no part of the footage covers."""
    found, covered = [], start
    for part in sorted(footage, key=lambda part: part["from"]):
        if part["from"] > covered:
            found.append((covered, min(part["from"], end)))
        covered = max(covered, part["to"])
        if covered >= end:
            break
    if covered < end:
        found.append((covered, end))
    return [(a, b) for a, b in found if a < b]


def overlaps(footage: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Returns the spans that two parts of one camera's footage both claim: one of them is not what it says."""
    found, covered = [], 0
    for part in sorted(footage, key=lambda part: part["from"]):
        if part["from"] < covered:
            found.append((part["from"], min(covered, part["to"])))
        covered = max(covered, part["to"])
    return found


def shown_twice(footage: Iterable[tuple[str, Mapping[str, Any]]]) -> set[str]:
    """Returns the digests of files that are shown for two times, or by two cameras: one of them is a copy.

    Args:
        footage: pieces of footage, each with its camera; the same piece may be listed again.
    """
    seen: dict[str, tuple[object, ...]] = {}
    found = set()
    for camera, part in footage:
        place = (camera, part["from"], part["to"])
        if seen.setdefault(part["sha256"], place) != place:
            found.add(part["sha256"])
    return found
