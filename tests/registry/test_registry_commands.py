import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from registry.conftest import World
from weighbridge.app.registry_commands import app
from weighbridge.errors import EvidenceError, InputError

TABLE = (
    "chip,step,time,party,to,from\n"
    "one,made,2025-10-10,fab,,\n"
    "one,shipped,2025-10-11,fab,alice,\n"
    "one,received,2025-10-12,alice,,fab\n"
    "two,shipped,2025-10-11,fab,alice,\n"
)


class Desk:
    """A registrar's desk: commands run against one directory."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.usual = ["--db", str(folder / "chips.db"), "--roots", str(world.folder / "roots")]

    def run(self, *words: str, usual: bool = True) -> Any:
        return CliRunner().invoke(app, [*words, *(self.usual if usual else [])])

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        result = self.run(*words, "--json")
        assert result.exit_code == status, (result.output, result.exception)
        found = json.loads(result.stdout)
        assert isinstance(found, dict)
        return found

    def key(self, name: str) -> str:
        return str(self.world.folder / f"{name}.pem")


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    return Desk(world, tmp_path)


@pytest.fixture
def filled(desk: Desk) -> Desk:
    table = desk.folder / "table.csv"
    table.write_text(TABLE)
    assert desk.json("import", str(table), "--key", desk.key("registrar"))["rows"] == 4
    return desk


def test_import_twice(filled: Desk) -> None:
    again = filled.json("import", str(filled.folder / "table.csv"), "--key", filled.key("registrar"))
    assert again == {"rows": 4, "stored": [], "known": 4}
    shown = filled.run("import", str(filled.folder / "table.csv"), "--key", filled.key("registrar")).stdout
    assert "0 events stored, 4 were known already" in shown


def test_a_bad_table_stores_nothing(filled: Desk) -> None:
    (filled.folder / "bad.csv").write_text(TABLE + "three,made,someday,fab,,\n")
    result = filled.run("import", str(filled.folder / "bad.csv"), "--key", filled.key("registrar"))
    assert isinstance(result.exception, InputError)
    assert "line 6: column 'time'" in str(result.exception)
    assert result.stdout == ""
    assert [chip["chip"] for chip in filled.json("show")["chips"]] == ["one", "two"]


def test_show(filled: Desk) -> None:
    found = filled.json("show", "--at", "2025-10-11T12:00:00Z")
    assert {chip["chip"]: (chip["holder"], chip["status"]) for chip in found["chips"]} == {
        "one": ("fab", "in transit"),
        "two": ("fab", "in transit"),
    }
    one = filled.json("show", "one")
    assert [event["step"] for event in one["events"]] == ["commissioning", "shipping", "receiving"]
    assert one["states"][-1]["holder"] == "alice"
    assert {mark["check"] for mark in one["marks"]} == {"origin", "unsigned"}
    for words in (("show",), ("show", "one")):
        assert "alice" in filled.run(*words).stdout
    assert isinstance(filled.run("show", "three").exception, InputError)


def test_holder(filled: Desk) -> None:
    found = filled.json("holder", "one", "--at", "2025-10-13")
    assert (found["holder"], found["status"], found["since"]) == ("alice", "held", "2025-10-12T00:00:00Z")
    assert filled.json("holder", "one", "--at", "2025-10-01")["holder"] is None
    assert filled.json("holder", "--party", "alice")["chips"] == ["one"]
    assert "alice" in filled.run("holder", "one").stdout
    assert "one" in filled.run("holder", "--party", "alice").stdout
    for words in (("holder",), ("holder", "one", "--party", "alice"), ("holder", "one", "--at", "never")):
        assert isinstance(filled.run(*words).exception, InputError)


def test_findings(filled: Desk) -> None:
    found = filled.json("findings", "--at", "2025-10-20", status=1)
    assert found["statements"] == 4
    assert {(f["subject"], f["check"], f["outcome"]) for f in found["findings"]} == {
        ("one", "registry.origin", "inconclusive"),
        ("one", "registry.unsigned", "inconclusive"),
        ("two", "registry.origin", "fail"),
        ("two", "registry.unsigned", "inconclusive"),
    }
    missing = filled.json("findings", "--at", "2025-10-20", "--transit-days", "5", "--chip", "two", status=1)
    assert "registry.never-received" in {f["check"] for f in missing["findings"]}
    assert filled.json("findings", "--chip", "one", status=3)["findings"]
    assert "from nowhere" in " ".join(filled.run("findings").stdout.split())
    assert isinstance(filled.run("findings", "--transit-days", "0").exception, InputError)


def test_parties_sign_for_themselves(desk: Desk) -> None:
    def sign(name: str, by: str, *words: str) -> str:
        out = str(desk.folder / f"{name}.cose")
        result = desk.run("sign", *words, "--chip", "one", "--key", desk.key(by), "--out", out, usual=False)
        assert result.exit_code == 0, result.exception
        return out

    files = [
        sign("made", "fab", "made", "--serial", "SN1", "--at", "2025-10-10"),
        sign("shipped", "fab", "shipped", "--to", "alice", "--at", "2025-10-11"),
        sign("received", "alice", "received", "--from", "fab", "--at", "2025-10-12"),
        sign("installed", "alice", "installed", "--location", "hall 1", "--at", "2025-10-13"),
    ]
    assert len(desk.json("add", *files)["stored"]) == 4
    assert desk.json("add", *files)["stored"] == []
    assert desk.json("findings", "--chip", "one")["findings"][0]["outcome"] == "pass"
    assert desk.json("holder", "one")["location"] == "hall 1"
    # One more, which was an error.
    wrong = sign("wrong", "alice", "shipped", "--to", "bob", "--at", "2025-10-14")
    desk.json("add", wrong)
    assert desk.json("holder", "one")["status"] == "in transit"
    out = str(desk.folder / "correction.cose")
    roots = ["--roots", str(desk.world.folder / "roots")]
    words = ["correct", wrong, "--key", desk.key("alice"), "--out", out, *roots]
    assert isinstance(desk.run(*words, "--reason", "whim", usual=False).exception, InputError)
    assert desk.run(*words, "--reason", "did_not_occur", usual=False).exit_code == 0
    desk.json("add", out)
    assert desk.json("holder", "one")["status"] == "installed"
    assert len(desk.json("show", "one")["voided"]) == 2


def test_sign_refuses_in_words(desk: Desk) -> None:
    out = ["--out", str(desk.folder / "x.cose"), "--key", desk.key("alice")]
    for words in (
        ["sign", "stolen", "--chip", "one"],
        ["sign", "shipped", "--chip", "one"],
        ["sign", "received", "--chip", "one"],
        ["sign", "made", "--chip", "o ne"],
        ["sign", "shipped", "--chip", "one", "--to", "a", "--from", "b"],
        ["sign", "installed", "--chip", "one", "--at", "now"],
    ):
        assert isinstance(desk.run(*words, *out, usual=False).exception, InputError), words
    assert not (desk.folder / "x.cose").exists()
    good = ["sign", "installed", "--chip", "one", "--key", desk.key("alice"), "--out"]
    (desk.folder / "there").write_text("x")
    for place in ("there", "absent/x.cose"):
        assert isinstance(desk.run(*good, str(desk.folder / place), usual=False).exception, InputError)


def test_hostile_statement_files(filled: Desk) -> None:
    (filled.folder / "junk.cose").write_bytes(b"\xd2\x84" * 100)
    (filled.folder / "huge.cose").write_bytes(b"\x00" * (2 << 20))
    assert isinstance(filled.run("add", str(filled.folder / "junk.cose")).exception, EvidenceError)
    for name in ("huge.cose", "absent.cose", "."):
        assert isinstance(filled.run("add", str(filled.folder / name)).exception, InputError)
    assert filled.json("findings", status=1)["statements"] == 4


def test_no_directory_is_made_by_asking(desk: Desk) -> None:
    for words in (("show",), ("holder", "one"), ("findings",)):
        result = desk.run(*words)
        assert isinstance(result.exception, InputError)
        assert "there is no directory of chips here" in str(result.exception)
    assert not (desk.folder / "chips.db").exists()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("import", {"file", "db", "key", "roots", "json"}),
        ("add", {"statements", "db", "roots", "json"}),
        ("sign", {"step", "chip", "key", "out", "party", "to", "from", "at", "serial", "location"}),
        ("correct", {"statement", "reason", "key", "roots", "out"}),
        ("show", {"chip", "db", "roots", "at", "json"}),
        ("holder", {"chip", "party", "db", "roots", "at", "json"}),
        ("findings", {"db", "roots", "chip", "at", "transit-days", "json"}),
    ],
)
def test_the_surface_is_frozen(command: str, options: set[str]) -> None:
    group: Any = typer.main.get_command(app)
    found = group.commands[command]
    assert {option.lstrip("-") for parameter in found.params for option in parameter.opts} == options
    assert set(group.commands) == {"import", "add", "sign", "correct", "show", "holder", "findings"}
    assert "Example: weighbridge registry" in found.help
