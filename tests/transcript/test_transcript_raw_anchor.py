"""An anchor's bytes compared piece by piece, and files that only look like one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript import raw_anchor
from weighbridge.mechanisms.transcript.raw_anchor import RawAnchor, first_difference


def file(path: Path, tensors: dict[str, np.ndarray[Any, Any]], plain: Any = None) -> Path:
    """Writes safetensors by hand, from its specification."""
    header: dict[str, Any] = {"__metadata__": {"weighbridge.plain": json.dumps(plain or {"step": 0})}}
    data = b""
    for name, array in tensors.items():
        kind = {"float32": "F32", "uint8": "U8", "int64": "I64"}[array.dtype.name]
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@given(
    size=st.integers(1, 40),
    changes=st.dictionaries(st.integers(0, 39), st.integers(1, 255), max_size=5),
    chunk=st.sampled_from([8, 16, 1 << 22]),
)
@settings(max_examples=200, deadline=None)
def test_the_first_element_and_their_number_are_right(
    tmp_path_factory: pytest.TempPathFactory, size: int, changes: dict[int, int], chunk: int
) -> None:
    folder = tmp_path_factory.mktemp("pair")
    left = np.arange(size, dtype=np.int64)
    right = left.copy()
    for place, by in changes.items():
        right[place % size] ^= by
    same = np.zeros(3, np.uint8)
    one, other = (
        RawAnchor.read(file(folder / name, {"a": same, "b": array})) for name, array in (("x", left), ("y", right))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_anchor, "_CHUNK_BYTES", chunk)
        found = first_difference(one, other)
    unlike = np.flatnonzero(left != right)
    if not len(unlike):
        assert found is None
    else:
        assert found is not None and (found.name, found.others) == ("b", 0)
        assert found.what.endswith(f"{len(unlike)} of {size} elements differ, the first at {unlike[0]}")


def test_other_names_shapes_and_values(tmp_path: Path) -> None:
    ones = np.ones(4, np.float32)
    one = RawAnchor.read(file(tmp_path / "x", {"a": ones, "b": ones, "c": ones}, {"step": 1, "s": [1]}))
    other = RawAnchor.read(file(tmp_path / "y", {"b": ones.reshape(2, 2), "c": ones, "d": ones}, {"step": 1, "s": [2]}))
    found = first_difference(one, other)
    assert found is not None and (found.name, found.what, found.others) == ("a", "is only in the first", 3)
    third = RawAnchor.read(file(tmp_path / "z", {"a": ones, "b": ones, "c": ones}, {"step": 1, "s": [2]}))
    found = first_difference(one, third)
    assert found is not None and (found.name, found.what, found.others) == ("s", "has another value", 0)


HEADERS: dict[str, Any] = {
    "a gap": {
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]},
        "b": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]},
    },
    "an overlap": {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]},
    },
    "beyond the end": {"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}},
    "bytes that nobody names": {"a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}},
    "another length than its shape": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
    "a negative size": {"a": {"dtype": "U8", "shape": [-4], "data_offsets": [4, 0]}},
    "an unknown format": {"a": {"dtype": "Q7", "shape": [4], "data_offsets": [0, 4]}},
    "a format that is a list": {"a": {"dtype": [], "shape": [4], "data_offsets": [0, 4]}},
    "no offsets": {"a": {"dtype": "U8", "shape": [4]}},
    "words for offsets": {"a": {"dtype": "U8", "shape": [4], "data_offsets": ["0", "4"]}},
    "no mapping": {"a": 4},
}


@pytest.mark.parametrize("fault", HEADERS)
def test_headers_that_lie_are_refused(tmp_path: Path, fault: str) -> None:
    header = {"__metadata__": {"weighbridge.plain": '{"step":0}'}, **HEADERS[fault]}
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + b"data")
    with pytest.raises(EvidenceError, match="is not a readable anchor"):
        RawAnchor.read(tmp_path / "x")


@given(place=st.integers(0, 2_000), change=st.one_of(st.binary(min_size=1, max_size=3), st.none()))
@settings(max_examples=200, deadline=None)
def test_a_damaged_anchor_is_refused_or_read_to_its_end(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes | None
) -> None:
    path = file(tmp_path_factory.mktemp("damaged") / "x", {"a": np.arange(9, dtype=np.float32)})
    honest = path.read_bytes()
    place %= len(honest)
    path.write_bytes(honest[:place] if change is None else honest[:place] + change + honest[place + len(change) :])
    try:
        found = RawAnchor.read(path)
    except EvidenceError:
        return
    assert len(found.digest(bytes(32))) == 64


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    path = file(tmp_path / "x", {"a": np.arange(9, dtype=np.float32)})
    found = RawAnchor.read(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(EvidenceError, match="changed while it was read"):
        found.digest(bytes(32))
