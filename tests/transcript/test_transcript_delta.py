"""Anchors kept as deltas: the same bytes come back, or a refusal in words, whatever the file says."""

import json
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.anchor_delta import DEEPEST, depth_of, is_delta, pack_anchor, plain_file
from weighbridge.mechanisms.transcript.anchors import read_anchor, write_anchor
from weighbridge.mechanisms.transcript.packing import pack_run
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.raw_anchor import RawAnchor, first_difference
from weighbridge.mechanisms.transcript.state import TrainingState

from .judging import replayed
from .world import Ended, World, copied

SALT = b"s" * 32


def chain(folder: Path, length: int) -> list[Path]:
    """States that move a little, as training's do; one tensor grows, one appears, one never moves."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(40_000, generator=generator)
    fixed = torch.randn(5_000, generator=generator).to(torch.bfloat16)
    paths = []
    for step in range(length):
        tensors = {"w": weights.clone(), "fixed": fixed, "grows": torch.arange(step + 3), "empty": torch.zeros(0, 2)}
        if step:
            tensors["moment"] = torch.full((3_000,), 1.0 + step * 1e-3, dtype=torch.float64)
        path = folder / f"plan-0000-{step:07d}.safetensors"
        write_anchor(path, TrainingState(tensors, {"step": step}))
        paths.append(path)
        weights += 1e-6 * torch.randn(weights.shape, generator=generator)
    return paths


def test_what_is_packed_comes_back_to_the_byte(tmp_path: Path) -> None:
    paths = chain(tmp_path, DEEPEST + 3)
    before = [path.read_bytes() for path in paths]
    for base, path in pairwise(paths):
        saved = pack_anchor(path, base)
        assert saved == (len(before[paths.index(path)]) - path.stat().st_size)
    assert [depth_of(path) for path in paths] == [0, 1, 2, 3, 4, 0, 1]
    assert not list(tmp_path.glob(".*"))
    for path, data in zip(paths, before, strict=True):
        with plain_file(path) as plain:
            assert plain.read_bytes() == data
        state = read_anchor(path)
        assert RawAnchor.read(path).digest(SALT) == state.digest(SALT).hex()
        assert is_delta(path) == (len(data) > path.stat().st_size)
    assert first_difference(RawAnchor.read(paths[1]), RawAnchor.read(paths[1])) is None
    found = first_difference(RawAnchor.read(paths[1]), RawAnchor.read(paths[2]))
    assert found is not None and found.name == "grows"


def test_a_delta_that_is_not_smaller_is_not_kept(tmp_path: Path) -> None:
    one, two = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path in (one, two):
        write_anchor(path, TrainingState({"noise": torch.randint(0, 256, (50_000,), dtype=torch.uint8)}, {"step": 1}))
    before = two.read_bytes()
    assert pack_anchor(two, one) == 0 and two.read_bytes() == before and not is_delta(two)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    base, path = chain(folder, 2)
    assert pack_anchor(path, base)
    return path


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_no_edit_of_a_delta_gives_anything_else(
    packed: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "edited"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(packed.with_name("plan-0000-0000000.safetensors"), folder / "plan-0000-0000000.safetensors")
    target = folder / packed.name
    whole = packed.read_bytes()
    edited = bytearray(whole)
    match data.draw(st.sampled_from(["cut", "more", "bytes", "swap"])):
        case "cut":
            del edited[data.draw(st.integers(8, len(edited) - 1)) :]
        case "more":
            edited += data.draw(st.binary(min_size=1, max_size=20))
        case "bytes":
            for _ in range(data.draw(st.integers(1, 3))):
                edited[data.draw(st.integers(8, len(edited) - 1))] = data.draw(st.integers(0, 255))
        case "swap":
            one, two = sorted(data.draw(st.integers(8, len(edited) - 64)) for _ in range(2))
            edited[one : one + 32], edited[two : two + 32] = edited[two : two + 32], edited[one : one + 32]
    target.write_bytes(edited)
    if edited == whole:
        assert read_anchor(target).plain == {"step": 1}
    else:
        with pytest.raises(EvidenceError):
            read_anchor(target)
        with pytest.raises(EvidenceError):
            RawAnchor.read(target)


def _with_header(path: Path, target: Path, changes: Mapping[str, object], blocks: bytes | None = None) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[8:16], "little")
    header = json.loads(data[16 : 16 + length]) | dict(changes)
    text = json.dumps(header).encode()
    target.write_bytes(data[:8] + len(text).to_bytes(8, "little") + text + (blocks or data[16 + length :]))


HOSTILE: dict[str, tuple[dict[str, object], str]] = {
    "a base elsewhere": ({"base": "../plan-0000-0000000.safetensors"}, "base or digests are malformed"),
    "itself as its base": ({"base": "plan-0000-0000009.safetensors"}, "more than 4 deltas"),
    "a base that is not there": ({"base": "plan-0000-0000077.safetensors"}, "not a readable delta"),
    "another base's digest": ({"base_blake3": "0" * 64}, "not the base that the delta names"),
    "another digest": ({"blake3": "0" * 64}, "does not give the file that it names"),
    "a giant": ({"bytes": 1 << 60}, "more than 8 times its base's bytes"),
    "a head larger than the file": ({"head": 1 << 40}, "sizes do not fit"),
    "a head of text": ({"head": "8"}, "sizes are no numbers"),
    "another field": ({"more": 1}, "not a readable delta"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_headers(packed: Path, what: str) -> None:
    changes, words = HOSTILE[what]
    target = packed.with_name("plan-0000-0000009.safetensors")
    _with_header(packed, target, changes)
    try:
        with pytest.raises(EvidenceError, match=words):
            read_anchor(target)
    finally:
        target.unlink()


def test_a_bomb_is_refused_before_it_is_opened(packed: Path) -> None:
    target = packed.with_name("plan-0000-0000009.safetensors")
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 30))
    for kind in (b"s", b"x", b"r", b"?"):
        _with_header(packed, target, {}, kind + len(bomb).to_bytes(4, "little") + bomb)
        with pytest.raises(EvidenceError, match=r"another size than its place|larger than what|unknown kind"):
            read_anchor(target)
    target.unlink()


@pytest.mark.real
def test_a_packed_run_is_verified_like_any(world: World) -> None:
    ended = world.project(steps=20, stride=4, anchor_every=4, width=64).train()
    assert ended.status == 0, ended.errors
    with copied(ended.run) as folder:
        results = list(pack_run(folder))
        assert [result.depth for result in results] == [0, 1, 2, 3, 4, 0]
        assert all(result.after < result.before for result in results if result.depth)
        again = list(pack_run(folder))
        assert [r.after for r in again] == [r.after for r in results] == [r.before for r in again]
        copy = Ended(0, "", "", ended.project, folder)
        transcript = copy.open()
        assert len(segments_of(transcript)) == 5
        for leg in segments_of(transcript)[1:]:
            assert replayed(copy, [leg]).outcome.value == "pass"
        resumed = ended.project.train(resume=folder)
        assert resumed.status == 2 and "has finished" in resumed.errors
