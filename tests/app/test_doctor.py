"""What doctor says of a machine: each fault is made, named, mended in words, and counts for what needs it alone."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weighbridge.app import doctor_machine, doctor_packages, doctor_settings
from weighbridge.app.doctor_check import PURPOSES, Check, State, made
from weighbridge.app.doctor_packages import requirements, within
from weighbridge.app.doctor_settings import keeper_holds
from weighbridge.app.main import build
from weighbridge.errors import InputError, MissingToolError
from weighbridge.evidence.certificates import issue, issue_root
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log
from weighbridge.evidence.spool import Keeper
from weighbridge.evidence.trust import TrustRoots


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WEIGHBRIDGE_")]:
        monkeypatch.delenv(name)


def doctor(*arguments: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Runs the command; returns its status, what it printed, and the checks by name."""
    result = CliRunner().invoke(build(), ["doctor", *arguments, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    printed: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, printed, {check["name"]: check for check in printed["checks"]}


def looked(name: str) -> tuple[State, str, str]:
    checks = (*doctor_packages.CHECKS, *doctor_machine.CHECKS, *doctor_settings.CHECKS)
    return next(check for check in checks if check.name == name).look()


@pytest.mark.real
def test_this_machine_has_what_the_tests_need(tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    status, printed, checks = doctor()
    assert status == 0 and printed["for"] == []
    for name in ("python", "packages", "torch", "clock", "memory of others"):
        assert checks[name]["state"] == "ok", checks[name]
    assert ("CPU build" in checks["torch"]["says"]) or ("CUDA" in checks["torch"]["says"])
    assert all(check["mend"] or check["state"] == "ok" for check in printed["checks"]), printed
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    if shutil.which("bwrap"):
        assert checks["bubblewrap"]["state"] == "ok", checks["bubblewrap"]
    assert not list(Path("/sys/fs/cgroup").rglob("weighbridge-doctor-*"))


def test_planning_asks_for_nothing_that_it_does_not_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_packages, "_torch", lambda: pytest.fail("torch was looked for"))
    status, printed, checks = doctor("--for", "planning")
    assert status == 0 and printed["ready"] == {"planning": True}
    assert "bubblewrap" not in checks and "torch" not in checks and "python" in checks


def test_missing_counts_for_its_purpose_alone() -> None:
    checks = [
        Check("a", ("chip",), lambda: (State.MISSING, "gone", "mend it")),
        Check("b", ("planning",), lambda: (State.WARN, "so so", "mend it")),
        Check("c", (), lambda: (State.MISSING, "tests only", "")),
        Check("d", PURPOSES, lambda: 1 / 0),  # type: ignore[arg-type, return-value]
    ]
    assert [found.name for found in made(checks, ["chip"])] == ["a", "d"]
    assert [found.name for found in made(checks, [])] == ["a", "b", "c", "d"]
    broken = made(checks, ["recording"])[0]
    assert broken.state is State.MISSING and "could not be checked (ZeroDivisionError" in broken.says


def test_the_exit_status_is_1_only_for_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_REPLAY", "plan.json")
    status, printed, checks = doctor("--for", "recording")
    assert status == 1 and not printed["ready"]["recording"] and checks["other variables"]["state"] == "missing"
    assert doctor("--for", "planning")[0] == 0
    status, printed, checks = doctor()
    assert status == 0 and checks["other variables"]["state"] == "missing" and not printed["ready"]["recording"]
    plain = CliRunner().invoke(build(), ["doctor", "--for", "recording"])
    assert "recording: not ready, see other variables" in plain.stdout
    with pytest.raises(InputError, match="--for: 'flying' is none; choose from recording"):
        doctor("--for", "flying")


def test_versions_are_held_against_declared_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=2.0", 'drand-verify<0.3,>=0.2.1; extra == "draws"', "odd @ https://example.org/x", "plain"]
    read = requirements(lines)
    assert [(r.name, r.bounds, r.extra) for r in read] == [
        ("numpy", ((">=", "2.0"),), ""),
        ("drand-verify", (("<", "0.3"), (">=", "0.2.1")), "draws"),
        ("plain", (), ""),
    ]
    assert within("2.0", [(">=", "2")]) and within("2.13.0+cpu", [(">=", "2.6")]) and within("0.0.3", [("==", "0.0.3")])
    assert (
        not within("1.9.9", [(">=", "2.0")]) and not within("0.3.0", [("<", "0.3")]) and not within("2.0", [(">", "2")])
    )
    assert within("10.0", [(">", "9.9")]) and not within("1.0", [("!=", "1")])
    # What our own metadata declares is understood whole.
    declared = metadata.metadata("weighbridge").get_all("Requires-Dist") or []
    assert len(requirements(declared)) == len(declared) > 10
    assert all(requirement.bounds for requirement in requirements(declared))
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.26" if name == "numpy" else real(name))
    state, says, mend = looked("packages")
    assert state is State.MISSING and "numpy is 1.26 where numpy>=2.0 is asked for" in says and "pip install" in mend


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert looked("torch") == (
        State.MISSING,
        "not installed: safetensors, torch, zstandard",
        "pip install 'weighbridge[torch]'",
    )
    assert looked("extra: plots")[0] is State.WARN


def test_without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> None:
        raise MissingToolError("bwrap is not installed", mend="install it")

    monkeypatch.setattr(doctor_machine, "run_isolated", refused)
    assert looked("bubblewrap") == (State.MISSING, "bwrap is not installed", "install it")


@pytest.mark.real
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_a_sandbox_that_is_none_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "_INSIDE", "print('inside 7 0 []')")
    state, says, _ = looked("bubblewrap")
    assert state is State.MISSING and "inside 7 0 []" in says


Room = namedtuple("Room", "f_bavail f_frsize f_files f_favail")


@pytest.mark.parametrize(
    ("free", "inodes", "state"),
    [(1 << 40, 1 << 20, "ok"), (1 << 30, 1 << 20, "warn"), (1 << 20, 1 << 20, "missing"), (1 << 40, 5, "missing")],
)
def test_room_in_the_store(free: int, inodes: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_RUNS", str(tmp_path / "deep" / "runs"))
    monkeypatch.setattr(os, "statvfs", lambda path: Room(free >> 12, 1 << 12, 1 << 20, inodes))
    found, says, _ = looked("run store")
    assert found == state and f"to be made in {tmp_path}" in says
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").write_text("")
    monkeypatch.setenv("WEIGHBRIDGE_RUNS", str(tmp_path / "runs"))
    assert looked("run store")[0] is State.MISSING


def test_a_clock_before_its_own_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked("clock")[0] is State.OK
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    state, says, _ = looked("clock")
    assert state is State.MISSING and "1970-01-02" in says


class World:
    """A log, its spool, and an operator's certified key."""

    def __init__(self, folder: Path) -> None:
        body = FileSigner.create(folder / "body.pem")
        root = issue_root(body, name="Inspectorate", role="inspectorate")
        self.signer = FileSigner.create(folder / "key.pem")
        leaf = issue(body, root, public_key=self.signer.public_key, name="Operator", role="operator")
        self.signer = self.signer.with_chain([leaf, root])
        self.log = Log.create(folder / "log.db", FileSigner.create(folder / "log.pem"), origin="example.org/log")
        self.roots = TrustRoots(roots=(root,), log_key=self.log.log_key)
        self.roots.save(folder / "roots")
        self.folder, self.spool = folder, folder / "spool"

    def set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, path in (("KEY", "key.pem"), ("ROOTS", "roots"), ("SPOOL", "spool")):
            monkeypatch.setenv(f"WEIGHBRIDGE_{name}", str(self.folder / path))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    world.set(monkeypatch)
    return world


SETTINGS = ("key", "trust roots", "spool")


def test_settings_that_fit_and_a_keeper_at_work(world: World) -> None:
    with Keeper(world.log, world.spool, roots=world.roots):
        assert keeper_holds(world.spool)
        assert [looked(name)[0] for name in SETTINGS] == [State.OK] * 3
        assert world.log.size == 0  # looking hands nothing in
    assert not keeper_holds(world.spool)
    state, says, mend = looked("spool")
    assert state is State.MISSING and "no keeper is at work" in says and "weighbridge log keep" in mend


def test_a_keeper_of_another_process_is_seen(world: World) -> None:
    Keeper(world.log, world.spool, roots=world.roots).close()
    program = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(world.spool / "keeper.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        other.stdout.readline()
        assert keeper_holds(world.spool)
        other.stdin.close()
    assert not keeper_holds(world.spool)


def test_settings_that_do_not_fit(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key.pem").chmod(0o644)
    state, says, mend = looked("key")
    assert state is State.MISSING and "open to others" in says and "chmod 600" in mend
    (tmp_path / "key.pem").chmod(0o600)
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other")
    monkeypatch.setenv("WEIGHBRIDGE_ROOTS", str(other.folder / "roots"))
    state, says, _ = looked("trust roots")
    assert state is State.MISSING and "what WEIGHBRIDGE_KEY signs does not verify under them" in says
    (tmp_path / "key.pem.chain.pem").unlink()
    assert "no certificates beside it" in looked("key")[1]
    monkeypatch.delenv("WEIGHBRIDGE_KEY")
    assert "WEIGHBRIDGE_KEY is not" in looked("spool")[1]
    monkeypatch.delenv("WEIGHBRIDGE_ROOTS")
    assert looked("trust roots")[0] is State.MISSING
    monkeypatch.delenv("WEIGHBRIDGE_SPOOL")
    assert {looked(name)[0] for name in SETTINGS} == {State.WARN}


def test_a_pipe_for_a_key_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "key.pem")
    monkeypatch.setenv("WEIGHBRIDGE_KEY", str(tmp_path / "key.pem"))
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(looked("key")), daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert found and found[0][0] is State.MISSING


def test_variables_that_should_not_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert looked("other variables")[0] is State.OK
    monkeypatch.setenv("WEIGHBRIDGE_SPOOLS", "x")
    assert "nothing reads WEIGHBRIDGE_SPOOLS" in looked("other variables")[1]
    monkeypatch.setenv("WEIGHBRIDGE_CHIP", "c0")
    assert "outside of weighbridge chip run" in looked("other variables")[1]
    monkeypatch.setenv("WEIGHBRIDGE_RESUME", str(tmp_path))
    assert looked("other variables")[0] is State.MISSING
    (tmp_path / "journal-0000.jsonl").write_text("")
    assert looked("other variables")[0] is State.WARN


def test_threads_and_determinism(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, state in (
        (None, State.WARN),
        ("1", State.OK),
        ("0", State.WARN),
        ("9999", State.WARN),
        ("x", State.WARN),
    ):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if value is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert looked("threads")[0] is state, value
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert looked("determinism")[0] is State.WARN
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    assert looked("determinism")[0] is State.OK


def test_a_variable_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_KEY", "/none/\x1b[2J\n\x9b")
    plain = CliRunner().invoke(build(), ["doctor", "--for", "recording"])
    assert plain.exit_code == 1 and "\x1b" not in plain.stdout and "\x9b" not in plain.stdout
