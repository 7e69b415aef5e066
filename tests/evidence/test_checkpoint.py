import base64
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tlog_scales.signing import PlainEd25519Signer, Vkey
from tlog_scales.tlog import Checkpoint as OtherCheckpoint

from weighbridge.errors import EvidenceError
from weighbridge.evidence.checkpoint import sign_checkpoint, verify_checkpoint
from weighbridge.evidence.limits import LIMITS
from weighbridge.evidence.trust import LogKey

from .conftest import World

ROOT = bytes(range(32))


@pytest.fixture(scope="session")
def note(world: World) -> bytes:
    return sign_checkpoint(world.log_signer, world.roots.log_key, size=1234, root=ROOT, time=1_800_000_000)


def test_a_checkpoint_is_read_as_it_was_signed(world: World, note: bytes) -> None:
    found = verify_checkpoint(note, world.roots.log_key)
    assert (found.origin, found.size, found.root, found.time) == (
        "example.org/log",
        1234,
        ROOT,
        1_800_000_000,
    )
    assert found.raw == note
    assert note.decode().splitlines()[:4] == [
        "example.org/log",
        "1234",
        base64.b64encode(ROOT).decode(),
        "",
    ]


def test_tlog_scales_accepts_both_signatures_of_ours(world: World, note: bytes) -> None:
    key = world.roots.log_key
    other = OtherCheckpoint.from_text(note.decode())
    assert (other.origin, other.size, other.root_hash) == (key.origin, 1234, ROOT)
    assert other.serialize().encode() == note
    for line in (key.vkey(), key.cosignature_vkey()):
        vkey = Vkey.from_string(line)
        assert vkey.serialize() == line  # type: ignore[no-untyped-call]
        other.verify(vkey)
    timed = next(s for s in other.signatures if s.key_id == int.from_bytes(key.cosignature_hash, "big"))
    assert int.from_bytes(timed.payload[:8], "big") == 1_800_000_000
    stranger = LogKey(key.origin, world.chip.public_key)
    with pytest.raises(RuntimeError):
        other.verify(Vkey.from_string(stranger.vkey()))


def test_ours_accepts_the_plain_signature_of_tlog_scales(world: World, note: bytes) -> None:
    """It cannot make cosignatures of the Ed25519 kind, so the timed line is ours."""
    key = world.log_signer._private_key
    plain = PlainEd25519Signer("example.org/log", key)
    assert plain.vkey.serialize() == world.roots.log_key.vkey()  # type: ignore[no-untyped-call]
    made = OtherCheckpoint.make_signed("example.org/log", 1234, ROOT, [plain]).serialize().encode()
    with pytest.raises(EvidenceError, match="one timed cosignature"):
        verify_checkpoint(made, world.roots.log_key)
    timed = note.splitlines(keepends=True)[-1]
    assert verify_checkpoint(made + timed, world.roots.log_key).size == 1234


def test_lines_of_witnesses_are_passed_over(world: World, note: bytes) -> None:
    witness = PlainEd25519Signer("witness.example", Ed25519PrivateKey.generate())
    signature = witness.sign(OtherCheckpoint.from_text(note.decode())).serialize() + "\n"
    assert verify_checkpoint(note + signature.encode(), world.roots.log_key).size == 1234
    crowd = note + signature.encode() * (LIMITS.checkpoint_signatures - 2)
    assert verify_checkpoint(crowd, world.roots.log_key).size == 1234
    with pytest.raises(EvidenceError, match="signatures"):
        verify_checkpoint(crowd + signature.encode(), world.roots.log_key)


def test_another_log_is_refused(world: World, note: bytes) -> None:
    for key in (
        LogKey("example.org/other", world.log_signer.public_key),
        LogKey("example.org/log", world.chip.public_key),
    ):
        with pytest.raises(EvidenceError):
            verify_checkpoint(note, key)


def lines(note: bytes) -> list[bytes]:
    return note.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("empty", lambda n: b""),
        ("another size", lambda n: n.replace(b"\n1234\n", b"\n1235\n")),
        ("a size with a zero before", lambda n: n.replace(b"\n1234\n", b"\n01234\n")),
        ("a signed size", lambda n: n.replace(b"\n1234\n", b"\n+1234\n")),
        ("a size in other digits", lambda n: n.replace(b"\n1234\n", "\n١٢٣٤\n".encode())),
        ("an endless size", lambda n: n.replace(b"\n1234\n", b"\n" + b"9" * 5000 + b"\n")),
        ("another root", lambda n: n.replace(b"AAEC", b"AAED")),
        ("a short root", lambda n: n.replace(b"AAECAwQF", b"")),
        ("a root in another spelling", lambda n: n.replace(b"Hh8=", b"Hh9=")),
        ("an extension line", lambda n: n.replace(b"\n\n", b"\nextension\n\n")),
        ("no plain signature", lambda n: b"".join(lines(n)[:4] + lines(n)[5:])),
        ("no timed signature", lambda n: b"".join(lines(n)[:5])),
        ("no signatures", lambda n: b"".join(lines(n)[:4])),
        ("two times", lambda n: n + lines(n)[5]),
        ("carriage returns", lambda n: n.replace(b"\n", b"\r\n")),
        ("a NUL", lambda n: n.replace(b"example", b"exam\x00ple")),
        ("not UTF-8", lambda n: n.replace(b"example", b"exam\xffple")),
        ("no last line end", lambda n: n[:-1]),
        ("a hyphen for the dash", lambda n: n.replace("—".encode(), b"-")),
        ("a short signature", lambda n: n + "— example.org/log AAAA\n".encode()),
        ("text after the signatures", lambda n: n + b"more\n"),
        ("too large", lambda n: n + b"x" * 10_000),
    ],
)
def test_a_changed_checkpoint_is_refused(world: World, note: bytes, fault: str, change: object) -> None:
    changed = change(note)  # type: ignore[operator]
    assert changed != note, fault
    with pytest.raises(EvidenceError, match="checkpoint"):
        verify_checkpoint(changed, world.roots.log_key)


def test_a_time_moved_in_the_cosignature_is_refused(world: World, note: bytes) -> None:
    blob = bytearray(base64.b64decode(lines(note)[5].split()[2]))
    blob[11] ^= 1
    moved = b"".join(lines(note)[:5]) + "— example.org/log ".encode() + base64.b64encode(blob) + b"\n"
    with pytest.raises(EvidenceError, match="signature"):
        verify_checkpoint(moved, world.roots.log_key)


def test_every_flipped_bit_that_changes_the_text_is_refused(world: World, note: bytes) -> None:
    for position in range(len(note)):
        changed = bytearray(note)
        changed[position] ^= 1 << (position % 7)
        with pytest.raises(EvidenceError):
            verify_checkpoint(bytes(changed), world.roots.log_key)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutated_checkpoint_is_refused_or_says_the_same(world: World, note: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(note)))
    end = data.draw(st.integers(start, len(note)))
    insert = data.draw(st.one_of(st.binary(max_size=20), st.text(max_size=5).map(str.encode)))
    changed = note[:start] + insert + note[end:]
    try:
        found = verify_checkpoint(changed, world.roots.log_key)
    except EvidenceError:
        return
    assert (found.size, found.root, found.time) == (1234, ROOT, 1_800_000_000)


def test_a_checkpoint_is_checked_quickly(world: World, note: bytes) -> None:
    start = time.process_time()
    for _ in range(200):
        verify_checkpoint(note, world.roots.log_key)
    assert time.process_time() - start < 1.0
