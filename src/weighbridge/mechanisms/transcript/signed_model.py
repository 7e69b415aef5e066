"""OpenSSF Model Signing v1.0 over a folder of files: what the stock ``model_signing verify key`` accepts.

``model.sig`` is a Sigstore bundle v0.3 with a DSSE envelope (DSSE v1.0.0), whose payload is an in-toto Statement v1 of
the predicate ``https://model_signing/signature/v1.0``: SHA-256 of each file, and over all of them in order of their
names. The ``files`` method is used: the stock program (1.1.1) hashes whole files whatever the manifest says, and so
refuses ``shards``.

The format knows ECDSA on NIST curves and no Ed25519, so no key of ours can sign it: whoever hands weights over makes a
key for that. It says who released these bytes, and nothing about how they were made.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weighbridge.errors import InputError
from weighbridge.evidence.files import open_regular
from weighbridge.evidence.keys import read_private

__all__ = ["SIGNATURE", "digests_of", "load_model_key", "public_pem", "sign_model"]

SIGNATURE = "model.sig"

_CHUNK_BYTES = 1 << 20
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_MEND = "make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out model-key.pem"


def load_model_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Reads an elliptic-curve key in PEM that its owner alone can read.

    Raises:
        InputError: it is another kind of key, encrypted, open to others, or not there.
    """
    pem = read_private(path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (TypeError, ValueError) as error:
        raise InputError("is no unencrypted private key in PEM", where=path, mend=_MEND) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise InputError(
            "is no key on P-256, P-384 or P-521, and model signing knows no other (not Ed25519 either)",
            where=path,
            mend=_MEND,
        )
    return key


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Returns the public key in PEM, as ``model_signing verify key --public_key`` wants it."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def digests_of(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file directly in a folder, hex, by name in order; the signature's is left out.

    Raises:
        InputError: something in it is no plain file.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name == SIGNATURE:
            continue
        try:
            hasher = hashlib.sha256()
            with open_regular(path) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    hasher.update(chunk)
            found[path.name] = hasher.hexdigest()
        except OSError as error:
            raise InputError(f"cannot be signed ({error.strerror})", where=path) from error
    return found


def sign_model(digests: Mapping[str, str], key: ec.EllipticCurvePrivateKey, *, name: str) -> bytes:
    """Returns the bundle to be written as ``model.sig``.

    Args:
        digests: SHA-256 of each file, hex, by its path in the folder.
        key: as :func:`load_model_key` returns it.
        name: what the model is called; informative.
    """
    payload = json.dumps(_statement(digests, name), sort_keys=True).encode()
    # The pre-authentication encoding of DSSE: what is signed says its own lengths.
    encoded = f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(payload)} ".encode() + payload
    signature = key.sign(encoded, ec.ECDSA(_HASHES[key.curve.name]))
    bundle = {
        "mediaType": _BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(public_pem(key)).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle, sort_keys=True).encode()


def _statement(digests: Mapping[str, str], name: str) -> dict[str, Any]:
    ordered = sorted(digests.items())
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered))
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [SIGNATURE],
            },
            "resources": [{"name": file, "algorithm": "sha256", "digest": digest} for file, digest in ordered],
        },
    }
