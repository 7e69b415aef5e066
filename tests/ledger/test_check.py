"""Checking a sealed report: the honest one holds, each spoiled copy is refused with its reason, nothing is written."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.real import Bundle, Ended, check, command, fingerprint, one_byte_changed
from weighbridge.app.institutions import Institutions
from weighbridge.errors import EvidenceError
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.assess import assess, audits_of
from weighbridge.ledger.check import check_report
from weighbridge.ledger.report import MANIFEST, REPORT, SIGNATURE

pytestmark = pytest.mark.real


def refused(ended: Ended, *words: str) -> None:
    """Asserts that a command ended with one sentence that names what is wrong."""
    assert ended.status != 0
    assert "Traceback" not in ended.err
    assert ended.err.startswith("weighbridge: ") and ended.err.count("\n") == 1, ended.err
    for word in words:
        assert word in ended.err, ended.err


def test_the_honest_report_holds(honest: Bundle) -> None:
    ended = check(honest)
    assert (ended.status, ended.err) == (0, "")
    for name in ("signature", "files", "log", "checkpoint", "assessment"):
        assert f"check.{name}" in ended.out
    findings = check_report(honest.report, honest.roots)
    assert {finding.outcome.value for finding in findings} == {"pass"}


def test_the_honest_operator_is_compliant_with_a_bound_that_means_something(honest: Bundle) -> None:
    operator = honest.body()["operators"][0]
    assert operator["verdict"] == "compliant", [f for f in operator["findings"] if f["outcome"] != "pass"]
    assert operator["audited"] == operator["due"] >= 3
    assert operator["unexplained"] == 0
    assert 0 < operator["hidden_flop_by_level"]["A"] < operator["hidden_flop_by_level"]["C"]
    assert not [f for f in operator["findings"] if f["outcome"] == "fail"]


def test_the_command_itself_in_a_process_of_its_own(honest: Bundle) -> None:
    before = fingerprint(honest.folder, honest.roots)
    program = [sys.executable, "-m", "weighbridge", "check", str(honest.report), "--roots", str(honest.roots), "--json"]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert {f["outcome"] for f in json.loads(ended.stdout)["findings"]} == {"pass"}
    assert fingerprint(honest.folder, honest.roots) == before


def test_without_a_kept_checkpoint_the_check_says_what_it_cannot_see(honest: Bundle, tmp_path: Path) -> None:
    copy = honest.copy(tmp_path, checkpoint=False)
    ended = check(copy)
    assert ended.status == 0
    outcomes = {f.check: f.outcome.value for f in check_report(copy.report, copy.roots)}
    assert outcomes.pop("check.checkpoint") == "inconclusive"
    assert set(outcomes.values()) == {"pass"}


# --- who signed


def test_a_report_resigned_by_another_body_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    stranger = Institutions.make(tmp_path / "other-keys", origin="real.example/log")
    bundle.reseal(signer=stranger.inspector)
    refused(check(bundle), SIGNATURE, "none of the trusted roots")


@dataclass(frozen=True)
class Forger:
    """Signs with its own key under somebody else's certificates, which our own signers refuse to do."""

    own: FileSigner
    chain: tuple[bytes, ...]
    protection: str = "file"

    @property
    def public_key(self) -> bytes:
        return self.own.public_key

    @property
    def key_id(self) -> str:
        return self.own.key_id

    def sign(self, message: bytes) -> bytes:
        return self.own.sign(message)


def test_a_report_resigned_under_the_inspector_s_certificate_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    own = FileSigner.create(tmp_path / "own.pem")
    bundle.reseal(signer=Forger(own, bundle.people.inspector.chain))
    refused(check(bundle), SIGNATURE)


@pytest.mark.parametrize("role", ["operator", "registrar", "maker"])
def test_a_report_signed_by_somebody_who_is_no_inspector_is_refused(bundle: Bundle, role: str) -> None:
    signer = bundle.operator if role == "operator" else getattr(bundle.people, role)
    bundle.reseal(signer=signer)
    refused(check(bundle), SIGNATURE, "inspector")


def test_the_signature_of_another_report_is_refused(bundle: Bundle, honest: Bundle) -> None:
    (bundle.folder / "note.txt").write_text("new")
    bundle.reseal()
    shutil.copyfile(honest.folder / SIGNATURE, bundle.folder / SIGNATURE)
    refused(check(bundle), MANIFEST)


# --- bytes

