"""Checking a report: from its bytes and trust roots that came another way, everything again but the replays.

Protocol section 7. The steps, each with what it refuses:

1. The signature verifies to the trust roots, by an inspector (a wholly re-signed report).
2. The manifest and the report are the signed ones; every file is the listed one, and none is beside (a changed byte).
3. The log is whole, signed by the trusted key, and extends the kept checkpoint (a forked or shortened log).
4. Every statement verifies; each chip's records have no gap (a dropped record).
5. The assessment, recomputed from the evidence, is the report's, figure by figure.

Nothing is written. The replays behind the audits are not made again: ``weighbridge assess`` does that.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.evidence.statement import verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.assess import assess, audits_of
from weighbridge.ledger.case import is_case, load_case
from weighbridge.ledger.case_report import assess_case
from weighbridge.ledger.report import KIND, MANIFEST, REPORT, SIGNATURE, encode_report, manifest_of
from weighbridge.ledger.workspace import Workspace

__all__ = ["check_report"]

_LARGEST_REPORT_BYTES = 256 << 20


def check_report(report: Path, roots_folder: Path) -> list[Finding]:
    """Checks a report and returns what was checked; returning means that all of it holds.

    Raises:
        EvidenceError: something does not hold; the sentence says what.
        InputError: the report or the trust roots are not there.
    """
    report = report / REPORT if report.is_dir() else report
    folder = report.parent
    if report.name != REPORT or not report.is_file():
        raise InputError("is not a report", where=report, mend=f"name the {REPORT} of a report's folder")
    if roots_folder.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            "lie inside the bundle that they should judge", where=roots_folder, mend="get trust roots another way"
        )
    roots = TrustRoots.load(roots_folder)
    passed = [_check_signature(folder, roots), _check_files(folder)]
    if is_case(folder):
        return [*passed, *_check_case(report)]
    workspace = Workspace.open(folder, roots)
    passed.append(_passed("check.log", f"{workspace.log.size} statements verify, and the log is whole"))
    passed.append(
        _passed("check.checkpoint", "the log extends the checkpoint kept with the trust roots")
        if roots.checkpoint is not None
        else Finding(
            check="check.checkpoint",
            subject="report",
            outcome=Outcome.INCONCLUSIVE,
            reason="no checkpoint was kept with the trust roots, so a log forked by its own key would not show",
        )
    )
    _check_body(report, lambda rule: assess(workspace, audits_of(workspace), rule_id=rule))
    passed.append(_passed("check.assessment", "verdicts and every figure follow from the evidence, computed again"))
    return passed


def _check_case(report: Path) -> list[Finding]:
    """Checks the report of a public case: it must follow from the case's figures, which nobody signed."""
    case = load_case(str(report.parent))
    _check_body(report, lambda rule: assess_case(case, rule_id=rule))
    return [
        Finding(
            check="check.statements",
            subject="report",
            outcome=Outcome.INCONCLUSIVE,
            reason="this is a public case: its figures are publications and assumptions, and nothing shows them",
        ),
        _passed("check.assessment", "every figure follows from the case's figures, computed again"),
    ]


def _passed(check: str, reason: str) -> Finding:
    return Finding(check=check, subject="report", outcome=Outcome.PASS, reason=reason)


def _check_signature(folder: Path, roots: TrustRoots) -> Finding:
    try:
        raw = (folder / SIGNATURE).read_bytes()
    except OSError as error:
        raise EvidenceError("has no readable signature", where=folder, field=SIGNATURE) from error
    try:
        statement = verify_statement(raw, roots, kind=KIND, role="inspector")
    except EvidenceError as error:
        raise EvidenceError(
            f"is not an inspector's signature that the trust roots vouch for: {error}", where=folder / SIGNATURE
        ) from error
    subjects = statement.payload.get("subject")
    for name in (MANIFEST, REPORT):
        expected = _digest_of(subjects, name)
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EvidenceError("is missing", where=folder / name) from error
        if found != expected:
            raise EvidenceError(
                "is not what the inspector signed", where=folder / name, mend="get the report again from its source"
            )
    return _passed("check.signature", f"signed by {statement.issuer}, whom the trust roots vouch for")


def _digest_of(subjects: Any, name: str) -> str:
    found = [
        entry["digest"]["sha256"]
        for entry in (subjects if isinstance(subjects, list) else [])
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get("digest"), dict)
    ]
    if len(found) != 1:
        raise EvidenceError(f"does not name {name} once", where=SIGNATURE, field="subject")
    return str(found[0])


def _check_files(folder: Path) -> Finding:
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())
    except (ValueError, RecursionError) as error:
        raise EvidenceError("is not JSON", where=folder / MANIFEST) from error
    if not isinstance(listed, dict):
        raise EvidenceError("is not a list of files", where=folder / MANIFEST)
    present = manifest_of(folder)
    for name in sorted(set(listed) - set(present)):
        raise EvidenceError("is listed in the manifest and missing", where=folder / name)
    for name in sorted(set(present) - set(listed)):
        raise EvidenceError("is not listed in the manifest", where=folder / name, mend="remove it")
    for name, entry in sorted(present.items()):
        if entry != listed[name]:
            raise EvidenceError("is not the file that the manifest lists", where=folder / name)
    return _passed("check.files", f"{len(present)} files are the listed ones, and there is no other")


def _check_body(report: Path, assess_again: Callable[[str | None], dict[str, Any]]) -> None:
    data = report.read_bytes()
    if len(data) > _LARGEST_REPORT_BYTES:
        raise EvidenceError("is larger than 256 MiB", where=report)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EvidenceError("is not JSON", where=report) from error
    rule = body.get("rule") if isinstance(body, dict) else None
    named = rule.get("id") if isinstance(rule, dict) else None
    again = assess_again(named if isinstance(named, str) else None)
    if encode_report(again) != data:
        raise EvidenceError(
            f"does not follow from its evidence: {_first_difference(body, again)}",
            where=report,
            mend="distrust whoever signed it",
        )


def _first_difference(one: Any, other: Any, path: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(set(one) | set(other)):
            if one.get(key) != other.get(key):
                return _first_difference(one.get(key), other.get(key), f"{path}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            if a != b:
                return _first_difference(a, b, f"{path}[{index}]")
    return f"{path.lstrip('.') or 'the whole'} says {str(one)[:80]!r}, the evidence gives {str(other)[:80]!r}"
