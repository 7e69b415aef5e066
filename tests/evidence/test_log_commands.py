import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weighbridge.app.log_commands import app
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.log import ExportedLog, Log, verify_receipt
from weighbridge.evidence.merkle import leaf_hash, verify_consistency, verify_inclusion
from weighbridge.evidence.spool import Keeper, SpoolClient

from .conftest import World, copy_log

Run = Callable[..., Any]


def run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout


def run_json(*arguments: object, status: int = 0) -> dict[str, Any]:
    found = json.loads(run(*arguments, "--json", status=status))
    assert isinstance(found, dict)
    return found


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    world.roots.save(tmp_path / "roots")
    with world.log(tmp_path / "log.db") as log:
        log.append([world.state(subject=f"run-{n}") for n in range(3)])
        log.append([world.state(world.chip, kind="chip-record", subject="chip-7", encoding="cbor")])
        log.export(tmp_path / "export")
    return tmp_path


@pytest.mark.parametrize("source", ["log.db", "export"])
def test_show_lists_verified_statements(folder: Path, source: str) -> None:
    found = run_json("show", folder / source, "--roots", folder / "roots")
    assert (found["origin"], found["size"]) == ("example.org/log", 4)
    assert [entry["subject"] for entry in found["entries"]] == ["run-0", "run-1", "run-2", "chip-7"]
    last = found["entries"][3]
    assert (last["kind"], last["issuer"], last["role"]) == ("chip-record", "chip-7", "chip")
    assert last["protection"] == "file"
    chosen = run_json("show", folder / source, "--roots", folder / "roots", "--kind", "chip-record")
    assert [entry["index"] for entry in chosen["entries"]] == [3]
    chosen = run_json("show", folder / source, "--roots", folder / "roots", "--subject", "run-1")
    assert [entry["index"] for entry in chosen["entries"]] == [1]
    chosen = run_json("show", folder / source, "--roots", folder / "roots", "--start", 1, "--limit", 2)
    assert [entry["index"] for entry in chosen["entries"]] == [1, 2]
    table = run("show", folder / source, "--roots", folder / "roots")
    assert "chip-7" in table
    assert "4 entries" in table


def test_show_without_roots_opens_no_statement(folder: Path) -> None:
    found = run_json("show", folder / "log.db")
    assert [entry["subject"] for entry in found["entries"]] == [None] * 4
    assert "not opened" in run("show", folder / "log.db")
    with pytest.raises(InputError, match="only under trust roots"):
        run("show", folder / "log.db", "--kind", "step")
    with pytest.raises(InputError, match="add --roots"):
        run("show", folder / "export")


def test_show_refuses_what_does_not_verify(world: World, folder: Path) -> None:
    with Log.open(folder / "log.db", world.log_signer) as log:
        log.append([b"junk"])
    with pytest.raises(EvidenceError, match="tag 18"):
        run("show", folder / "log.db", "--roots", folder / "roots")


@pytest.mark.parametrize("source", ["log.db", "export"])
def test_verify_says_what_holds_and_what_was_not_checked(folder: Path, source: str) -> None:
    found = run_json("verify", folder / source, "--roots", folder / "roots")
    assert found["holds"] is True
    outcomes = {finding["check"]: finding["outcome"] for finding in found["findings"]}
    assert outcomes["log.statements"] == "pass"
    assert outcomes["log.kept"] == "inconclusive"
    kept = folder / "export" / "checkpoint"
    found = run_json("verify", folder / source, "--roots", folder / "roots", "--checkpoint", kept)
    assert {finding["outcome"] for finding in found["findings"]} == {"pass"}
    assert "log.kept" in run("verify", folder / source, "--roots", folder / "roots")


def test_verify_fails_with_status_one(world: World, folder: Path) -> None:
    kept = folder / "kept"
    copy_log(folder / "log.db", folder / "old.db")
    with Log.open(folder / "log.db", world.log_signer) as log:
        log.append(world.states(1))
        kept.write_bytes(log.checkpoint())
    roots = ("--roots", folder / "roots")
    for source in ("old.db", "export"):
        found = run_json("verify", folder / source, *roots, "--checkpoint", kept, status=1)
        assert found["holds"] is False
        failed = [finding for finding in found["findings"] if finding["outcome"] == "fail"]
        assert [finding["check"] for finding in failed] == ["log.kept"]
        assert "fewer than" in failed[0]["reason"]
    (folder / "log.db.HEAD").unlink()
    (folder / "export" / "tile" / "0" / "000.p" / "4").write_bytes(b"")
    for source, check in (("log.db", "log.open"), ("export", "log.export")):
        found = run_json("verify", folder / source, *roots, status=1)
        assert [(f["check"], f["outcome"]) for f in found["findings"]] == [(check, "fail")]
        assert "fail" in run("verify", folder / source, *roots, status=1)