KINDS = {
    "report": REPORT,
    "page": "report.html",
    "manifest": MANIFEST,
    "signature": SIGNATURE,
    "statements": "log/statements.cborseq",
    "receipts": "log/receipts.cborseq",
    "checkpoint": "log/checkpoint",
    "hash tile": "log/tile/0/000*/*",
    "entry bundle": "log/tile/entries/000*/*",
    "leaf table": "chips/*/leaves/*.leaves",
    "salt": "chips/*/salts/*.salt",
    "journal": "runs/*/journal-*.jsonl",
    "opening": "runs/*/opening.json",
    "anchor": "runs/*/anchors/*.safetensors",
    "commitment": "runs/*/commitment.cose",
    "progress": "runs/*/progress/*.cose",
    "code": "runs/*/code/*",
    "data": "data/*.npy",
}


def test_one_changed_byte_in_any_kind_of_file_is_refused_by_name(honest: Bundle, tmp_path: Path) -> None:
    copy = honest.copy(tmp_path)
    dice = random.Random(20261121)
    before = fingerprint(copy.folder, copy.roots)
    for kind, pattern in KINDS.items():
        files = sorted(path for path in copy.folder.glob(pattern) if path.is_file())
        assert files, f"the bundle has no {kind}"
        for _ in range(4):
            path = dice.choice(files)
            with one_byte_changed(path, dice.randrange(path.stat().st_size)), pytest.raises(EvidenceError) as caught:
                check_report(copy.report, copy.roots)
            sentence = str(caught.value)
            assert path.name in sentence or kind == "signature", (kind, sentence)
            assert "\n" not in sentence
    assert fingerprint(copy.folder, copy.roots) == before
    assert check(copy).status == 0


def test_one_changed_byte_is_refused_by_the_command(bundle: Bundle) -> None:
    path = bundle.report
    path.write_bytes(path.read_bytes().replace(b'"compliant"', b'"compliunt"', 1))
    refused(check(bundle), REPORT, "not what the inspector signed")


@pytest.mark.parametrize("cut", [0, 1, 1000])
def test_a_truncated_file_is_refused(bundle: Bundle, cut: int) -> None:
    leaves = sorted(bundle.folder.glob("chips/*/leaves/*.leaves"))[0]
    leaves.write_bytes(leaves.read_bytes()[:cut])
    refused(check(bundle), leaves.name)


def spoil_added(folder: Path) -> str:
    (folder / "runs" / "extra.json").write_text("{}")
    return "not listed"


def spoil_added_folder_with_a_file(folder: Path) -> str:
    (folder / "notes").mkdir()
    (folder / "notes" / ".hidden").write_text("x")
    return ".hidden"


def spoil_removed(folder: Path) -> str:
    path = sorted(folder.glob("chips/*/salts/*.salt"))[0]
    path.unlink()
    return "is listed in the manifest and missing"


def spoil_symlink(folder: Path) -> str:
    path = sorted(folder.glob("runs/*/opening.json"))[0]
    target = folder.parent / "opening.json"
    path.replace(target)
    path.symlink_to(target)
    return "neither a plain file nor a folder"


def spoil_symlinked_folder(folder: Path) -> str:
    (folder / "data").replace(folder.parent / "data")
    (folder / "data").symlink_to(folder.parent / "data")
    return "neither a plain file nor a folder"


def spoil_pipe(folder: Path) -> str:
    path = sorted(folder.glob("chips/*/salts/*.salt"))[0]
    path.unlink()
    os.mkfifo(path)
    return "neither a plain file nor a folder"


def spoil_renamed(folder: Path) -> str:
    path = sorted(folder.glob("runs/*/anchors/*.safetensors"))[0]
    path.rename(path.with_name("renamed.safetensors"))
    return "missing"


def spoil_swapped(folder: Path) -> str:
    one, two = sorted(folder.glob("chips/*/leaves/*.leaves"))[:2]
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    return "not the file that the manifest lists"


def spoil_no_signature(folder: Path) -> str:
    (folder / SIGNATURE).unlink()
    return "has no readable signature"


def spoil_no_manifest(folder: Path) -> str:
    (folder / MANIFEST).unlink()
    return "is missing"


def spoil_no_log(folder: Path) -> str:
    shutil.rmtree(folder / "log")
    return "log"


