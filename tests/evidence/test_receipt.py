import hashlib
import itertools
from typing import Any

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import EvidenceError
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log
from weighbridge.evidence.merkle import Tree, leaf_hash, prove_inclusion, root
from weighbridge.evidence.receipt import (
    build_receipt,
    receipt_header,
    verify_foreign_receipt,
    verify_receipt,
)
from weighbridge.evidence.statement import signed_bytes
from weighbridge.evidence.trust import LogKey

from .conftest import ORIGIN, World

TIME_US = 1_800_000_000_123_456
STATEMENTS = [b"statement %d" % number for number in range(8)]
DIGESTS = [hashlib.sha256(raw).digest() for raw in STATEMENTS]


def receipt_for(
    world: World,
    index: int,
    size: int,
    *,
    header: bytes | None = None,
    shown_index: int | None = None,
    shown_size: int | None = None,
) -> bytes:
    leaves = [leaf_hash(digest) for digest in DIGESTS[:size]]
    nodes: dict[tuple[int, int], bytes] = {}
    tree = Tree()
    for leaf in leaves:
        nodes.update({(level, i): value for level, i, value in tree.append(leaf)})
    path = prove_inclusion(lambda level, i: nodes[level, i], index, size)
    head = header or receipt_header(world.roots.log_key, size=size, time_us=TIME_US)
    signature = world.log_signer.sign(signed_bytes(head, root(leaves)))
    return build_receipt(
        head,
        signature,
        index=index if shown_index is None else shown_index,
        size=size if shown_size is None else shown_size,
        path=path,
    )


