"""The data that a replayed program is shown: the committed files at their committed paths, or zeros of their shape."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.sandbox import Bind, is_place

__all__ = ["INSIDE", "committed_paths", "data_binds", "place_inside"]

INSIDE = PurePosixPath("/replay")
"""Where the sandbox has what replay itself needs; nothing of the operator's may lie there."""

_MOST_DATA_BYTES = 1 << 50


def place_inside(path: str, field: str) -> Path:
    """Returns a committed path as a place inside the sandbox."""
    if not is_place(path) or PurePosixPath(path).is_relative_to(INSIDE):
        raise EvidenceError(f"{path!r:.200} is no place in a sandbox", where="opening.json", field=field)
    return Path(path)


def committed_paths(described: Mapping[str, Any]) -> dict[str, Path]:
    """Returns where the program reads its arrays, by name; arrays that it made in memory are left out."""
    return {
        name: place_inside(array["path"], f"data.arrays.{name}.path")
        for name, array in described["arrays"].items()
        if array.get("path") is not None
    }


def data_binds(described: Mapping[str, Any], given: Path | None, zeros_in: Path | None) -> list[Bind]:
    """Returns the binds that show the committed data, or zeros of its shape, at the paths that the program reads.

    Arrays that the program made in memory, its code makes again: nothing is shown, and the root is compared inside.
    """
    places = committed_paths(described)
    if not places:
        return []
    if zeros_in is not None:
        arrays = enumerate(sorted(places.items()))
        return [
            Bind(_zeros(described["arrays"][name], zeros_in / f"zeros-{number}.npy"), place)
            for number, (name, place) in arrays
        ]
    if given is not None:
        mend = "pass the file, or the folder of NAME.npy, that the operator handed over"
        if not given.exists():
            raise InputError("is not there", where=given, mend=mend)
        dataset = Dataset.handed_over(given, described)
    else:
        dataset = Dataset.of(places if len(places) > 1 or "data" not in places else places["data"])
    root = dataset.root.hex()
    if root != described["root"]:
        where = given or ", ".join(str(place) for place in places.values())
        raise EvidenceError(f"has root {root[:16]}…, not the committed {described['root'][:16]}…", where=where)
    return [Bind(dataset.paths[name], place) for name, place in places.items()]


def _zeros(array: Mapping[str, Any], path: Path) -> Path:
    """Writes a file of zeros in the committed shape; it takes no room on the disk."""
    try:
        kind, shape = np.dtype(array["format"]), tuple(array["shape"])
        size = kind.itemsize
        for length in shape:
            size *= length
        if size > _MOST_DATA_BYTES:
            raise ValueError("larger than 1 PiB")
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": array["format"], "fortran_order": False, "shape": shape}
            )
            file.truncate(file.tell() + size)
    except (KeyError, TypeError, ValueError, SyntaxError, OverflowError, OSError) as error:
        raise EvidenceError(f"is no shape of data ({error})", where="opening.json", field="data.arrays") from error
    return path
