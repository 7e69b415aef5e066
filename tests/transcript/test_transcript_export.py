"""An anchor as a signed model: the stock program believes it, and not after one byte changed."""

import base64
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from safetensors.torch import load_file
from typer.testing import CliRunner

from weighbridge.app.main import build
from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript import released
from weighbridge.mechanisms.transcript.anchors import read_anchor, write_anchor
from weighbridge.mechanisms.transcript.signed_model import load_model_key, sign_model
from weighbridge.mechanisms.transcript.state import TrainingState

from .world import Ended
from .written import snapshot

ANCHOR = "state-0000-0000012-end.safetensors"
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def why_not_stock() -> str:
    """Returns why the stock program cannot be run here, if so; a clean install of it lacks pyOpenSSL."""
    try:
        importlib.import_module("model_signing")
    except ImportError as error:
        return f"model_signing cannot be imported ({error}): pip install model-signing pyOpenSSL"
    return ""


def key_file(path: Path, key: Any) -> Path:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return key_file(tmp_path_factory.mktemp("keys") / "model.pem", ec.generate_private_key(ec.SECP256R1()))


def exported(run: Path, *options: object, anchor: str = ANCHOR) -> dict[str, Any]:
    words = ["transcript", "export", str(run), "--anchor", anchor, *map(str, options), "--json"]
    result = CliRunner().invoke(build(), words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0 and "weights in the clear are now in" in result.stderr
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


def checked(folder: Path, public: bytes) -> dict[str, Any]:
    """Verifies a bundle from the formats' own texts, without our code: DSSE, in-toto, Model Signing v1.0."""
    bundle = json.loads((folder / "model.sig").read_text())
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == hashlib.sha256(public).hexdigest()
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
    loaded = serialization.load_pem_public_key(public)
    assert isinstance(loaded, ec.EllipticCurvePublicKey)
    hashed: hashes.HashAlgorithm = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[loaded.key_size]
    loaded.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(hashed))
    statement: dict[str, Any] = json.loads(payload)
    resources = statement["predicate"]["resources"]
    assert [r["name"] for r in resources] == sorted(path.name for path in folder.iterdir() if path.name != "model.sig")
    for resource in resources:
        assert resource["digest"] == hashlib.sha256((folder / resource["name"]).read_bytes()).hexdigest()
    whole = hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()
    assert statement["subject"] == [{"name": folder.name, "digest": {"sha256": whole}}]
    return statement


@pytest.mark.real
def test_the_anchor_comes_out_whole_and_signed(plain: Ended, key: Path, tmp_path: Path) -> None:
    before = snapshot(plain.run)
    out = tmp_path / "weights"
    said = exported(plain.run, "--out", out, "--key", key, "--roots", plain.project.world.roots_folder)
    public = said["public_key"].encode()
    statement = checked(out, public)
    assert statement["predicate"]["serialization"]["method"] == "files"
    ours, theirs = read_anchor(out / "state.safetensors"), plain.open().state(ANCHOR)
    assert ours.digest(bytes(32)) == theirs.digest(bytes(32))
    assert set(load_file(out / "state.safetensors")) == set(theirs.tensors)
    origin = json.loads((out / "origin.json").read_text())
    assert origin == {"anchor": ANCHOR, "run": plain.open().run, "state": said["state"], "step": 12}
    assert (out.stat().st_mode & 0o777, said["tensors"], said["step"]) == (0o700, len(theirs.tensors), 12)
    assert snapshot(plain.run) == before
    data = bytearray((out / "state.safetensors").read_bytes())
    data[-1] ^= 1
    (out / "state.safetensors").write_bytes(data)
    with pytest.raises(AssertionError):
        checked(out, public)


