"""Programs that use paths outside of what was committed: they cannot be replayed, and are not accused for it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from transcript.bench import Bench
from transcript.ranks import Ranks
from transcript.world import World
from weighbridge.app.main import build
from weighbridge.ledger.audit import audit_run
from weighbridge.mechanisms.transcript.outside import MEND_WATCHED, Shown, path_asked_for
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import check_initial_state
from weighbridge.sandbox import Bind

pytestmark = pytest.mark.real


@pytest.fixture
def bench(tmp_path: Path, world: World) -> Bench:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "settings.json").write_text('{"rate": 0.02}')
    time.sleep(0.3)  # what a process wrote itself is known by its time
    return Bench(tmp_path, world.zygote)


@pytest.mark.parametrize(
    ("way", "path"), [("setting", "disk/settings.json"), ("saving", "disk"), ("noting", "disk"), ("choosing", "disk")]
)
def test_a_path_elsewhere_is_inconclusive_and_named(bench: Bench, way: str, path: str) -> None:
    """The last chooses to end so: it wins nothing but that nothing is shown."""
    outside = bench.folder / path
    words = ("--bind", "--anchor-every", "5", "--", "python", bench.place("elsewhere"), way, outside)
    recorded = Bench(bench.folder).record(*words)
    assert recorded.returncode == 0 and "20 steps recorded" in recorded.stderr, recorded.stderr
    ended = CliRunner().invoke(build(), ["transcript", "verify", str(bench.run), "--json"])
    found = {finding["check"]: finding for finding in json.loads(ended.stdout)["findings"]}
    asked = outside / "notes.txt" if way == "noting" else outside
    kinds = {"setting": "reads", "saving": "writes to", "noting": "writes to"}
    file = {"setting": outside, "saving": outside / "checkpoint.pt", "noting": asked}
    said = [line for line in recorded.stderr.splitlines() if "the program" in line and "replay will not" in line]
    expected = [f"weighbridge: the program {kinds[way]} {file[way]}, "] if way in kinds else []
    assert [line.split(", ")[0] + ", " for line in said] == expected
    assert ended.exit_code == 3  # as wherever a check could not be made
    assert found["transcript.replay"]["outcome"] == "inconclusive", found["transcript.replay"]
    reason = found["transcript.replay"]["reason"]
    assert str(asked) in reason and "--data" in reason and "nothing of it could be shown" in reason
    initial = found["transcript.initial-state"]["outcome"]
    assert initial == ("inconclusive" if way == "setting" else "pass")
    # One segment drawn that needs the path, and the run is not verified either; the ledger covers nothing with it.
    audit = audit_run(Transcript.open(bench.run, None), {})
    assert not audit.accepted and audit.replayed_steps == 0 and audit.spans == ()
    assert {f.outcome.value for f in audit.findings} == {"pass", "inconclusive"}, audit.findings


def test_a_folder_that_the_program_makes_is_no_hindrance(bench: Bench) -> None:
    recorded = bench.record("--", "python", bench.place("elsewhere"), "making", bench.folder / "disk")
    assert recorded.returncode == 0 and "replay will not" not in recorded.stderr
    assert Bench(bench.folder).verify()["transcript.replay"][0] == "pass"


def test_what_is_named_is_shown(bench: Bench) -> None:
    words = ("--", "python", bench.place("elsewhere"), "setting", bench.folder / "disk" / "settings.json")
    recorded = bench.record("--data", "disk/settings.json", *words)
    assert recorded.returncode == 0 and "replay will not" not in recorded.stderr
    assert bench.verify()["transcript.replay"][0] == "pass"


@pytest.mark.parametrize("way", ["raising", "pretending"])
def test_an_error_of_the_programs_own_is_a_failure(bench: Bench, way: str) -> None:
    assert bench.record("--", "python", bench.place("elsewhere"), way, bench.folder / "disk").returncode == 0
    assert Bench(bench.folder).verify()["transcript.replay"][0] == "fail"


def test_ranks_too(tmp_path: Path) -> None:
    ranks = Ranks(tmp_path)
    (tmp_path / "disk").mkdir()
    recorded = ranks.recorded("elsewhere", "saving", str(tmp_path / "disk"))
    assert recorded.returncode == 0, recorded.stderr
    assert ranks.merged()
    status, _, said = ranks.invoke("verify", tmp_path / "merged")
    found = {f["check"]: (f["outcome"], f["reason"]) for f in said["findings"]}
    assert found["transcript.replay"][0] == "inconclusive" and str(tmp_path / "disk") in found["transcript.replay"][1]
    assert status == 3 and "fail" not in {outcome for outcome, _ in found.values()}


def test_a_program_that_loops_over_ours(world: World, tmp_path: Path) -> None:
    """It may write beside its code when it is replayed, and what it reads elsewhere is named."""
    project = world.project(steps=4)
    script = project.folder / "train.py"
    script.write_text(script.read_text() + "\nPath(__file__).with_name('done.txt').write_text('done')\n")
    within = project.train(spool=True)
    assert check_initial_state(within.open()).outcome.value == "pass"
    assert audit_run(within.open(), {}).accepted
    (project.folder / "config.json").rename(tmp_path / "config.json")
    # Read before start is called, and so before anything is watched: not said.
    ended = project.train("train.py", str(project.data), str(tmp_path / "config.json"), spool=True)
    found = check_initial_state(ended.open())
    assert found.outcome.value == "inconclusive" and str(tmp_path / "config.json") in found.reason
    audit = audit_run(ended.open(), {})
    assert not audit.accepted and "fail" not in {f.outcome.value for f in audit.findings}


def test_one_that_ends_itself_only_where_its_data_are_zeros_covers_nothing(world: World) -> None:
    project = world.project(steps=4)
    script = project.folder / "train.py"
    text = "import sys as _s, numpy as _n\nif not _n.load(_s.argv[1]).any():\n    open('/elsewhere/x')\n"
    script.write_text(script.read_text().replace("import json\n", text + "import json\n", 1))
    audit = audit_run(project.train(spool=True).open(), {})
    assert not audit.accepted and audit.findings[-1].check == "transcript.initial-state"
    assert audit.findings[-1].outcome.value == "inconclusive"


def test_which_endings_are_believed(tmp_path: Path) -> None:
    (tmp_path / "own.json").touch()
    binds = (Bind(tmp_path, Path("/home/them/code"), writable=True), Bind(Path("/usr")))
    shown = Shown(binds, Path("/home/them/code"), MEND_WATCHED)

    def asked(*lines: str, of_any: bool = False) -> str | None:
        found = path_asked_for("\n".join(lines), shown, of_any=of_any)
        return None if found is None else str(found)

    head, at = "Traceback (most recent call last):", '  File "train.py", line 3, in <module>'
    missing = "FileNotFoundError: [Errno 2] No such file or directory: '/mnt/it\\'s here.csv'"
    assert asked("step 1", head, at, missing) == "/mnt/it's here.csv"
    assert asked(f"[rank1]: {head}", f"[rank1]: {at}", f"[rank1]: {missing}", "a last word") == "/mnt/it's here.csv"
    assert asked(head, at, missing, "", "During handling of the above exception, another exception occurred:", "",
                 head, at, "ValueError: no") is None  # fmt: skip
    assert asked(head, at, missing, "",
                 "The above exception was the direct cause of the following exception:", "",
                 head, at, "ValueError: no settings") == "/mnt/it's here.csv"  # fmt: skip
    assert asked(head, at, missing, head, at, "ConnectionError: closed") is None
    assert asked(head, at, missing, head, at, "ConnectionError: closed", of_any=True) == "/mnt/it's here.csv"
    assert asked(missing) is None  # printed, and no error
    assert asked(head, at, "RuntimeError: Parent directory ../kept does not exist.") == "/home/them/kept"
    assert asked(head, at, "OSError: [Errno 30] Read-only file system: '/usr/share/x'") == "/usr/share/x"
    assert asked(head, at, "OSError: [Errno 28] No space left on device: '/mnt/x'") is None
    assert asked(head, at, "PermissionError: [Errno 13] Permission denied: '/home/them/code/x'") is None
    for given in ("own.json", "/usr/bin/env", "/proc/self/maps"):
        assert asked(head, at, f"FileNotFoundError: [Errno 2] No such file or directory: '{given}'") is None
    worker = "FileNotFoundError: Caught FileNotFoundError in DataLoader worker process 0."
    assert asked(head, at, worker, "Original Traceback (most recent call last):", at, missing) is not None
    assert asked(head, at, "FileNotFoundError: No such file or directory: /mnt/w.safetensors") == "/mnt/w.safetensors"
    assert asked(head, at, "FileNotFoundError: rows.txt not found.") == "/home/them/code/rows.txt"  # as NumPy says it
    arrow = "FileNotFoundError: [Errno 2] Failed to open local file '/mnt/x'. Detail: [errno 2] No such file"
    assert asked(head, at, arrow) == "/mnt/x"


def test_what_is_opened_elsewhere_is_said_once_a_kind(tmp_path: Path) -> None:
    code, data, other = (tmp_path / name for name in ("code", "data", "other"))
    for folder in (code, data, other, tmp_path / "runs"):
        folder.mkdir()
        for name in ("settings.json", "notes.txt"):
            (folder / name).touch()
    (code / "link.txt").symlink_to(data / "notes.txt")
    script = tmp_path / "hearing.py"
    script.write_text(HEARING)
    time.sleep(0.3)
    command = [sys.executable, str(script), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    lines = ended.stderr.splitlines()
    assert [line.split(", ")[0] for line in lines] == [
        f"weighbridge: the program writes to {other / 'out.txt'}",
        f"weighbridge: the program reads {other / 'notes.txt'}",
    ], ended.stderr
    assert "--data" in lines[1] and "own folder" in lines[0]
    assert ended.stdout == "fine\n"


HEARING = """
import os, sys, tempfile
from pathlib import Path
from weighbridge.mechanisms.transcript.opens import Opens

