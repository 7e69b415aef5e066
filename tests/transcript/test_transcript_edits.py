"""A transcript edited after the run, without a key: each edit meets its named check, and the whole copy passes."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verify import check_initial_state

from .judging import failing, initial, read, replayed
from .world import Ended, World, copied, last_step, rewrite

pytestmark = pytest.mark.real


def test_an_unedited_copy_holds(copy: Ended) -> None:
    assert failing(copy.open()) == []
    assert initial(copy).outcome is Outcome.PASS
    assert replayed(copy).outcome is Outcome.PASS


def test_changed_data_file(copy: Ended, tmp_path: Path) -> None:
    rows = np.load(copy.project.data)
    rows[17, 3] ^= 1
    np.save(tmp_path / "other.npy", rows)
    with pytest.raises(EvidenceError, match=r"has root .*, not the committed"):
        replayed(copy, data=tmp_path / "other.npy")
    np.save(tmp_path / "same.npy", np.load(copy.project.data))
    assert replayed(copy, data=tmp_path / "same.npy").outcome is Outcome.PASS


CODE_EDITS: dict[str, Callable[[Path], object]] = {
    "a changed number": lambda code: (code / "train.py").write_text(
        (code / "train.py").read_text().replace("0.1", "0.2")
    ),
    "a file more": lambda code: (code / "more.py").write_text(""),
    "a file less": lambda code: (code / "train.py").unlink(),
    "another name": lambda code: (code / "train.py").rename(code / "main.py"),
}


@pytest.mark.parametrize("what", CODE_EDITS)
def test_swapped_code_tree(copy: Ended, what: str) -> None:
    CODE_EDITS[what](copy.run / "code")
    with pytest.raises(EvidenceError, match="is not the code tree that was committed"):
        copy.open()


def test_a_missing_code_tree(copy: Ended) -> None:
    shutil.rmtree(copy.run / "code")
    with pytest.raises(EvidenceError, match="code: cannot be read"):
        copy.open()


def test_a_link_to_the_right_code_tree_is_none(copy: Ended) -> None:
    """What a link points to can change after it was checked."""
    shutil.rmtree(copy.run / "code")
    (copy.run / "code").symlink_to(copy.project.folder)
    with pytest.raises(EvidenceError, match="is a link"):
        copy.open()


OPENING_EDITS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "key": (lambda o: o.update(key="00" * 32), "key: is not the one committed to"),
    "nonce": (lambda o: o.update(nonce="00" * 32), "nonce: is not the one committed to"),
    "config": (lambda o: o["contents"]["config"].update(rate=3e-3), "config: is not the one committed to"),
    "data": (lambda o: o["contents"]["data"].update(root="ab" * 32), "data: is not the one committed to"),
    "code": (lambda o: o["contents"]["code"].update(digest="ab" * 32), "code: is not the one committed to"),
    "environment": (lambda o: o["contents"]["environment"].update(threads=2), "environment: is not the one"),
    "program": (lambda o: o["contents"]["program"]["arguments"].append("-x"), "program: is not the one"),
    "loop": (lambda o: o["contents"]["loop"].update(stride=1000), "loop: is not the one committed to"),
    "more": (lambda o: o["contents"].update(more={}), "names other contents than the commitment"),
    "less": (lambda o: o["contents"].pop("loop"), "loop: is missing or no mapping"),
}


@pytest.mark.parametrize("field", OPENING_EDITS)
def test_edited_opening(copy: Ended, field: str) -> None:
    edit, words = OPENING_EDITS[field]
    path = copy.run / "opening.json"
    opening = json.loads(path.read_text())
    edit(opening)
    path.write_text(json.dumps(opening))
    with pytest.raises(EvidenceError, match=words):
        copy.open()


JOURNAL_EDITS: dict[str, Callable[[list[dict[str, Any]]], None]] = {
    "a loss": lambda events: last_step(events).update(loss=["0x1.0p+0"]),
    "a batch": lambda events: last_step(events).update(batch="00" * 32),
    "a state": lambda events: events[-1].update(state="00" * 32),
    "a line dropped": lambda events: events.remove(last_step(events)),
    "two lines swapped": lambda events: events.__setitem__(slice(2, 4), [events[3], events[2]]),
    "cut at the end": lambda events: events.__delitem__(slice(-4, None)),
    "claims dropped": lambda events: events.remove(next(e for e in events if e["type"] == "freeze")),
    "steps stretched": lambda events: last_step(events).update(cpu_ns=last_step(events)["cpu_ns"] + 10**9),
}


@pytest.mark.parametrize("what", JOURNAL_EDITS)
def test_edited_journal(copy: Ended, what: str) -> None:
    """The chain is made anew and holds; the statements that were signed during training do not agree."""
    rewrite(copy.run, JOURNAL_EDITS[what])
    transcript = copy.open()
    assert "journal" in failing(transcript)
    assert "was rewritten or cut" in read(transcript)["journal"].reason


def test_an_edited_line_out_of_its_spelling(copy: Ended) -> None:
    path = copy.run / "journal-0000.jsonl"
    text = path.read_text()
    for edited in (text.replace('"step":', '"step": ', 1), text.replace('{"b', '{ "b', 1), text + "\n", "\n" + text):
        path.write_text(edited)
        with pytest.raises(EvidenceError, match=r"spelling|JSON"):
            copy.open()


ANCHOR_EDITS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda data: data[: len(data) // 2], "is not a readable anchor"),
    "empty": (lambda data: b"", "is not a readable anchor"),
    "a flipped bit in a tensor": (lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "was committed"),
    "a flipped bit in the header": (
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        "is not a readable anchor",
    ),
    "a huge header": (lambda data: (1 << 62).to_bytes(8, "little") + data[8:], "is not a readable anchor"),
    "a pickle": (lambda data: pickle.dumps({"step": 6}), "is not a readable anchor"),
    "another step": (lambda data: data, "is the state of step 0, not 6"),
}


@pytest.mark.parametrize("what", ANCHOR_EDITS)
def test_changed_anchor(copy: Ended, what: str) -> None:
    edit, words = ANCHOR_EDITS[what]
    leg = segments_of(copy.open())[1]
    assert leg.anchor is not None and leg.start == 6
    path = copy.run / "anchors" / leg.anchor
    source = copy.run / "anchors" / "state-0000-0000000.safetensors" if what == "another step" else path
    path.write_bytes(edit(source.read_bytes()))
    with pytest.raises(EvidenceError, match=words):
        replayed(copy, [leg])


def test_an_anchor_that_is_no_plain_file(copy: Ended, tmp_path: Path) -> None:
    leg = segments_of(copy.open())[1]
    path = copy.run / "anchors" / str(leg.anchor)
    content = path.read_bytes()
    (tmp_path / "elsewhere.safetensors").write_bytes(content)
    others: list[Callable[[], object]] = [
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(tmp_path / "elsewhere.safetensors"),
        lambda: path.mkdir(),
    ]
    for put in others:
        if path.exists() or path.is_symlink():
            path.unlink()
        put()
        with pytest.raises(EvidenceError, match="is not a plain file"):
            replayed(copy, [leg])
        if path.is_dir():
            path.rmdir()
    with pytest.raises(EvidenceError, match="is not a readable anchor"):
        replayed(copy, [leg])


PLACES = ["/", "/proc/self", "/dev/shm", "relative", "/a/../../etc", "//a", "/replay/out", "/x\0y", "/a\nb", ""]


@pytest.mark.parametrize("field", ["code", "data", "directory"])
def test_places_that_would_leave_the_sandbox(world: World, field: str) -> None:
    """An operator commits to paths of its choice; none of them may be made outside the sandbox's root."""
    ended = world.project().train()
    for place in PLACES:
        with copied(ended.run) as folder:
            path = folder / "opening.json"
            opening = json.loads(path.read_text())
            match field:
                case "code":
                    opening["contents"]["code"]["root"] = place
                    opening["contents"]["program"]["arguments"][0] = f"{place}/train.py"
                case "data":
                    opening["contents"]["data"]["arrays"]["data"]["path"] = place
                case _:
                    opening["contents"]["program"]["directory"] = place
            path.write_text(json.dumps(opening))
            transcript = Transcript.open(folder, None)
            finding = check_initial_state(transcript)
            assert finding.outcome is not Outcome.PASS
            assert "place" in finding.reason, finding.reason