def stock(folder: Path, public: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "model_signing", "verify", "key", str(folder), "--signature", str(folder / "model.sig")]
    return subprocess.run(
        [sys.executable, *words, "--public_key", str(public)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.real
@pytest.mark.skipif(bool(why_not_stock()), reason=why_not_stock())
@pytest.mark.parametrize("curve", CURVES)
def test_the_stock_program_verifies_it_and_refuses_one_changed_byte(plain: Ended, tmp_path: Path, curve: str) -> None:
    key = key_file(tmp_path / "key.pem", ec.generate_private_key(CURVES[curve]))
    out = tmp_path / "weights"
    said = exported(plain.run, "--out", out, "--key", key)
    (tmp_path / "public.pem").write_text(said["public_key"])
    good = stock(out, tmp_path / "public.pem")
    assert good.returncode == 0 and "Verification succeeded" in good.stdout, good.stderr
    for name in ("state.safetensors", "origin.json"):
        data = bytearray((out / name).read_bytes())
        data[len(data) // 2] ^= 1
        honest = (out / name).read_bytes()
        (out / name).write_bytes(data)
        bad = stock(out, tmp_path / "public.pem")
        # It prints digests as Python spells bytes, so its quotes vary with them.
        assert bad.returncode != 0 and "Hash mismatch for" in bad.stderr and name in bad.stderr, bad.stderr
        (out / name).write_bytes(honest)
    (out / "added.bin").write_bytes(b"")
    assert "Extra files" in stock(out, tmp_path / "public.pem").stderr
    (out / "added.bin").unlink()
    bundle = json.loads((out / "model.sig").read_text())
    signature = bytearray(base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"]))
    signature[-1] ^= 1
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    (out / "model.sig").write_text(json.dumps(bundle))
    assert stock(out, tmp_path / "public.pem").returncode != 0


@pytest.mark.real
def test_without_a_key_nothing_is_signed(plain: Ended, tmp_path: Path) -> None:
    said = exported(plain.run, "--out", tmp_path / "weights")
    assert (said["signed"], said["public_key"], said["verify"]) == (False, None, None)
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["origin.json", "state.safetensors"]


@pytest.mark.real
def test_nothing_is_written_where_something_is(plain: Ended, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for out in (tmp_path / "full", tmp_path / "link"):
        with pytest.raises(InputError, match="exists already"):
            exported(plain.run, "--out", out)
    with pytest.raises(InputError, match="cannot be made"):
        exported(plain.run, "--out", tmp_path / "none" / "weights")
    with pytest.raises(InputError, match="lies in the transcript itself"):
        exported(plain.run, "--out", plain.run / "weights")
    assert list((tmp_path / "full").iterdir()) == [] and not (tmp_path / "nowhere").exists()


@pytest.mark.real
def test_a_state_that_the_journal_does_not_claim_stays_inside(copy: Ended, tmp_path: Path) -> None:
    anchors, out = copy.run / "anchors", tmp_path / "weights"
    for name in ("none.safetensors", "../opening.json", "\x1b[2J"):
        with pytest.raises(EvidenceError, match="names no anchor"):
            exported(copy.run, "--out", out, anchor=name)
    honest = read_anchor(anchors / ANCHOR)
    edited = {name: tensor + 1 if "head" in name else tensor for name, tensor in honest.tensors.items()}
    write_anchor(anchors / ANCHOR, TrainingState(edited, honest.plain))
    with pytest.raises(EvidenceError, match="is not the state that the journal claims"):
        exported(copy.run, "--out", out)
    shutil.copy(anchors / "freeze-0000-000010.safetensors", anchors / ANCHOR)
    with pytest.raises(EvidenceError, match="is not the state that the journal claims"):
        exported(copy.run, "--out", out)
    (anchors / ANCHOR).unlink()
    os.mkfifo(anchors / ANCHOR)
    with pytest.raises(EvidenceError, match="is not a plain file"):
        exported(copy.run, "--out", out)
    assert not out.exists()


@pytest.mark.real
def test_a_full_disk_leaves_no_half_of_the_weights(
    plain: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, state: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(released, "write_anchor", full)
    with pytest.raises(InputError, match="No space left on device"):
        exported(plain.run, "--out", tmp_path / "weights")
    assert list(tmp_path.iterdir()) == []


def test_only_keys_that_the_format_knows_are_taken(tmp_path: Path) -> None:
    wrong = {"ed25519": ed25519.Ed25519PrivateKey.generate(), "k1": ec.generate_private_key(ec.SECP256K1())}
    for name, private in wrong.items():
        with pytest.raises(InputError, match=r"not Ed25519 either.*openssl genpkey"):
            load_model_key(key_file(tmp_path / name, private))
    (tmp_path / "text").write_text("no key")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(InputError, match="is no unencrypted private key"):
        load_model_key(tmp_path / "text")
    shared = key_file(tmp_path / "shared", ec.generate_private_key(ec.SECP256R1()))
    shared.chmod(0o644)
    with pytest.raises(InputError, match="open to others"):
        load_model_key(shared)


@pytest.mark.parametrize("curve", CURVES)
def test_a_signature_binds_every_digest(tmp_path: Path, curve: str) -> None:
    private = ec.generate_private_key(CURVES[curve])
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("b", "a", "a.b"):
        (folder / name).write_bytes(name.encode())
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("b", "a", "a.b")}
    (folder / "model.sig").write_bytes(sign_model(digests, private, name="model"))
    checked(folder, public)
    bundle = json.loads((folder / "model.sig").read_text())
    payload = bytearray(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    payload[-5] ^= 1
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (folder / "model.sig").write_text(json.dumps(bundle))
    with pytest.raises(InvalidSignature):
        checked(folder, public)
