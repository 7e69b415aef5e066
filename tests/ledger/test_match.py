"""Explaining a snapshot's bytes: what counts as residence, and layouts made to look like it."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from weighbridge.ledger.match import Explanation, PlacedBytes, explain
from weighbridge.mechanisms.chip.leaves import LeafTable, Mapping, Process, Run, page_digest

LEAF = 4096
BASE = 1 << 30


class Memory:
    """The memory of one or more processes as a stop would read it."""

    def __init__(self) -> None:
        self._segments: list[tuple[int, int, bytes]] = []

    def put(self, address: int, content: bytes, *, process: int = 0) -> "Memory":
        """Maps content at an address of a process."""
        self._segments.append((process, address, content))
        return self

    def table(self) -> LeafTable:
        processes = [Process(pid=100 + n, inner_pid=n) for n in range(1 + max(p for p, _, _ in self._segments))]
        mappings, runs, digests = [], [], []
        for number, (process, address, content) in enumerate(self._segments):
            end = address + len(content)
            mappings.append(
                Mapping(
                    process=process,
                    kind="map",
                    start=address,
                    end=end,
                    permissions="rw-p",
                    offset=0,
                    device="00:00",
                    inode=0,
                    path="",
                )
            )
            runs.append(Run(number, address, len(content)))
            cuts = [address, *range(address - address % LEAF + LEAF, end, LEAF), end]
            digests += [page_digest(content[a - address : b - address]) for a, b in itertools.pairwise(cuts)]
        return LeafTable.build(
            leaf_size=LEAF, processes=processes, mappings=mappings, runs=runs, digests=b"".join(digests)
        )


def noise(leaves: float, seed: int = 0) -> bytes:
    """Incompressible bytes, so many leaves long."""
    return np.random.default_rng(seed).integers(0, 256, int(leaves * LEAF), dtype=np.uint8).tobytes()


def weights(content: bytes, address: int | None = BASE, name: str = "w") -> PlacedBytes:
    return PlacedBytes("weights", address, memoryview(content), name)


def placed(kind: str, content: bytes, address: int) -> PlacedBytes:
    return PlacedBytes(kind, address, memoryview(content), kind)


def counts(explanation: Explanation) -> tuple[int, int, bool]:
    return explanation.weight_matches, explanation.weight_leaves, explanation.matched


def spoiled(content: bytes, leaves: Sequence[int]) -> bytes:
    """The same bytes with one bit changed in some leaves."""
    changed = bytearray(content)
    for leaf in leaves:
        changed[leaf * LEAF + 7] ^= 1
    return bytes(changed)


def test_every_byte_is_of_one_class_and_they_add_up() -> None:
    model, moments, data, other = noise(10), noise(20, 1), noise(4, 2), noise(3, 3)
    memory = Memory().put(BASE, model).put(BASE + (1 << 20), moments).put(BASE + (2 << 20), data)
    memory.put(BASE + (3 << 20), other).put(BASE + (4 << 20), bytes(5 * LEAF))
    known = [
        weights(model),
        placed("optimizer", moments, BASE + (1 << 20)),
        placed("data", data, BASE + (2 << 20)),
    ]
    found = explain(memory.table(), [known])
    assert counts(found) == (10, 10, True)
    assert found.explained_bytes == {"data": 4 * LEAF, "optimizer": 20 * LEAF, "weights": 10 * LEAF}
    assert (found.zero_bytes, found.unexplained_bytes, found.read_bytes) == (5 * LEAF, 3 * LEAF, 42 * LEAF)
    assert found.share == 1.0
    assert found.as_dict()["matched"] is True


@pytest.mark.parametrize(("wrong", "matched"), [(11, False), (10, True)])
def test_nine_tenths_of_the_leaves_decide(wrong: int, matched: bool) -> None:
    model = noise(100)
    found = explain(Memory().put(BASE, spoiled(model, range(wrong))).table(), [[weights(model)]])
    assert counts(found) == (100 - wrong, 100, matched)


@pytest.mark.parametrize("leaves", [10, 20, 30, 70, 110, 1010])
def test_the_boundary_is_exact_at_any_size(leaves: int) -> None:
    model = noise(leaves)
    at = explain(Memory().put(BASE, spoiled(model, range(leaves // 10))).table(), [[weights(model)]])
    below = explain(Memory().put(BASE, spoiled(model, range(leaves // 10 + 1))).table(), [[weights(model)]])
    assert (at.matched, below.matched) == (True, False)


def test_a_freeze_inside_an_update_shows_both_states() -> None:
    before, after = noise(100), noise(100, 1)
    half = before[: 50 * LEAF] + noise(8, 2) + after[58 * LEAF :]
    table = Memory().put(BASE, half).table()
    assert counts(explain(table, [[weights(before)], [weights(after)]])) == (92, 100, True)
    assert not explain(table, [[weights(before)]]).matched
    assert not explain(table, [[weights(after)]]).matched


def test_a_leaf_only_partly_under_a_tensor_stays_unexplained() -> None:
    model = noise(10)
    memory = Memory().put(BASE, noise(0.5, 1) + model + noise(0.5, 2))
    found = explain(memory.table(), [[weights(model, BASE + LEAF // 2)]])
    assert counts(found) == (9, 9, True), "nine whole leaves lie inside, the two at its ends are shared"
    assert found.unexplained_bytes == 2 * LEAF


def test_a_tensor_that_reaches_past_its_mapping_loses_those_leaves() -> None:
    model = noise(10)
    found = explain(Memory().put(BASE, model[: 7 * LEAF]).table(), [[weights(model)]])
    assert counts(found) == (7, 10, False)
    cut = explain(Memory().put(BASE + 100, model[100:]).table(), [[weights(model)]])
    assert counts(cut) == (9, 10, True), "a leaf that the mapping's start cuts is no whole leaf"


def test_forked_workers_with_stale_copies_neither_help_nor_harm() -> None:
    old, new = noise(20), noise(20, 1)
    trainer = Memory().put(BASE, new).put(BASE, old, process=1).put(BASE, old, process=2)
    found = explain(trainer.table(), [[weights(new)]])
    assert counts(found) == (20, 20, True)
    assert found.unexplained_bytes == 40 * LEAF
    shared = Memory().put(BASE, new[: 10 * LEAF]).put(BASE + 10 * LEAF, new[10 * LEAF :], process=1)
    assert counts(explain(shared.table(), [[weights(new)]])) == (10, 20, False), (
        "two halves in two processes train nothing"
    )


HOSTILE = [None, -1, -(1 << 70), (1 << 64) - 1, 1 << 64, 1 << 200, 0]


@pytest.mark.parametrize("address", HOSTILE)
def test_weights_at_an_absurd_address_count_as_not_found(address: int | None) -> None:
    model = noise(10)
    found = explain(Memory().put(BASE, model).table(), [[weights(model, address)]])
    assert counts(found) == (0, 10, False)
    assert found.unexplained_bytes == 10 * LEAF


def test_the_last_leaf_of_the_address_space_can_be_compared() -> None:
    model = noise(2)
    top = (1 << 64) - 2 * LEAF
    assert counts(explain(Memory().put(BASE, model).table(), [[weights(model, top)]])) == (0, 2, False)


def test_weights_that_the_layout_leaves_out_count_as_not_found() -> None:
    """One resident layer of ten is no residence of the model."""
    layers = [noise(4, seed) for seed in range(10)]
    memory = Memory().put(BASE, layers[0])
    candidate = [weights(layers[0], BASE, "l0"), *(weights(layers[n], None, f"l{n}") for n in range(1, 10))]
    assert counts(explain(memory.table(), [candidate])) == (4, 40, False)


def test_one_page_stands_for_one_leaf_of_the_weights() -> None:
    """Ten tensors said to lie at one place: nine of them are nowhere."""
    layers = [noise(1, seed) for seed in range(10)]
    memory = Memory().put(BASE, layers[0])
    candidate = [weights(layer, BASE, f"l{n}") for n, layer in enumerate(layers)]
    assert counts(explain(memory.table(), [candidate])) == (1, 10, False)


def test_equal_tensors_each_need_their_own_memory() -> None:
    same = noise(1)
    once = Memory().put(BASE, same)
    candidate = [weights(same, BASE, f"l{n}") for n in range(10)]
    assert counts(explain(once.table(), [candidate])) == (1, 10, False)
    each = [weights(same, BASE + n * LEAF, f"l{n}") for n in range(10)]
    assert counts(explain(Memory().put(BASE, same * 10).table(), [each])) == (10, 10, True)


def test_overlapping_tensors_share_no_leaf() -> None:
    model = noise(8)
    shifted = [weights(model, BASE, "a"), weights(model[LEAF:], BASE + LEAF, "b")]
    assert counts(explain(Memory().put(BASE, model).table(), [shifted])) == (8, 15, False)


def test_a_name_said_twice_counts_once() -> None:
    model = noise(10)
    twice = [weights(model), weights(model, BASE + (1 << 20))]
    assert counts(explain(Memory().put(BASE, model).table(), [twice])) == (10, 10, True)


def test_zeros_prove_nothing() -> None:
    """Every process has pages of zeros: a model of zeros is resident everywhere and therefore nowhere."""
    zeros = bytes(50 * LEAF)
    found = explain(Memory().put(BASE, zeros).table(), [[weights(zeros)]])
    assert counts(found) == (0, 0, False)
    assert (found.zero_bytes, found.explained_bytes) == (50 * LEAF, {})


def test_only_leaves_that_are_not_zero_decide() -> None:
    trained, untouched = noise(10), bytes(90 * LEAF)
    absent = Memory().put(BASE, bytes(100 * LEAF))
    assert counts(explain(absent.table(), [[weights(trained + untouched)]])) == (0, 10, False)
    present = Memory().put(BASE, trained + untouched)
    assert counts(explain(present.table(), [[weights(trained + untouched)]])) == (10, 10, True)


def test_zeroed_memory_is_no_match_for_weights_that_are_not_zero() -> None:
    model = noise(10)
    assert counts(explain(Memory().put(BASE, bytes(10 * LEAF)).table(), [[weights(model)]])) == (0, 10, False)


def test_tensors_smaller_than_a_leaf_decide_nothing() -> None:
    small = noise(0.9)
    found = explain(Memory().put(BASE, small + noise(0.1, 1)).table(), [[weights(small)]])
    assert counts(found) == (0, 0, False)


def test_empty_tensors_tables_and_candidates() -> None:
    table = Memory().put(BASE, noise(2)).table()
    every: list[list[list[PlacedBytes]]] = [[], [[]], [[weights(b"")]]]
    for candidates in every:
        found = explain(table, candidates)
        assert counts(found) == (0, 0, False)
        assert found.unexplained_bytes == found.read_bytes == 2 * LEAF
    nothing = LeafTable.build(leaf_size=LEAF, processes=[], mappings=[], runs=[], digests=b"")
    assert counts(explain(nothing, [[weights(noise(3))]])) == (0, 3, False)


def test_a_leaf_has_the_first_class_that_explains_it() -> None:
    content = noise(4)
    known = [placed("data", content, BASE), weights(content)]
    found = explain(Memory().put(BASE, content).table(), [known])
    assert found.explained_bytes == {"data": 4 * LEAF}
    assert counts(found) == (4, 4, True), "that the bytes are data too takes nothing from the weights' residence"


def test_a_large_layout_of_lies_costs_no_more_than_its_bytes() -> None:
    """A thousand tensors at one place: each is hashed once, whatever lies there."""
    table = Memory().put(BASE, noise(2)).table()
    lies = [weights(noise(1, seed), BASE, f"l{seed}") for seed in range(1000)]
    assert counts(explain(table, [lies])) == (1, 1000, False)
