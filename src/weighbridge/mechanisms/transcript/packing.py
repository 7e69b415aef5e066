"""Packing a run's anchors: each as the difference to the one before it in its segment, where that is smaller.

Done after training, never during it: compressing takes several times as long as writing, and competes for the cores.
Anchors after freezes stay whole, because they are handed over one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.anchor_delta import DEEPEST, depth_of, is_delta, pack_anchor
from weighbridge.mechanisms.transcript.journal import SegmentReader, segment_paths

__all__ = ["Packed", "pack_run"]

_KINDS = ("segment", "anchor", "end")


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One anchor.

    Attributes:
        name: its file.
        before: its bytes before.
        after: its bytes now; the same where a delta would not have been smaller.
        depth: deltas between it and a plain file.
    """

    name: str
    before: int
    after: int
    depth: int


def pack_run(folder: Path) -> Iterator[Packed]:
    """Packs the anchors of a run, one after the other, and yields what became of each.

    Killed at any moment, every anchor is whole: plain, or a delta that was read back before it took its place.

    Raises:
        EvidenceError: a journal or an anchor is damaged; those before it are packed.
        InputError: the folder cannot be written to.
    """
    for journal in segment_paths(folder):
        base: Path | None = None
        for event in SegmentReader(journal):
            path = folder / "anchors" / str(event.data.get("anchor"))
            if event.type not in _KINDS or not path.is_file() or path.is_symlink():
                continue
            before = path.stat().st_size
            if base is not None and not is_delta(path) and depth_of(base) < DEEPEST:
                try:
                    pack_anchor(path, base)
                except OSError as error:
                    raise InputError(f"cannot be written to ({error.strerror})", where=path.parent) from error
            depth = depth_of(path)
            if depth > DEEPEST:
                raise EvidenceError("lies below too many deltas", where=path)
            yield Packed(name=path.name, before=before, after=path.stat().st_size, depth=depth)
            base = path