def pem(signer: FileSigner) -> bytes:
    return Ed25519PublicKey.from_public_bytes(signer.public_key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_a_receipt_proves_place_time_and_root(world: World) -> None:
    for size in range(1, 9):
        for index in range(size):
            receipt = receipt_for(world, index, size)
            found = verify_receipt(STATEMENTS[index], receipt, world.roots.log_key)
            assert (found.index, found.tree_size) == (index, size)
            assert found.integrated_at == 1_800_000_000.123456
            assert found.statement_id == DIGESTS[index].hex()
            assert found.root == root(leaf_hash(digest) for digest in DIGESTS[:size])
            assert found.receipt == receipt


def test_scitt_cose_accepts_receipts_of_a_real_log(world: World, log: Log) -> None:
    statements = world.states(23)
    entries = log.append(statements[:20]) + log.append(statements[20:])
    for raw, entry in zip(statements, entries, strict=True):
        result = scitt_cose.verify_receipt(
            entry.receipt,
            leaf_entry_hex=hashlib.sha256(raw).hexdigest(),
            log_public_key_pem=pem(world.log_signer),
        )
        assert result.ok, result.errors
        assert result.leaf_index == entry.index
        assert result.iat == int(entry.integrated_at)
        assert result.issuer == ORIGIN
        assert result.root == log.root_at(20 if entry.index < 20 else 23).hex()
    wrong = scitt_cose.verify_receipt(
        entries[0].receipt,
        leaf_entry_hex=hashlib.sha256(statements[1]).hexdigest(),
        log_public_key_pem=pem(world.log_signer),
    )
    assert not wrong.ok


def test_a_statement_carries_its_receipt_as_rfc_9943_has_it(world: World, log: Log) -> None:
    raw = world.state()
    entry = log.append([raw])[0]
    transparent = scitt_cose.attach_receipts(raw, [entry.receipt])
    assert scitt_cose.extract_receipts(transparent) == [entry.receipt]


def test_ours_accepts_receipts_of_scitt_cose(world: World) -> None:
    entries = [digest.hex() for digest in DIGESTS]
    for index, extra in itertools.product((0, 5, 7), ({}, {"iss": "i", "sub": "s", "kid": b"k", "iat": 7})):
        receipt = scitt_cose.build_receipt(
            leaf_entry_hex=entries[index],
            leaf_index=index,
            tree_entries_hex=entries,
            alg="EdDSA",
            log_private_key_pem=world.log_signer.path.read_bytes(),
            **extra,
        )
        found = verify_foreign_receipt(DIGESTS[index], receipt, world.log_signer.public_key)
        assert (found.index, found.tree_size) == (index, 8)
        assert found.root.hex() == scitt_cose.merkle_root(entries)
        assert found.claims == ({1: "i", 2: "s", 6: 7} if extra else {})
        for entry, key in (
            (DIGESTS[index ^ 1], world.log_signer.public_key),
            (DIGESTS[index], world.chip.public_key),
        ):
            with pytest.raises(EvidenceError):
                verify_foreign_receipt(entry, receipt, key)
        with pytest.raises(EvidenceError):
            verify_receipt(STATEMENTS[index], receipt, world.roots.log_key)
    ours = receipt_for(world, 3, 8)
    assert verify_foreign_receipt(DIGESTS[3], ours, world.log_signer.public_key).index == 3


def test_a_receipt_for_another_size_is_refused_though_its_path_leads_to_the_root(world: World) -> None:
    """RFC 9162 roots do not say their size: entry 0 of 5 has the path of entry 0 of 6, 7 and 8."""
    for shown in (6, 7, 8):
        moved = receipt_for(world, 0, 5, shown_size=shown)
        # The library without our binding takes it:
        result = scitt_cose.verify_receipt(
            moved, leaf_entry_hex=DIGESTS[0].hex(), log_public_key_pem=pem(world.log_signer)
        )
        assert result.ok
        assert result.tree_size == shown
        with pytest.raises(EvidenceError, match=f"signed for '{ORIGIN}#5', shown for {shown}"):
            verify_receipt(STATEMENTS[0], moved, world.roots.log_key)


def test_no_other_index_or_size_is_accepted(world: World) -> None:
    for size in range(1, 9):
        for index in range(size):
            for shown_index, shown_size in itertools.product(range(9), range(10)):
                if (shown_index, shown_size) == (index, size):
                    continue
                moved = receipt_for(world, index, size, shown_index=shown_index, shown_size=shown_size)
                with pytest.raises(EvidenceError):
                    verify_receipt(STATEMENTS[index], moved, world.roots.log_key)


def test_another_statement_log_or_key_is_refused(world: World) -> None:
    receipt = receipt_for(world, 3, 8)
    for raw, key in (
        (STATEMENTS[4], world.roots.log_key),
        (STATEMENTS[3], LogKey("example.org/other", world.log_signer.public_key)),
        (STATEMENTS[3], LogKey(ORIGIN, world.chip.public_key)),
    ):
        with pytest.raises(EvidenceError):
            verify_receipt(raw, receipt, key)


def header_with(world: World, change: dict[Any, Any]) -> bytes:
    header = dict(cbor2.loads(receipt_header(world.roots.log_key, size=8, time_us=TIME_US)))
    return cbor2.dumps({key: value for key, value in (header | change).items() if value is not None})


CLAIMS = {1: ORIGIN, 2: f"{ORIGIN}#8", 6: 1_800_000_000, "weighbridge-us": 123456}


@pytest.mark.parametrize(
    "change",
    [
        {1: -7},
        {1: None},
        {4: b"x" * 32},
        {4: None},
        {395: 2},
        {395: True},
        {395: None},
        {15: None},
        {2: [395]},
        {99: 1},
        {15: CLAIMS | {1: "other"}},
        {15: CLAIMS | {2: f"{ORIGIN}#9"}},
        {15: CLAIMS | {2: 8}},
        {15: CLAIMS | {6: 1.5}},
        {15: CLAIMS | {6: -1}},
        {15: CLAIMS | {6: True}},
        {15: CLAIMS | {6: 1 << 50}},
        {15: CLAIMS | {"weighbridge-us": 1_000_000}},
        {15: CLAIMS | {"weighbridge-us": "1"}},
        {15: {1: ORIGIN, 2: f"{ORIGIN}#8", 6: 1}},
        {15: CLAIMS | {7: 1}},
        {15: []},
    ],
)
def test_other_headers_are_refused_though_the_log_signed_them(world: World, change: dict[Any, Any]) -> None:
    good = receipt_for(world, 3, 8, header=header_with(world, {}))
    assert verify_receipt(STATEMENTS[3], good, world.roots.log_key).index == 3
    with pytest.raises(EvidenceError):
        verify_receipt(STATEMENTS[3], receipt_for(world, 3, 8, header=header_with(world, change)), world.roots.log_key)


def rewrap(receipt: bytes, *, unprotected: Any = None, payload: Any = None) -> bytes:
    header, found, _, signature = cbor2.loads(receipt).value
    return cbor2.dumps(cbor2.CBORTag(18, [header, found if unprotected is None else unprotected, payload, signature]))


def test_other_unprotected_parts_are_refused(world: World) -> None:
    receipt = receipt_for(world, 3, 8)
    proof = cbor2.loads(receipt).value[1][396][-1][0]
    assert rewrap(receipt) == receipt
    size, index, path = cbor2.loads(proof)
    for changed in (
        rewrap(receipt, payload=root([leaf_hash(d) for d in DIGESTS])),
        rewrap(receipt, unprotected={}),
        rewrap(receipt, unprotected={396: {-1: [proof]}, 4: b"k"}),
        rewrap(receipt, unprotected={396: {-1: []}}),
        rewrap(receipt, unprotected={396: {-1: [proof, proof]}}),
        rewrap(receipt, unprotected={396: {-1: [proof], -2: [proof]}}),
        rewrap(receipt, unprotected={396: {-2: [proof]}}),
        rewrap(receipt, unprotected={396: {-1: proof}}),
        rewrap(receipt, unprotected={396: {-1: [5]}}),
        rewrap(receipt, unprotected={396: [proof]}),
        rewrap(receipt, unprotected={396: {-1: [proof + b"\x00"]}}),
        *(
            rewrap(receipt, unprotected={396: {-1: [cbor2.dumps(other)]}})
            for other in (
                [size, index],
                [size, index, list(path), 0],
                [size, index, [*path, path[0]]],
                [size, index, path[:-1]],
                [size, index, [p[:31] for p in path]],
                [size, index, [1, 2, 3]],
                [size, index, "path"],
                [float(size), index, list(path)],
                [size, True, list(path)],
                [1 << 63, index, list(path)],
                [size, -1, list(path)],
                {0: size},
            )
        ),
        receipt + b"\x00",
        b"x" * 20_000,
    ):
        with pytest.raises(EvidenceError):
            verify_receipt(STATEMENTS[3], changed, world.roots.log_key)


def test_every_flipped_bit_and_truncation_is_refused(world: World) -> None:
    receipt = receipt_for(world, 3, 8)
    for position, bit in itertools.product(range(len(receipt)), range(8)):
        changed = bytearray(receipt)
        changed[position] ^= 1 << bit
        with pytest.raises(EvidenceError):
            verify_receipt(STATEMENTS[3], bytes(changed), world.roots.log_key)
    for length in range(len(receipt)):
        with pytest.raises(EvidenceError):
            verify_receipt(STATEMENTS[3], receipt[:length], world.roots.log_key)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutated_receipt_is_refused_and_never_another_error(world: World, data: st.DataObject) -> None:
    receipt = receipt_for(world, 3, 8)
    start = data.draw(st.integers(0, len(receipt)))
    end = data.draw(st.integers(start, len(receipt)))
    changed = receipt[:start] + data.draw(st.binary(max_size=50)) + receipt[end:]
    if changed == receipt:
        return
    with pytest.raises(EvidenceError):
        verify_receipt(STATEMENTS[3], changed, world.roots.log_key)
    with pytest.raises(EvidenceError):
        verify_foreign_receipt(DIGESTS[3], changed, world.log_signer.public_key)


def test_a_statement_of_the_logs_own_key_is_no_receipt(world: World) -> None:
    raw = world.state(world.log_signer)
    with pytest.raises(EvidenceError):
        verify_receipt(STATEMENTS[3], raw, world.roots.log_key)
