"""The committed table: its page is what the program writes, and a row drawn by the date comes out the same again."""

import datetime
from pathlib import Path

import pytest

from weighbridge.attacks.page import page_text
from weighbridge.attacks.registry import every_attack, every_control
from weighbridge.attacks.running import run_trial
from weighbridge.attacks.summary import summarise
from weighbridge.attacks.table import Line, newest, read_lines

DOCS = Path(__file__).parent.parent.parent / "docs"
TABLE = DOCS / "redteam.jsonl"


def rows_to_draw() -> list[Line]:
    """Returns trials that must come out the same: all but those of which the verifier replays a drawn part."""
    known = {("attack", name) for name in every_attack()} | {("control", name) for name in every_control()}
    kept = [line for line in newest(read_lines(TABLE)).values() if line.trial is not None]
    return [line for line in kept if (line.kind, line.name) in known and "drawn" not in line.name]


def test_the_page_is_what_the_program_writes() -> None:
    lines = read_lines(TABLE)
    attacks = summarise(every_attack().values(), lines, code="")
    controls = summarise(every_control().values(), lines, code="")
    assert (DOCS / "attack-table.md").read_text() == page_text(attacks, controls)


def test_no_trial_is_of_something_unknown() -> None:
    known = {("attack", name) for name in every_attack()} | {("control", name) for name in every_control()}
    assert {(line.kind, line.name) for line in read_lines(TABLE)} <= known


@pytest.mark.real
def test_a_row_drawn_by_the_date_comes_out_the_same() -> None:
    lines = rows_to_draw()
    assert lines, "the committed table is empty"
    line = lines[datetime.datetime.now(datetime.UTC).date().toordinal() % len(lines)]
    entry = (every_attack() if line.kind == "attack" else every_control())[line.name]
    again = run_trial(entry, line.seed)
    assert again.trial is not None, again.error
    assert line.trial is not None
    for name in ("detected", "caught_by", "reproduced"):
        assert getattr(again.trial, name) == getattr(line.trial, name), (line.name, line.seed, name, again.trial)
