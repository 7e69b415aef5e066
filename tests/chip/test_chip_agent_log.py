"""What the agent leaves: records in the log, an honest directory, refusals of bad input."""

import contextlib
import json
import os
import subprocess
import threading
from typing import Any

import pytest

from chip.agent_world import PYTHON, failures, finish, judge
from chip.chip_world import World
from chip.conftest import Starter
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log
from weighbridge.evidence.spool import Keeper
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.chip.challenge import answer_challenge
from weighbridge.mechanisms.chip.collect import collect
from weighbridge.mechanisms.chip.store import Store, record_path, salt_path, sequences

pytestmark = pytest.mark.real


def weighbridge_chip(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = "from weighbridge.app.chip_commands import app; app()"
    return subprocess.run([PYTHON, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_records_reach_the_log_and_receipts_come_back(world: World, start_agent: Starter) -> None:
    signer = FileSigner.load(world.folder / "log.key")
    log = Log.create(world.folder / "log.db", signer, origin="test.example/log")
    keeper = Keeper(log, world.folder / "spool", roots=world.roots)
    chip = world.chip(rate_hz=10.0)
    bracket = world.folder / "bracket"
    bracket.write_text("value")
    first = ["/bin/sleep", "0.4"]
    finish(start_agent(chip.directory, first))  # without a spool: these follow later
    stop = threading.Event()
    thread = threading.Thread(target=keeper.run, args=(stop,))
    thread.start()
    try:
        options = ["--spool", str(world.folder / "spool"), "--bracket", str(bracket)]
        finish(start_agent(chip.directory, ["/bin/sleep", "0.8"], *options))
    finally:
        stop.set()
        thread.join()
        keeper.close()
    assert log.size == len(sequences(chip.directory))
    found = judge(world, chip.directory)
    receipts = [f for f in found.findings if f.check == "chip.brackets"]
    assert not failures(found) and len(receipts) == 1 and receipts[0].outcome is Outcome.PASS
    assert all(bool(r.not_before) == (r.boot == 2) for r in found.records)
    log.close()
    TrustRoots(roots=world.roots.roots, log_key=world.roots.log_key).save(world.folder / "roots")
    arguments = ["--roots", str(world.folder / "roots"), "--log", str(world.folder / "log.db"), "--json"]
    holds = weighbridge_chip("verify", str(chip.directory), *arguments)
    assert holds.returncode == 0 and json.loads(holds.stdout)["holds"] is True
    # The operator deletes the tail and the state that would show it; the log remembers.
    count = len(sequences(chip.directory))
    record_path(chip.directory, count - 1).unlink()
    (chip.directory / "receipts" / f"{count - 1}.receipt").unlink()
    cut = weighbridge_chip("verify", str(chip.directory), *arguments)
    named = {(f["check"], f["subject"]) for f in json.loads(cut.stdout)["findings"] if f["outcome"] == "fail"}
    assert cut.returncode == 1 and named == {("chip.end", f"{chip.chip}#{count - 1}")}
    shown = json.loads(weighbridge_chip("show", str(chip.directory), "--json").stdout)
    assert shown["records"] == count - 1 and shown["newest"][-1]["sequence"] == count - 2


def test_a_spool_that_is_gone_stops_nothing(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=10.0)
    said = finish(start_agent(chip.directory, ["/bin/sleep", "0.3"], "--spool", str(world.folder / "nowhere")))
    assert "the spool takes no records" in said
    assert not failures(judge(world, chip.directory))


def test_bad_input_is_refused_and_changes_nothing(world: World) -> None:
    from weighbridge.mechanisms.chip.run import run_command

    chip = world.chip()
    before = sorted(p.name for p in chip.directory.rglob("*"))
    cases: tuple[tuple[list[str], dict[str, Any]], ...] = (
        ([], {}),
        (["/bin/true"], {"leaf_size": 5000}),
        (["/bin/true"], {"core": 4096}),
        (["/bin/true"], {"user": "no-such-user-here"}),
        (["no-such-program"], {}),
    )
    for command, options in cases:
        with pytest.raises(InputError):
            run_command(chip.directory, command, **options)
    with pytest.raises(InputError, match="holds no chip"):
        run_command(world.folder / "nowhere", ["/bin/true"])
    with pytest.raises(InputError, match="is not empty"):
        world.chip()
    with pytest.raises(InputError, match="nonce"):
        answer_challenge(chip.directory, "1234")
    assert sorted(p.name for p in chip.directory.rglob("*")) == before
    (chip.directory / "seed").chmod(0o644)
    with pytest.raises(InputError, match="read by others"):
        Store.open(chip.directory)
    (chip.directory / "seed").chmod(0o600)
    (chip.directory / "seed").write_bytes(b"x" * 5)
    with pytest.raises(EvidenceError), contextlib.closing(Store.open(chip.directory)):
        pass


def test_a_salt_that_is_none_is_a_finding_not_a_reason_to_stop(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=10.0)
    finish(start_agent(chip.directory, ["/bin/sleep", "0.5"]))
    path = salt_path(chip.directory, 1)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"\0")
    found = collect(chip.directory, world.roots, chip=chip.chip)
    assert [(f.check, f.outcome) for f in found.findings] == [("chip.leaves", Outcome.FAIL)]
    assert "32 bytes" in found.findings[0].reason and 1 not in found.salts
    path.unlink()
    os.mkfifo(path)  # a pipe would keep a reader waiting
    assert collect(chip.directory, world.roots, chip=chip.chip).salts.keys() == found.salts.keys()
