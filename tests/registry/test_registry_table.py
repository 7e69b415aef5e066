from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.conftest import DAY, T0, World
from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.registry.directory import Directory
from weighbridge.mechanisms.registry.table import import_csv

HEADER = "chip,step,time,party,to,from,serial,location\n"
GOOD = HEADER + (
    "one,made,2026-01-01,fab,,,SN1,\n"
    "one,shipped,2026-01-02T08:00:00Z,fab,trader,,,\n"
    "one,received,2026-01-03T10:30:00+02:00,trader,,fab,,\n"
    '"two","commissioning","2026-01-01","alice",,,"SN2","hall 1, row 2"\n'
    "\n"
    "two,installed,2026-02-01,alice,,,,hall 2\n"
)
NOW = 1_790_000_000.0


@pytest.fixture
def directory(world: World) -> Directory:
    return Directory("sqlite://", roots=world.roots, create=True)


def load(world: World, directory: Directory, path: Path, text: str | bytes, *, by: str = "registrar") -> object:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return import_csv(path, directory=directory, signer=world.signers[by], issued_at=NOW)


def test_import(world: World, directory: Directory, tmp_path: Path) -> None:
    path = tmp_path / "chips.csv"
    path.write_text(GOOD)
    done = import_csv(path, directory=directory, signer=world.signers["registrar"], issued_at=NOW)
    assert (done.rows, len(done.stored), done.known) == (5, 5, 0)
    assert directory.chips() == ["one", "two"]
    custody = directory.holder_at("one", NOW)
    assert custody is not None
    assert custody.holder == "trader"
    found = directory.findings(now=NOW)
    assert [(f.subject, f.check, f.outcome.value) for f in found] == [
        ("one", "registry.origin", "inconclusive"),
        ("one", "registry.unsigned", "inconclusive"),
        ("two", "registry.origin", "inconclusive"),
        ("two", "registry.unsigned", "inconclusive"),
    ]
    again = import_csv(path, directory=directory, signer=world.signers["registrar"], issued_at=NOW + 5)
    assert (again.rows, again.stored, again.known) == (5, (), 5)


def test_columns_in_any_order_and_a_byte_order_mark(world: World, directory: Directory, tmp_path: Path) -> None:
    text = "\ufeffTime, Step ,CHIP\n2026-01-01,made,one\n2026-01-01,made,one\n"
    load(world, directory, tmp_path / "x.csv", text, by="fab")
    custody = directory.holder_at("one", NOW)
    assert custody is not None
    assert custody.holder == "fab"  # the signer, where no party is given
    assert directory.findings(now=NOW) == []
    assert directory.verify() == 1


