"""The logical digest: the same for every sharding of the same tensor, another for any other tensor or place."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from blake3 import blake3
from torch import Tensor

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.encoding import canonical, framed
from weighbridge.mechanisms.transcript.logical_digest import LANES, LogicalSum, group_sizes, unit_cuts

SALT = bytes(range(32))
SHAPES = [(13, 6), (13,), (1, 5), (1,), (7, 2, 3), (100, 3), (4096,), (5000, 2), (0, 4)]


def sharded(tensor: Tensor, world: int, name: str = "w") -> list[LogicalSum]:
    """Returns each rank's sum, the tensor being cut as ``torch.chunk`` cuts: what FSDP2 does."""
    parts = list(torch.chunk(tensor, world)) if tensor.shape[0] else []
    start, sums = 0, []
    for rank in range(world):
        part = parts[rank] if rank < len(parts) else tensor[:0]
        mine = LogicalSum.empty(world)
        mine.add_rows(name, part, start=start, shape=tuple(tensor.shape), salt=SALT)
        start += part.shape[0]
        sums.append(mine)
    assert start == tensor.shape[0]
    return sums


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_every_sharding_gives_the_digest_of_the_whole(shape: tuple[int, ...], kind: torch.dtype) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(kind)
    whole = LogicalSum.of({"w": tensor}, salt=SALT).digest
    for world in (1, 2, 3, 4, 5, 7, 8, 16, 24, 32, 48, 64):
        sums = sharded(tensor, world)
        assert LogicalSum.joined(sums).digest == whole, world
        assert LogicalSum.joined(reversed(sums)).digest == whole


def test_it_is_what_its_description_says() -> None:
    tensor = torch.arange(10.0).reshape(5, 2)
    total = [0] * LANES
    for row in range(5):
        unit = blake3(
            b"weighbridge/logical/1" + framed(canonical([64, "w", "torch.float32", [5, 2]])),
            key=SALT,
        )
        unit.update(row.to_bytes(8, "little") + (row + 1).to_bytes(8, "little") + tensor[row].numpy().tobytes())
        hashed = unit.digest(length=2 * LANES)
        total = [(a + int.from_bytes(hashed[2 * i : 2 * i + 2], "little")) % 65536 for i, a in enumerate(total)]
    lanes = b"".join(lane.to_bytes(2, "little") for lane in total)
    expected = blake3(b"weighbridge/logical/1" + framed(b"64") + lanes).hexdigest()
    assert LogicalSum.of({"w": tensor}, salt=SALT).digest == expected


def _others(tensor: Tensor) -> dict[str, Tensor]:
    changed = tensor.clone()
    changed.view(torch.int32)[3, 1] ^= 1
    zero = tensor.clone()
    zero[0, 0] = -0.0
    return {
        "one bit": changed,
        "sign of zero": zero,
        "rows swapped": tensor[[1, 0, *range(2, 13)]],
        "halves swapped": torch.cat([tensor[7:], tensor[:7]]),
        "shape": tensor.reshape(6, 13),
        "format": tensor.view(torch.int32),
        "a row less": tensor[:-1],
    }


def test_another_tensor_name_or_salt_gives_another_digest() -> None:
    tensor = torch.randn(13, 6)
    tensor[0, 0] = 0.0
    found = {name: LogicalSum.of({"w": other}, salt=SALT).digest for name, other in _others(tensor).items()}
    found["itself"] = LogicalSum.of({"w": tensor}, salt=SALT).digest
    found["name"] = LogicalSum.of({"v": tensor}, salt=SALT).digest
    found["salt"] = LogicalSum.of({"w": tensor}, salt=bytes(32)).digest
    assert len(set(found.values())) == len(found)


def test_tensors_that_change_places_change_the_sum() -> None:
    one, other = torch.randn(8, 3), torch.randn(8, 3)
    pair = LogicalSum.of({"a": one, "b": other}, salt=SALT)
    assert pair.digest != LogicalSum.of({"a": other, "b": one}, salt=SALT).digest


def test_adding_the_same_rows_twice_does_not_cancel() -> None:
    """What breaks XOR of hashes: two equal terms vanish. Here 65,536 of them would be needed."""
    tensor = torch.randn(4, 4)
    once = LogicalSum.of({"w": tensor}, salt=SALT)
    for count in (2, 3, 256):
        many = LogicalSum.joined([once] * count)
        assert many.digest != once.digest and many.lanes.any()


def test_lanes_are_spread_evenly() -> None:
    """1,024 lanes of 200 sums: the mean of uniform 16-bit numbers to 5 standard errors, and no two lanes alike."""
    sums = [LogicalSum.of({"w": torch.full((2, 2), float(i))}, salt=SALT).lanes for i in range(200)]
    lanes = np.stack(sums).astype(np.float64)
    error = 65536 / np.sqrt(12 * lanes.size)
    assert abs(lanes.mean() - 65535 / 2) < 5 * error
    assert len({hashlib.sha256(column.tobytes()).digest() for column in lanes.T}) == LANES


def test_no_sharding_of_the_scheme_splits_a_unit() -> None:
    for rows in (1, 2, 13, 255, 1000, 50257):
        cuts = set(unit_cuts(rows, 64))
        assert len(cuts) <= 1300
        for world in group_sizes(64):
            ends = itertools.accumulate(part.shape[0] for part in torch.empty(rows).chunk(world))
            assert set(ends) <= cuts


def test_a_piece_that_splits_a_unit_is_refused() -> None:
    tensor = torch.randn(5000, 2)
    with pytest.raises(InputError, match="no whole number of units"):
        LogicalSum.empty().add_rows("w", tensor[:1], start=0, shape=(5000, 2), salt=SALT)
    with pytest.raises(InputError, match="no scheme"):
        LogicalSum.empty(17)
    assert LogicalSum.empty(128).scheme == 1024


def test_sums_of_different_schemes_are_not_added() -> None:
    with pytest.raises(EvidenceError, match="units for"):
        LogicalSum.joined([LogicalSum.empty(2), LogicalSum.empty(128)])


def test_a_partial_sum_is_read_as_it_was_written() -> None:
    total = LogicalSum.of({"w": torch.randn(9, 2)}, salt=SALT)
    assert LogicalSum.parse(total.text).digest == total.digest
    for text in ("", "64:", "64:00", "63:" + total.text[3:], total.text.upper(), total.text + "00"):
        with pytest.raises(EvidenceError):
            LogicalSum.parse(text)
