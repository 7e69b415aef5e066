"""Data of which only some rows are shown: a sparse file in the committed shape, zeros elsewhere."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.replay_data import committed_paths, data_binds
from weighbridge.sandbox import Bind

__all__ = ["masked_binds", "opened_data"]


def opened_data(described: Mapping[str, Any], given: Path | None) -> Dataset | None:
    """Opens the data at its committed paths, or as handed over; None where the program makes it in memory.

    Its root is not computed here.

    Raises:
        InputError: a file is not there, or is no array.
        EvidenceError: the description names no plain files.
    """
    places = committed_paths(described)
    if not places:
        return None
    if given is not None:
        return Dataset.handed_over(given, described)
    return Dataset.of(places if len(places) > 1 or "data" not in places else places["data"])


def masked_binds(described: Mapping[str, Any], dataset: Dataset, rows: Collection[int], folder: Path) -> list[Bind]:
    """Returns the binds that show these rows of the data where the program reads it, and zeros for all others.

    Raises:
        InputError: the data has another shape than was committed.
    """
    binds = data_binds(described, None, folder)
    chosen = np.array(sorted(rows), dtype=np.int64)
    for bind, name in zip(binds, sorted(committed_paths(described)), strict=True):
        source = dataset.arrays[name]
        target = np.load(bind.host, mmap_mode="r+")
        if (source.shape, source.dtype) != (target.shape, target.dtype):
            raise InputError("has another shape or format than was committed", where=dataset.paths[name])
        target[chosen] = source[chosen]
        target.flush()
    return binds
