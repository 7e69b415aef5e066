import base64
from pathlib import Path

import pytest

from weighbridge.errors import InputError
from weighbridge.evidence.certificates import certificates_to_pem
from weighbridge.evidence.keys import signature_holds
from weighbridge.evidence.trust import LogKey, TrustRoots

from .conftest import World

# Published verifier keys: golang.org/x/mod/sumdb/note's example, and the Go checksum database's own.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SUM = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"


@pytest.mark.parametrize("line", [NEUMANN, GO_SUM])
def test_published_verifier_keys_are_read_and_written_alike(line: str) -> None:
    key = LogKey.parse(line + "\n")
    assert key.vkey() == line
    assert key.key_hash.hex() == line.split("+")[1]
    assert key.cosignature_hash != key.key_hash


def test_a_published_note_signature_holds() -> None:
    text = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    blob = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    key = LogKey.parse(NEUMANN)
    assert blob[:4] == key.key_hash
    assert signature_holds(key.public_key, blob[4:], text)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "PeterNeumann",
        NEUMANN.replace("c74f20a3", "c74f20a4"),
        NEUMANN.replace("c74f20a3", "C74F20A3"),
        NEUMANN.replace("PeterNeumann", "PeterNeumanN"),
        NEUMANN.replace("+AR", "+BB"),
        NEUMANN[:-4],
        NEUMANN + "AAAA",
        NEUMANN.replace("PeterNeumann", ""),
        "a+b+c+d",
        "x" * 2000,
    ],
)
def test_another_verifier_key_is_refused(line: str) -> None:
    with pytest.raises(InputError, match="verifier key"):
        LogKey.parse(line)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "é", "cosignature/v1", "x" * 513])
def test_an_origin_that_could_stand_for_something_else_is_refused(origin: str) -> None:
    with pytest.raises(InputError, match="origin"):
        LogKey(origin, bytes(32))


def test_saved_roots_are_read_back(world: World, tmp_path: Path) -> None:
    kept = TrustRoots(roots=world.roots.roots, log_key=world.roots.log_key, checkpoint=b"kept\n")
    for roots, name in ((world.roots, "a"), (kept, "b")):
        roots.save(tmp_path / name)
        assert TrustRoots.load(tmp_path / name) == roots
        roots.save(tmp_path / name)


def test_other_roots_are_never_overwritten(world: World, tmp_path: Path) -> None:
    world.roots.save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    other = TrustRoots(roots=world.roots.roots[:1], log_key=world.roots.log_key)
    for roots in (other, TrustRoots(roots=world.roots.roots, log_key=LogKey("x.org", bytes(32)))):
        with pytest.raises(InputError, match="there already"):
            roots.save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_incomplete_roots_are_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        TrustRoots.load(tmp_path / "absent")
    with pytest.raises(InputError, match="no root certificates"):
        TrustRoots.load(tmp_path)
    (tmp_path / "a.pem").write_bytes(certificates_to_pem([world.maker_root]))
    with pytest.raises(InputError, match=r"no log\.vkey"):
        TrustRoots.load(tmp_path)
    (tmp_path / "log.vkey").write_bytes(b"\xff")
    with pytest.raises(InputError, match="verifier key"):
        TrustRoots.load(tmp_path)
    (tmp_path / "log.vkey").write_text(NEUMANN)
    assert TrustRoots.load(tmp_path).roots == (world.maker_root,)


@pytest.mark.parametrize("fault", ["a leaf", "junk", "nothing", "huge"])
def test_a_root_file_without_a_root_is_refused(world: World, tmp_path: Path, fault: str) -> None:
    content = {
        "a leaf": certificates_to_pem([world.maker_root, world.chip.chain[0]]),
        "junk": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "nothing": b"",
        "huge": b"x" * 100_000,
    }[fault]
    world.roots.save(tmp_path)
    (tmp_path / "extra.pem").write_bytes(content)
    with pytest.raises(InputError, match=r"extra\.pem"):
        TrustRoots.load(tmp_path)
