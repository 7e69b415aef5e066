"""The signed report: ``report.json``, a manifest of every file beside it, and the inspector's signature over both."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.keys import Signer
from weighbridge.evidence.statement import sign_statement

__all__ = ["KIND", "MANIFEST", "REPORT", "SIGNATURE", "encode_report", "manifest_of", "seal_report"]

KIND = "report"
REPORT = "report.json"
MANIFEST = "manifest.json"
SIGNATURE = "report.cose"


def encode_report(body: Mapping[str, Any]) -> bytes:
    """Returns a report's bytes: indented JSON with sorted keys, without NaN or infinity."""
    return (json.dumps(body, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def manifest_of(folder: Path) -> dict[str, list[Any]]:
    """Returns SHA-256 and size of every file under a folder, but for the manifest and the signature.

    Raises:
        EvidenceError: there is something else than plain files and folders.
    """
    listed: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise EvidenceError("is neither a plain file nor a folder", where=path, mend="remove it")
        if path.is_file() and name not in (MANIFEST, SIGNATURE):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            listed[name] = [digest, path.stat().st_size]
    return listed


def seal_report(folder: Path, signer: Signer) -> bytes:
    """Writes the manifest over everything in the folder, and the signature over the manifest and the report.

    Raises:
        InputError: the folder has no report, or is sealed already.
    """
    report = folder / REPORT
    if not report.is_file():
        raise InputError("is missing", where=report)
    if (folder / SIGNATURE).exists():
        raise InputError("is sealed already", where=folder, mend="write a new report into a new folder")
    manifest = json.dumps(manifest_of(folder), indent=0, sort_keys=True).encode()
    (folder / MANIFEST).write_bytes(manifest)
    payload = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": MANIFEST, "digest": {"sha256": hashlib.sha256(manifest).hexdigest()}},
            {"name": REPORT, "digest": {"sha256": hashlib.sha256(report.read_bytes()).hexdigest()}},
        ],
        "predicateType": "https://weighbridge.example/report/v1",
        "predicate": {"files": len(json.loads(manifest))},
    }
    raw = sign_statement(signer, kind=KIND, subject=folder.name or "report", payload=payload)
    (folder / SIGNATURE).write_bytes(raw)
    return raw