@pytest.mark.parametrize(
    ("row", "line", "column"),
    [
        ("one,stolen,2026-01-01,fab,,,,", 2, "step"),
        ("one,,2026-01-01,fab,,,,", 2, "step"),
        (",made,2026-01-01,fab,,,,", 2, "chip"),
        ("o ne,made,2026-01-01,fab,,,,", 2, "chip"),
        ("one,made,01/02/2026,fab,,,,", 2, "time"),
        ("one,made,2026-02-30,fab,,,,", 2, "time"),
        ("one,made,2026-01-01T00:00:00,fab,,,,", 2, "time"),
        ("one,made,1999-01-01,fab,,,,", 2, "time"),
        ("one,made,2026-01-01,fab,alice,,,", 2, "to"),
        ("one,shipped,2026-01-01,fab,,,,", 2, "to"),
        ("one,shipped,2026-01-01,fab,trader,bob,,", 2, "from"),
        ("one,received,2026-01-01,fab,,,,", 2, "from"),
        ("one,shipped,2026-01-01,fab,trader,,SN1,", 2, "serial"),
        ("one,made,2026-01-01," + "x" * 65 + ",,,,", 2, "party"),
        ("one,made,2026-01-01,fab,,,,\x07", 2, "location"),
    ],
)
def test_a_bad_cell_is_named_and_nothing_is_stored(
    world: World, directory: Directory, tmp_path: Path, row: str, line: int, column: str
) -> None:
    for text, at in ((HEADER + row + "\n", line), (GOOD + row + "\n", line + 6)):
        with pytest.raises(InputError) as refused:
            load(world, directory, tmp_path / "chips.csv", text)
        assert f"chips.csv: line {at}: column '{column}'" in str(refused.value)
        assert refused.value.mend or column in ("party", "location", "serial")
        assert directory.verify() == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (HEADER, "holds no events"),
        ("chip,step\none,made\n", "column 'time': column is missing"),
        ("chip,step,time,colour\n", "column 'colour': is no column"),
        ("chip,chip,step,time\n", "column 'chip': is there twice"),
        (HEADER + "one,made\n", "line 2: has 2 cells, expected 8"),
        (HEADER + "one,made,2026-01-01,fab,,,,,,,\n", "line 2: has 11 cells"),
        (HEADER + '"one,made\n', "is not CSV"),
        (HEADER + '"one"x,made,2026-01-01,fab,,,,\n', "line 2: is not CSV"),
        (b"\xff\xfe\x00chip", "is not UTF-8"),
        (HEADER.encode() + b"one,made,2026-01-01,f\xe9b,,,,\n", "is not UTF-8"),
        (HEADER + "x" * 2000 + ",made,2026-01-01,fab,,,,\n", "over 1000 characters"),
        (HEADER + '"' + "x" * 200_000 + '",made,2026-01-01,fab,,,,\n', "line 2"),
        ("\x00" * 100, "chips.csv"),
        ("a" * 100_000, "chips.csv"),
        (HEADER + "one,made,2026-01-01,\x00,,,,\n", "chips.csv: line 2"),
        ("<html>\n<body>\n", "is no column"),
    ],
)
def test_hostile_files_get_one_clear_error(
    world: World, directory: Directory, tmp_path: Path, text: str | bytes, words: str
) -> None:
    with pytest.raises(InputError) as refused:
        load(world, directory, tmp_path / "chips.csv", text)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 500
    assert directory.verify() == 0


def test_hostile_paths_get_one_clear_error(world: World, directory: Directory, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.csv", Path("/dev/zero")):
        with pytest.raises(InputError, match="no such file"):
            import_csv(path, directory=directory, signer=world.signers["registrar"])


def test_who_may_import_what(world: World, directory: Directory, tmp_path: Path) -> None:
    path = tmp_path / "chips.csv"
    made = HEADER + "one,made,2026-01-01,,,,,\n"
    with pytest.raises(InputError, match="alice is operator"):
        load(world, directory, path, made, by="alice")
    with pytest.raises(InputError, match="alice cannot sign for 'bob'"):
        load(world, directory, path, HEADER + "one,installed,2026-01-01,bob,,,,\n", by="alice")
    with pytest.raises(EvidenceError, match="none of the trusted roots"):
        load(world, directory, path, made, by="stranger")
    with pytest.raises(EvidenceError, match="signs no custody events"):
        load(world, directory, path, made, by="chip")
    assert directory.verify() == 0
    load(world, directory, path, made, by="fab")
    load(world, directory, path, HEADER + "one,destroyed,2026-01-02,fab,,,,\n", by="ines")
    assert directory.chips_of("fab", NOW) == []


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.sampled_from('one,made,2026-01-01T"\n\r\t;\x00é,shipped'), max_size=120))
def test_any_text_is_a_table_or_one_clear_error(
    world: World, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_text(HEADER + text, newline="")
    with Directory("sqlite://", roots=world.roots, create=True) as directory:
        try:
            import_csv(path, directory=directory, signer=world.signers["registrar"])
        except InputError:
            assert directory.verify() == 0


def test_times_are_those_of_the_table(world: World, directory: Directory, tmp_path: Path) -> None:
    load(world, directory, tmp_path / "x.csv", "chip,step,time\none,made,2025-10-09T08:53:20Z\n", by="fab")
    custody = directory.holder_at("one", T0)
    assert custody is not None
    assert custody.since == T0
    assert directory.holder_at("one", T0 - DAY) is None
