"""Cameras on site: footage lies elsewhere, its digests and times are on record, and gaps in it cannot be told away."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inspection.world import Site, outcomes
from weighbridge.errors import InputError

Tell = Callable[..., object]


@pytest.fixture
def start() -> int:
    return int(time.time()) - 2000


@pytest.fixture
def tell(site: Site, start: int) -> Tell:
    """Puts footage on record: pieces as (from, to, file), seconds after the start."""
    folder = site.path("footage")
    folder.mkdir()

    def put(*pieces: tuple[int, int, str], camera: str = "hall", span: tuple[int, int] = (0, 900)) -> object:
        lines = ["from,to,file"]
        for a, b, name in pieces:
            (folder / name).write_bytes(name.encode())
            lines.append(f"{start + a},{start + b},{name}")
        (folder / "footage.csv").write_text("\n".join(lines) + "\n")
        options = [f"camera={camera}", f"from={start + span[0]}", f"to={start + span[1]}"]
        given = [part for option in options for part in ("--set", option)]
        return site.record("camera", None, *given, "--file", f"footage={folder / 'footage.csv'}")

    return put


def test_footage_without_a_gap_passes(site: Site, tell: Tell) -> None:
    tell((0, 400, "a.mp4"), (430, 900, "b.mp4"))
    assert outcomes(site.check(), "visit.camera") == [("pass", "2 pieces cover the 900 s that were asked for")]


def test_a_gap_above_the_plans_limit_is_found(site: Site, tell: Tell) -> None:
    tell((0, 400, "a.mp4"), (500, 900, "b.mp4"))
    assert outcomes(site.check(), "visit.camera") == [("fail", "100 s are missing, 100 s at once")]


def test_a_gap_is_not_hidden_by_telling_the_footage_in_two_records(site: Site, tell: Tell) -> None:
    tell((0, 400, "a.mp4"), span=(0, 400))
    assert outcomes(site.check(), "visit.camera")[0][0] == "pass"
    tell((700, 900, "b.mp4"), span=(700, 900))
    assert outcomes(site.check(), "visit.camera") == [("fail", "300 s are missing, 300 s at once")]


def test_a_gap_is_filled_by_what_comes_later(site: Site, tell: Tell) -> None:
    tell((0, 400, "a.mp4"), (500, 900, "b.mp4"))
    tell((400, 500, "c.mp4"), span=(400, 500))
    assert outcomes(site.check(), "visit.camera")[0][0] == "pass"


def test_footage_that_overlaps_itself_is_found(site: Site, tell: Tell) -> None:
    tell((0, 400, "a.mp4"), (300, 900, "b.mp4"))
    assert outcomes(site.check(), "visit.camera") == [("fail", "1 spans of its footage overlap")]


@pytest.mark.parametrize("camera", ["hall", "yard"])
def test_one_file_for_two_times_or_cameras_is_found(site: Site, tell: Tell, camera: str) -> None:
    """A loop: a quiet minute is shown again where something else was to be seen."""
    tell((0, 400, "a.mp4"), span=(0, 400))
    tell((400, 900, "a.mp4"), camera=camera, span=(400, 900))
    found = outcomes(site.check(), "visit.camera")
    assert {outcome for outcome, _ in found} == {"fail"}
    assert all("shown for two times or places" in reason for _, reason in found)


def test_the_same_piece_told_twice_is_one_piece(site: Site, tell: Tell) -> None:
    tell((0, 900, "a.mp4"))
    tell((0, 900, "a.mp4"))
    assert outcomes(site.check(), "visit.camera")[0][0] == "pass"


def test_footage_of_the_future_is_found(site: Site, tell: Tell) -> None:
    tell((0, 9000, "a.mp4"), span=(0, 9000))
    assert outcomes(site.check(), "visit.camera") == [("fail", "its footage ends after it was put on record")]


def test_footage_lies_beside_its_table(site: Site, tell: Tell, tmp_path: Path) -> None:
    tell((0, 900, "a.mp4"))
    table = tmp_path / "footage.csv"
    (tmp_path / "link.mp4").symlink_to("/etc/hostname")
    for name, words in (("../a.mp4", "outside"), ("/etc/hostname", "outside"), ("link.mp4", "symbolic link")):
        table.write_text(f"from,to,file\n1,2,{name}\n")
        with pytest.raises(InputError, match=words):
            site.record(
                "camera", None, "--set", "camera=x", "--set", "from=1", "--set", "to=2", "--file", f"footage={table}"
            )