def test_verify_needs_what_it_is_given_to_be_there(folder: Path) -> None:
    for arguments in (
        ("verify", folder / "absent.db"),
        ("verify", folder / "log.db", "--roots", folder / "absent"),
        ("verify", folder / "log.db", "--checkpoint", folder / "absent"),
        ("verify", folder / "export"),
        ("prove", folder / "log.db"),
        ("prove", folder / "log.db", "1", "--since", "1"),
        ("prove", folder / "log.db", "4"),
        ("prove", folder / "log.db", "00" * 32),
        ("prove", folder / "log.db", "xyz"),
        ("prove", folder / "log.db", "1", "--size", "9"),
        ("prove", folder / "export", "1"),
        ("export", folder / "log.db", folder / "export"),
    ):
        with pytest.raises(InputError):
            run(*arguments)


def test_prove_prints_proofs_that_others_can_check(world: World, folder: Path) -> None:
    found = run_json("prove", folder / "log.db", "2", "--roots", folder / "roots")
    path = [bytes.fromhex(node) for node in found["path"]]
    leaf = leaf_hash(bytes.fromhex(found["id"]))
    verify_inclusion(leaf, 2, found["size"], path, bytes.fromhex(found["root"]))
    with Log.open(folder / "log.db") as log:
        raw = log.statement(2)
        assert found["checkpoint"].encode() == log.checkpoint()
    receipt = base64.b64decode(found["receipt"])
    assert verify_receipt(raw, receipt, world.roots.log_key).integrated_at == found["integrated_at"]
    assert run_json("prove", folder / "log.db", found["id"]) == found
    found = run_json("prove", folder / "log.db", "--since", "1", "--size", "4")
    verify_consistency(
        1,
        4,
        bytes.fromhex(found["old_root"]),
        bytes.fromhex(found["root"]),
        [bytes.fromhex(node) for node in found["path"]],
    )
    assert found["path"][0] in run("prove", folder / "log.db", "--since", "1", "--size", "4")


def test_export_writes_what_verifies(world: World, folder: Path) -> None:
    found = run_json("export", folder / "log.db", folder / "again", "--roots", folder / "roots")
    assert found["size"] == 4
    assert ExportedLog.open(folder / "again", world.roots.log_key).root.hex() == found["root"]
    assert "verified as written" in run("export", folder / "log.db", folder / "third")


def test_keep_takes_what_lies_in_the_spool(world: World, folder: Path) -> None:
    keep = ("--spool", folder / "spool", "--key", world.log_signer.path, "--roots", folder / "roots")
    assert run_json("keep", folder / "log.db", *keep, "--once")["size"] == 4
    raw = world.state()
    client = SpoolClient(folder / "spool")
    identifier = client.submit(raw)
    assert run_json("keep", folder / "log.db", *keep, "--once")["size"] == 5
    assert verify_receipt(raw, client.wait(identifier, timeout=1), world.roots.log_key).index == 4
    with pytest.raises(InputError, match="no such log"):
        run("keep", folder / "new.db", *keep, "--once")
    assert run_json("keep", folder / "new.db", *keep, "--create", "--once")["size"] == 0
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_keep_runs_until_it_is_told_to_stop(world: World, folder: Path) -> None:
    with Log.open(folder / "log.db", world.log_signer) as log:
        Keeper(log, folder / "spool", roots=world.roots).close()
    script = "from weighbridge.app.log_commands import app; app()"
    command = [sys.executable, "-c", script, "keep", str(folder / "log.db"), "--json"]
    command += ["--spool", str(folder / "spool"), "--key", str(world.log_signer.path)]
    command += ["--roots", str(folder / "roots")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as keeper:
        assert keeper.stderr is not None
        assert "keeping example.org/log (4 entries)" in keeper.stderr.readline()
        raw = world.state()
        client = SpoolClient(folder / "spool")
        assert client.wait(client.submit(raw), timeout=20)
        keeper.send_signal(signal.SIGTERM)
        output, _ = keeper.communicate(timeout=20)
    assert keeper.returncode == 0
    assert json.loads(output)["size"] == 5


def test_each_command_says_what_it_does_with_an_example() -> None:
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    for command in ("show", "verify", "prove", "export", "keep"):
        result = CliRunner().invoke(app, [command, "--help"], env=environment)
        text = re.sub(r"\s+", " ", result.stdout)
        assert f"Example: weighbridge log {command} " in text
