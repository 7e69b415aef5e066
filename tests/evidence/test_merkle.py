"""The tree against published vectors, against two other implementations, and against forged proofs."""

import hashlib

import pytest
import scitt_cose.merkle
from hypothesis import given, settings
from hypothesis import strategies as st
from tlog_scales.tlog import ConsistencyProof, InclusionProof

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.merkle import (
    EMPTY_ROOT,
    NodeSource,
    Tree,
    leaf_hash,
    node_hash,
    peak_nodes,
    prove_consistency,
    prove_inclusion,
    root,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)
from weighbridge.evidence.store import node_position

# The eight entries and their roots that RFC 6962's and RFC 9162's implementations have shared since
# certificate-transparency's merkle_tree_test; the hashing rules of the two RFCs are the same.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
MANY = [hashlib.sha256(b"%d" % number).digest() for number in range(70)]


def source(leaves: list[bytes]) -> NodeSource:
    nodes: dict[tuple[int, int], bytes] = {}
    tree = Tree()
    for leaf in leaves:
        nodes.update({(level, index): value for level, index, value in tree.append(leaf)})
    return lambda level, index: nodes[level, index]


def test_published_roots() -> None:
    for size in range(9):
        assert root(LEAVES[:size]).hex() == ROOTS[size]
        tree = Tree()
        for leaf in LEAVES[:size]:
            tree.append(leaf)
        assert tree.root().hex() == ROOTS[size]
        assert subtree_root(source(LEAVES), 0, size).hex() == ROOTS[size]
    assert EMPTY_ROOT.hex() == ROOTS[0]


def test_published_inclusion_proofs() -> None:
    for (index, size), expected in INCLUSION.items():
        path = prove_inclusion(source(LEAVES), index, size)
        assert [node.hex() for node in path] == expected
        verify_inclusion(LEAVES[index], index, size, path, bytes.fromhex(ROOTS[size]))


def test_published_consistency_proofs() -> None:
    for (old, new), expected in CONSISTENCY.items():
        path = prove_consistency(source(LEAVES), old, new)
        assert [node.hex() for node in path] == expected
        verify_consistency(old, new, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]), path)


def test_the_worked_example_of_rfc_9162_section_2_1_5() -> None:
    """A tree of seven, with the RFC's letters for its nodes."""
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, el = node_hash(g, h), node_hash(i, j)
    node = source(LEAVES)
    assert prove_inclusion(node, 0, 7) == [b, h, el]
    assert prove_inclusion(node, 3, 7) == [c, g, el]
    assert prove_inclusion(node, 4, 7) == [f, j, k]
    assert prove_inclusion(node, 6, 7) == [i, k]
    assert prove_consistency(node, 3, 7) == [c, d, g, el]
    assert prove_consistency(node, 4, 7) == [el]
    assert prove_consistency(node, 6, 7) == [i, j, k]


def test_two_other_implementations_make_and_accept_the_same_proofs() -> None:
    """scitt_cose hashes entries itself; tlog_scales is given leaf hashes."""
    entries = [b"%d" % number for number in range(40)]
    leaves = [leaf_hash(entry) for entry in entries]
    texts = [entry.hex() for entry in entries]
    node = source(leaves)
    for size in range(1, 41):
        top = root(leaves[:size])
        assert scitt_cose.merkle_root(texts[:size]) == top.hex()
        for index in range(0, size, 3):
            path = prove_inclusion(node, index, size)
            assert scitt_cose.inclusion_proof(texts[:size], index) == [p.hex() for p in path]
            assert scitt_cose.verify_inclusion(texts[index], index, size, [p.hex() for p in path], top.hex())
            InclusionProof(index, size, path).check(leaves[index], top)
        for old in range(1, size + 1, 3):
            path = prove_consistency(node, old, size)
            assert scitt_cose.consistency_proof(texts, old, size) == [p.hex() for p in path]
            ConsistencyProof(old, size, path).check(root(leaves[:old]), top)


