import contextlib
import os
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from weighbridge.errors import InputError
from weighbridge.evidence.certificates import issue, issue_root
from weighbridge.evidence.keys import _WEAK, FileSigner, Signer, is_weak_key, key_id_of, signature_holds

from .conftest import World


def test_a_key_is_readable_by_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FileSigner.create(tmp_path / "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o660, 0o666, 0o601])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    FileSigner.create(tmp_path / "a")
    (tmp_path / "a").chmod(mode)
    with pytest.raises(InputError, match="open to others") as caught:
        FileSigner.load(tmp_path / "a")
    assert "chmod 600" in str(caught.value)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    FileSigner.create(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(InputError, match="there already"):
        FileSigner.create(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    with pytest.raises(InputError):
        FileSigner.create(tmp_path / "link")
    assert (tmp_path / "a").read_bytes() == before
    assert not (tmp_path / "b").exists()


def test_load_gives_the_same_key_and_chain(world: World, tmp_path: Path) -> None:
    made = FileSigner.create(tmp_path / "a")
    chained = made.with_chain([issue_root(made, name="R", role="maker")])
    loaded = FileSigner.load(tmp_path / "a")
    assert isinstance(loaded, Signer)
    assert loaded.public_key == made.public_key
    assert loaded.key_id == key_id_of(made.public_key) == made.key_id
    assert loaded.chain == chained.chain
    assert made.chain == ()
    assert loaded.protection == "file"
    assert signature_holds(made.public_key, loaded.sign(b"x"), b"x")
    assert not signature_holds(made.public_key, loaded.sign(b"x"), b"y")
    assert not signature_holds(world.chip.public_key, loaded.sign(b"x"), b"x")


def test_a_chain_for_another_key_is_refused_and_not_written(world: World, tmp_path: Path) -> None:
    made = FileSigner.create(tmp_path / "a")
    for chain in (world.chip.chain, [b"junk"], []):
        with pytest.raises(InputError, match="chain"):
            made.with_chain(chain)
    assert not (tmp_path / "a.chain.pem").exists()
    made.with_chain([issue_root(made, name="R", role="maker")])
    (tmp_path / "a.chain.pem").write_bytes(world.chip.path.with_name("chip.key.chain.pem").read_bytes())
    with pytest.raises(InputError, match="not for this key"):
        FileSigner.load(tmp_path / "a")


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    def put(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
        return tmp_path / name

    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (
        tmp_path / "absent",
        tmp_path,
        tmp_path / "fifo",
        put("empty", b""),
        put("junk", b"\x00" * 100),
        put("p256", other),
        put("huge", b"a" * 100_000),
    ):
        with pytest.raises(InputError):
            FileSigner.load(path)


def test_keys_of_small_order_are_refused_though_the_library_takes_their_signatures(world: World) -> None:
    """Each point is shown to be of small order: one constant signature holds for many messages."""
    identity = (1).to_bytes(32, "little")
    assert len(_WEAK) == 14
    taken = 0
    for point in _WEAK:
        held = 0
        for number in range(200):
            with contextlib.suppress(InvalidSignature, ValueError):
                Ed25519PublicKey.from_public_bytes(point).verify(identity + bytes(32), b"%d" % number)
                held += 1
            assert not signature_holds(point, identity + bytes(32), b"%d" % number)
        # The library refuses some spellings by itself; those that it takes are the danger.
        assert held == 0 or held > 8
        taken += held > 0
        with pytest.raises(InputError):
            issue(world.maker, world.maker_root, public_key=point, name="c", role="chip")
    assert taken >= 8
    assert not is_weak_key(world.chip.public_key)


def test_the_private_key_is_in_no_text(tmp_path: Path) -> None:
    signer = FileSigner.create(tmp_path / "a")
    body = (tmp_path / "a").read_text().splitlines()[1]
    assert body not in repr(signer)
    assert "PRIVATE" not in repr(signer)
