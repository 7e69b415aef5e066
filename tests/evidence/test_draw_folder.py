"""A draw's folder: read strictly, copied without what does not belong there."""

import os
from pathlib import Path

import pytest

from evidence.draw_world import People, World, by_reveal, population
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.draw_folder import copy_draw, load_draw, save_statement
from weighbridge.evidence.draw_form import DRAW, FRAME
from weighbridge.evidence.jsontext import dump_json


def test_folders_of_draws_take_only_what_belongs_there(people: People, tmp_path: Path) -> None:
    world = by_reveal(people)
    assert world.frame is not None
    for statement in (*world.commitments, world.frame, *world.shares, *world.draws):
        save_statement(tmp_path / "draw", statement.raw, kind=statement.kind)
    (tmp_path / "draw" / "population.json").write_bytes(world.items.as_json())
    loaded = load_draw(tmp_path / "draw", people.roots)
    assert loaded.population == world.items
    assert loaded.draws[0].id == world.draws[0].id
    by_operator = people.say("alder", DRAW, world.draws[0].payload)
    path = save_statement(tmp_path / "draw", by_operator.raw, kind=DRAW)
    with pytest.raises(EvidenceError, match="is a draw by alder, operator"):
        load_draw(tmp_path / "draw", people.roots)
    path.unlink()
    (tmp_path / "draw" / "population.json").write_bytes(world.items.as_json().replace(b"R0", b"R 0", 1))
    assert load_draw(tmp_path / "draw", people.roots).population != world.items
    turned = {"items": [item.as_dict() for item in reversed(world.items.items)], "salt": world.items.salt.hex()}
    (tmp_path / "draw" / "population.json").write_bytes(dump_json(turned))
    with pytest.raises(EvidenceError, match="one order"):
        load_draw(tmp_path / "draw", people.roots)
    (tmp_path / "draw" / "population.json").write_bytes(b'{"items":[],"salt":""}')
    with pytest.raises(EvidenceError, match="not a population"):
        load_draw(tmp_path / "draw", people.roots)
    with pytest.raises(InputError, match="no such folder"):
        load_draw(tmp_path / "absent", people.roots)


def saved(people: People, folder: Path) -> World:
    world = by_reveal(people)
    assert world.frame is not None
    for statement in (*world.commitments, world.frame, *world.shares, *world.draws):
        save_statement(folder, statement.raw, kind=statement.kind)
    (folder / "population.json").write_bytes(world.items.as_json())
    return world


def test_a_copy_takes_nothing_that_is_no_part_of_the_draw(people: People, tmp_path: Path) -> None:
    """A folder that comes back from the other side may hold links to the inspector's own files."""
    folder, target = tmp_path / "draw", tmp_path / "copy"
    target.mkdir()
    world = saved(people, folder)
    (tmp_path / "key.pem").write_text("secret")
    (folder / "readme").symlink_to(tmp_path / "key.pem")
    (folder / "share.hex").write_text("secret")
    copy_draw(folder, target)
    assert {path.name for path in target.iterdir()} == {
        path.name for path in folder.iterdir() if path.suffix in (".cose", ".json")
    }
    assert load_draw(target, people.roots).population == world.items
    (folder / "draw-share-x.cose").symlink_to(tmp_path / "key.pem")
    with pytest.raises(EvidenceError, match="cannot be read"):
        copy_draw(folder, target)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b'{"items":[{"id":"a"}],"salt":NaN}',
        b'{"items":[{"id":"a"}],"items":[{"id":"b"}],"salt":"' + b"00" * 32 + b'"}',
        b'{"items":[{"id":"a","rack":1e400}],"salt":"' + b"00" * 32 + b'"}',
        b'{"items":[{"id":' + b"9" * 100 + b'}],"salt":"' + b"00" * 32 + b'"}',
        b'{"items":[{"id":"\\ud800"}],"salt":"' + b"00" * 32 + b'"}',
        b'{"items":[{"id":"a\\u0000b"}],"salt":"' + b"00" * 32 + b'"}',
        b'{"items":[{"id":"a"},{"id":"a"}],"salt":"' + b"00" * 32 + b'"}',
        b'{"items":[["id","a"]],"salt":"' + b"00" * 32 + b'"}',
        b'{"items":[{"id":"a"}],"salt":"zz"}',
        b'{"items":[{"id":"a","rack":" R1 "}],"salt":"' + b"00" * 32 + b'"}',
    ],
    ids=["empty", "deep", "NaN", "twice a key", "1e400", "number", "surrogate", "NUL", "twice an id", "list", "salt",
         "spaces"],
)  # fmt: skip
def test_hostile_lists_are_refused_in_words(people: People, tmp_path: Path, content: bytes) -> None:
    saved(people, tmp_path / "draw")
    (tmp_path / "draw" / "population.json").write_bytes(content)
    with pytest.raises(EvidenceError):
        load_draw(tmp_path / "draw", people.roots)


def test_links_pipes_and_giants_are_refused(people: People, tmp_path: Path) -> None:
    folder = tmp_path / "draw"
    saved(people, folder)
    (folder / "huge.cose").write_bytes(b"\0" * ((1 << 20) + 1))
    with pytest.raises(EvidenceError, match="is larger than"):
        load_draw(folder, people.roots)
    (folder / "huge.cose").unlink()
    os.mkfifo(folder / "pipe.cose")
    with pytest.raises(EvidenceError, match="cannot be read"):
        load_draw(folder, people.roots)
    (folder / "pipe.cose").unlink()
    kept = folder / "population.json"
    kept.rename(tmp_path / "elsewhere.json")
    kept.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(EvidenceError, match="cannot be read"):
        load_draw(folder, people.roots)


def test_a_list_is_read_no_further_than_the_frozen_one_reaches(people: People, tmp_path: Path) -> None:
    world = saved(people, tmp_path / "draw")
    with (tmp_path / "draw" / "population.json").open("ab") as file:
        file.truncate((len(world.items.items) + 2) * 4200)
    with pytest.raises(EvidenceError, match="is larger than"):
        load_draw(tmp_path / "draw", people.roots)
    with pytest.raises(InputError, match="more than 4,096 bytes"):
        population([{"id": "a", **{f"fact_{n}": "x" * 256 for n in range(16)}}])


def test_a_folder_holds_one_draw(people: People, tmp_path: Path) -> None:
    world = saved(people, tmp_path / "draw")
    assert world.frame is not None
    second = people.say("ivan", FRAME, {**world.frame.payload, "count": 7})
    save_statement(tmp_path / "draw", second.raw, kind=FRAME)
    with pytest.raises(EvidenceError, match="holds 2 frames"):
        load_draw(tmp_path / "draw", people.roots)