def test_every_proof_of_every_small_tree_holds_and_no_other() -> None:
    node = source(MANY)
    for size in range(1, 34):
        top = root(MANY[:size])
        for index in range(size):
            path = prove_inclusion(node, index, size)
            verify_inclusion(MANY[index], index, size, path, top)
            for wrong in range(size):
                if wrong != index:
                    with pytest.raises(EvidenceError):
                        verify_inclusion(MANY[index], wrong, size, path, top)
        for old in range(size + 1):
            path = prove_consistency(node, old, size)
            verify_consistency(old, size, root(MANY[:old]), top, path)
            if old:
                for wrong in range(1, size + 1):
                    if wrong != old:
                        with pytest.raises(EvidenceError):
                            verify_consistency(wrong, size, root(MANY[:old]), top, path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_forged_proof_does_not_hold(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size - 1))
    node, top = source(MANY), root(MANY[:size])
    inclusion, consistency = prove_inclusion(node, index, size), prove_consistency(node, old, size)

    def check_inclusion(path: list[bytes]) -> None:
        verify_inclusion(MANY[index], index, size, path, top)

    def check_consistency(path: list[bytes]) -> None:
        verify_consistency(old, size, root(MANY[:old]), top, path)

    for path, check in ((inclusion, check_inclusion), (consistency, check_consistency)):
        check(path)
        place = data.draw(st.integers(0, len(path) - 1))
        forged = [list(path) for _ in range(5)]
        forged[0][place] = data.draw(st.binary(min_size=32, max_size=32))
        forged[1].insert(place, data.draw(st.sampled_from(path)))
        del forged[2][place]
        forged[3] = path[::-1]
        forged[4].append(EMPTY_ROOT)
        for other in forged:
            if other != path:
                with pytest.raises(EvidenceError):
                    check(other)


def test_a_forked_tree_is_consistent_with_neither_side() -> None:
    other = [*MANY[:19], MANY[0], *MANY[20:]]
    with pytest.raises(EvidenceError, match="does not extend") as caught:
        verify_consistency(20, 40, root(MANY[:20]), root(other), prove_consistency(source(other), 20, 40))
    assert root(MANY[:20]).hex() in str(caught.value)
    assert root(other).hex() in str(caught.value)
    verify_consistency(19, 40, root(MANY[:19]), root(other[:40]), prove_consistency(source(other), 19, 40))


def test_the_empty_tree_is_the_start_of_every_tree_and_equal_trees_need_no_proof() -> None:
    top = root(MANY[:5])
    verify_consistency(0, 5, EMPTY_ROOT, top, [])
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    for old, new, old_root, new_root, path in (
        (0, 5, top, top, []),
        (0, 5, EMPTY_ROOT, top, [top]),
        (5, 5, top, EMPTY_ROOT, []),
        (5, 5, top, top, [top]),
        (0, 0, EMPTY_ROOT, top, []),
        (6, 5, top, top, []),
        (-1, 5, EMPTY_ROOT, top, []),
        (1, 5, top, top, []),
    ):
        with pytest.raises(EvidenceError):
            verify_consistency(old, new, old_root, new_root, path)


def test_malformed_proofs_are_refused_at_once() -> None:
    good = prove_inclusion(source(MANY), 3, 8)
    top = root(MANY[:8])
    for leaf, index, size, path in (
        (MANY[3], 8, 8, good),
        (MANY[3], -1, 8, good),
        (MANY[3], 3, 0, []),
        (MANY[3], 3, LIMITS.tree_size + 1, good),
        (MANY[3], 3, 8, [*good, *good] * 40),
        (MANY[3], 3, 8, [good[0][:31], *good[1:]]),
        (b"", 3, 8, good),
        (MANY[3], 3, 8, ["text"]),
        (MANY[3], 3, 8, []),
    ):
        with pytest.raises(EvidenceError):
            verify_inclusion(leaf, index, size, path, top)  # type: ignore[arg-type]
    for index, size in ((8, 8), (-1, 8), (0, 0)):
        with pytest.raises(InputError):
            prove_inclusion(source(MANY), index, size)
    for old, new in ((9, 8), (-1, 8)):
        with pytest.raises(InputError):
            prove_consistency(source(MANY), old, new)


def test_proofs_need_few_nodes() -> None:
    size = (1 << 40) - 1
    asked: list[tuple[int, int]] = []

    def node(level: int, index: int) -> bytes:
        assert (index + 1) << level <= size
        asked.append((level, index))
        return bytes(32)

    prove_inclusion(node, 123_456_789, size)
    assert len(asked) <= 80
    asked.clear()
    prove_consistency(node, 123_456_789, size)
    assert len(asked) <= 120


def test_a_tree_goes_on_from_its_peaks() -> None:
    node = source(MANY)
    for size in range(len(MANY)):
        again = Tree(size, [node(*place) for place in peak_nodes(size)])
        assert again.root() == root(MANY[:size])
        branch = again.copy()
        again.append(MANY[size])
        assert again.root() == root(MANY[: size + 1])
        assert branch.root() == root(MANY[:size])
    with pytest.raises(InputError):
        Tree(3, [bytes(32)])


def test_nodes_are_numbered_in_the_order_of_their_completion() -> None:
    tree = Tree()
    expected = 0
    for leaf in MANY:
        for level, index, _ in tree.append(leaf):
            assert node_position(level, index) == expected
            expected += 1