SPOILS = [value for name, value in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__.removeprefix("spoil_"))
def test_a_bundle_that_is_not_the_signed_one_is_refused(bundle: Bundle, spoil: Callable[[Path], str]) -> None:
    said = spoil(bundle.folder)
    refused(check(bundle), said)


def test_an_empty_folder_beside_the_files_changes_nothing(bundle: Bundle) -> None:
    (bundle.folder / "empty").mkdir()
    assert check(bundle).status == 0


# --- what is asked


def test_trust_roots_inside_the_bundle_are_refused(bundle: Bundle) -> None:
    inside = bundle.folder / "roots"
    shutil.copytree(bundle.roots, inside)
    bundle.reseal()
    refused(command("check", bundle.report, "--roots", inside), "inside the bundle")
    link = bundle.folder.parent / "innocent"
    link.symlink_to(inside)
    refused(command("check", bundle.report, "--roots", link), "inside the bundle")


def test_what_is_no_report_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    refused(command("check", bundle.folder / "report.html", "--roots", bundle.roots), "not a report")
    refused(command("check", tmp_path / REPORT, "--roots", bundle.roots), "not a report")
    refused(command("check", tmp_path, "--roots", bundle.roots), "not a report")
    assert command("check", bundle.folder, "--roots", bundle.roots).status == 0


def test_trust_roots_that_are_not_there_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    refused(command("check", bundle.report, "--roots", tmp_path / "nowhere"), "nowhere")
    (tmp_path / "void").mkdir()
    refused(command("check", bundle.report, "--roots", tmp_path / "void"))


def test_another_inspection_s_trust_roots_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    strangers = Institutions.make(tmp_path / "strangers", origin="real.example/log")
    strangers.roots.save(tmp_path / "theirs")
    refused(command("check", bundle.report, "--roots", tmp_path / "theirs"))


def test_another_log_key_under_the_same_name_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = Institutions.make(tmp_path / "other", origin="real.example/log")
    mixed = TrustRoots(roots=bundle.people.roots.roots, log_key=other.roots.log_key, checkpoint=None)
    mixed.save(tmp_path / "mixed")
    refused(command("check", bundle.report, "--roots", tmp_path / "mixed"), "checkpoint")


# --- what the inspector says


def edit_verdict(body: dict) -> str:  # type: ignore[type-arg]
    body["operators"][0]["verdict"] = "violation"
    return "operators[0].verdict"


def edit_figure(body: dict) -> str:  # type: ignore[type-arg]
    body["operators"][0]["hidden_flop_by_level"]["A"] *= 0.5
    return "hidden_flop_by_level.A"


def edit_finding(body: dict) -> str:  # type: ignore[type-arg]
    body["operators"][0]["findings"].pop()
    return "operators[0].findings"


def edit_sentence(body: dict) -> str:  # type: ignore[type-arg]
    body["operators"][0]["sentences"]["A"] = "All is well."
    return "sentences.A"


def edit_addition(body: dict) -> str:  # type: ignore[type-arg]
    body["note"] = "trust me"
    return "note"


EDITS = [edit_addition, edit_figure, edit_finding, edit_sentence, edit_verdict]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_report_that_the_inspector_edited_does_not_follow_from_its_evidence(
    bundle: Bundle,
    edit: Callable[[dict], str],  # type: ignore[type-arg]
) -> None:
    body = bundle.body()
    named = edit(body)
    bundle.reseal(body)
    refused(check(bundle), "does not follow from its evidence", named)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b'{"rule": {"id": 7}}'])
def test_a_report_that_is_none_is_refused(bundle: Bundle, content: bytes) -> None:
    bundle.report.write_bytes(content)
    bundle.reseal()
    refused(check(bundle), REPORT)


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"x": 1}', b"null"])
def test_a_manifest_that_is_none_is_refused(bundle: Bundle, content: bytes) -> None:
    """Signed by the inspector, and still no manifest of what lies there."""
    (bundle.folder / MANIFEST).write_bytes(content)
    digests = {name: hashlib.sha256((bundle.folder / name).read_bytes()).hexdigest() for name in (MANIFEST, REPORT)}
    payload = {"subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()]}
    (bundle.folder / SIGNATURE).write_bytes(bundle.sign("report", payload))
    refused(check(bundle))


def test_another_rule_s_report_holds_when_it_says_so(bundle: Bundle) -> None:
    workspace = bundle.open()
    body = assess(workspace, audits_of(workspace), rule_id="eu.gpai.systemic")
    bundle.reseal(body)
    assert check(bundle).status == 0