root = Path(sys.argv[1])
code, data, other = (root / name for name in ("code", "data", "other"))
opens = Opens(code=code, data=[data], own=[root / "runs"])
# Nothing of this is missing in a replay, or nobody can tell.
import sqlite3, xml.dom.minidom
for path in (code / "settings.json", code / "link.txt", data / "notes.txt", root / "runs" / "notes.txt"):
    path.read_bytes()
Path("/proc/self/maps").read_bytes()
with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile():
    Path(folder, "own.txt").write_text("own")
    Path(folder, "own.txt").read_text()
(code / "out.txt").write_text("below its own folder")
(other / "made" / "deep").mkdir(parents=True)
(other / "made" / "deep" / "out.txt").write_text("in a folder that it made")
(other / "made" / "deep" / "out.txt").read_text()
for missing in (other / "none.txt", other / "none" / "out.txt"):
    for mode in "rw":
        try:
            open(missing, "r" if missing.name == "none.txt" else mode)
        except OSError:
            pass
child = os.fork()
if child == 0:
    (other / "notes.txt").read_text()
    os._exit(0)
os.waitpid(child, 0)
print("fine", flush=True)
(other / "out.txt").write_text("elsewhere")
(other / "out.txt").read_text()
(other / "notes.txt").read_text()
(other / "settings.json").read_text()
(other / "more.txt").write_text("said once")
opens.close()
"""
