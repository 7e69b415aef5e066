"""An error names the file, the option that was typed, and what to type instead."""

from pathlib import Path

import pytest

from inspection.world import Site, build_site, run
from weighbridge.errors import EvidenceError, InputError

AGREED = ("--purpose", "visit", "--period", "2026-12")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Nothing here is ever written to it: every command is refused."""
    return build_site(tmp_path_factory.mktemp("words") / "site")


def frame(site: Site, folder: Path, *, listed: Path | None = None, count: object = 2, source: str = "drand") -> None:
    by = ("--key", site.key("ines"), "--roots", site.path("roots"))
    table = listed or site.path("chips.csv")
    run("frame", folder, "--list", table, "--count", count, *AGREED, "--source", source, *by)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("id,rack\nA,R1\nA,R2\n", "list.csv, line 3: id: names A a second time; leave one out"),
        ("id,rack\nA,R1\n,R2\n", "list.csv, line 3: id: has no id; give"),
        ('id,rack\nA,"R\n1"\nB,R2\n', "list.csv, line 3: rack: is not a printable text"),
        ("id,rack\n", "list.csv: is empty"),
    ],
)
def test_a_list_is_named_with_its_line(site: Site, tmp_path: Path, table: str, words: str) -> None:
    (tmp_path / "list.csv").write_text(table)
    with pytest.raises(InputError) as told:
        frame(site, tmp_path / "draw", listed=tmp_path / "list.csv")
    assert words in str(told.value)


def test_a_frame_names_its_options(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"chips.csv: --count and --reserves: 9 and 0 in reserve.*draw fewer"):
        frame(site, tmp_path / "draw", count=9)
    with pytest.raises(InputError, match=r"commits first.*weighbridge inspect commit"):
        frame(site, tmp_path / "draw", source="commit-reveal")
    assert not (tmp_path / "draw").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--require", "xray"), "xray: --require: is nothing that can be required; each once: serial, challenge"),
        (("--require", "serial", "--require", "serial"), "serial: --require: is named twice"),
        (("--visit-number", 3), "--territory: a challenge inspection has both"),
        (("--territory", "Ruritania"), "--visit-number: a challenge inspection has both"),
        (("--territory", "Ruritania", "--visit-number", 21), "--visit-number: would be visit 21 this year"),
    ],
)
def test_a_plan_names_its_options(site: Site, options: tuple[object, ...], words: str) -> None:
    by = ("--key", site.key("ines"), "--roots", site.path("roots"))
    plan = ("--draw", site.path("draw"), "--site", "x", "--notified", "2026-11-20T08:00Z")
    with pytest.raises(InputError) as told:
        run("plan", site.path("second"), *plan, *options, *by)
    assert words in str(told.value) and not site.path("second").exists()


@pytest.mark.parametrize(
    ("what", "options", "words"),
    [
        ("serial", ("--set", "phisical=x"), "phisical: --set: is no --set of serial; it takes --set physical=…"),
        ("serial", ("--file", "digital=x"), "digital: --file: is no --file of serial"),
        ("serial", (), "--item: a serial is about an item; name it with --item ID"),
        ("access", ("--set", "by=x"), "by: --set: is no --set of access; it takes none"),
        ("readout", (), "a readout lacks digest, records; give --file chip=DIRECTORY"),
        ("challenge", (), "a challenge lacks answer; give --file answer=RECORD"),
        ("seal", ("--set", "seal=A"), "a seal lacks intact; give --set intact=yes|no"),
        (
            "camera",
            ("--set", "camera=x", "--set", "from=5", "--set", "to=9"),
            "a camera lacks footage; give --file footage=CSV of from, to, file",
        ),
        ("camera", ("--set", "from=noon"), "noon: --set from: is no time"),
        ("acknowledgement", ("--set", "about=4"), "--set about: record 4 is no dispute or refusal"),
        ("correction", ("--set", "about=4", "--set", "text=x"), "--set about: record 4 is none of challenge, readout"),
    ],
)
def test_a_record_names_what_was_typed(site: Site, what: str, options: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError) as told:
        site.record(what, None, *options)
    assert words in str(told.value)
    assert not list(site.path("visit/records").iterdir())


def test_a_spoilt_statement_is_named_by_its_file(site: Site, tmp_path: Path) -> None:
    copy = site.copy(tmp_path / "site")
    path = next(copy.path("draw").glob("draw-frame-*.cose"))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(EvidenceError) as told:
        run("check-draw", copy.path("draw"), "--roots", copy.path("roots"))
    assert str(path) in str(told.value) and "1 bytes follow" in str(told.value)
    (copy.path("visit") / "opening.cose").write_bytes(b"x")
    with pytest.raises(EvidenceError, match=r"visit/opening.cose: "):
        copy.check()
