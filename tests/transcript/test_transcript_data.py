"""Data of several arrays: as files that are handed over, and as arrays that the program's own code makes again."""

from pathlib import Path

import numpy as np
import pytest

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.replay_plan import Leg

from .judging import initial, replayed
from .world import Ended, World

ALL = [Leg(0, 6)]


def trained(world: World, kind: str) -> Ended:
    project = world.project(programs=("labelled.py",))
    random = np.random.default_rng(3)
    rows, labels = project.folder / "rows.npy", project.folder / "labels.npy"
    np.save(rows, random.standard_normal((50, 6)).astype(np.float32))
    np.save(labels, random.integers(0, 3, 50))
    files = (str(rows), str(labels)) if kind in ("files", "read") else ()
    ended = project.train("labelled.py", kind, *files)
    assert ended.status == 0, ended.errors
    return ended


@pytest.fixture(scope="module")
def files(world: World) -> Ended:
    return trained(world, "files")


def test_a_run_on_several_files_replays_from_them(files: Ended) -> None:
    assert initial(files).outcome is Outcome.PASS
    assert replayed(files, ALL).outcome is Outcome.PASS


def test_it_replays_from_a_folder_handed_over(files: Ended, tmp_path: Path) -> None:
    for name in ("rows", "labels"):
        (tmp_path / f"{name}.npy").write_bytes((files.project.folder / f"{name}.npy").read_bytes())
    assert replayed(files, ALL, data=tmp_path).outcome is Outcome.PASS
    labels = np.load(tmp_path / "labels.npy")
    labels[0] = (labels[0] + 1) % 3
    np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(EvidenceError, match="not the committed"):
        replayed(files, ALL, data=tmp_path)


def test_what_is_handed_over_must_be_all_of_it(files: Ended, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"name a folder with labels\.npy, rows\.npy"):
        replayed(files, ALL, data=files.project.folder / "rows.npy")
    with pytest.raises(InputError, match=r"labels\.npy"):
        replayed(files, ALL, data=tmp_path)
    with pytest.raises(InputError, match="is not there"):
        replayed(files, ALL, data=tmp_path / "absent")


def test_data_that_the_code_makes_is_made_again(world: World) -> None:
    made = trained(world, "made")
    assert "arrays in memory" in made.errors
    assert initial(made).outcome is Outcome.PASS
    assert replayed(made, ALL).outcome is Outcome.PASS


def test_data_that_comes_out_otherwise_is_refused(world: World) -> None:
    with pytest.raises(EvidenceError, match="not the committed data when the program makes it again"):
        replayed(trained(world, "unseeded"), ALL)


@pytest.mark.real
def test_data_read_from_files_into_memory_cannot_be_shown_and_says_how_to_mend_it(world: World) -> None:
    from weighbridge.mechanisms.transcript.verify import check_initial_state

    finding = check_initial_state(trained(world, "read").open())
    assert finding.outcome is Outcome.INCONCLUSIVE  # it cannot be run here, which says nothing of its training
    assert "give the paths of its arrays to start as data" in finding.reason


def test_files_and_arrays_do_not_mix(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InputError, match="mixes files and arrays"):
        Dataset.of({"a": tmp_path / "a.npy", "b": np.zeros(3)})
    for name in ("../a", "", ".a", "a/b", "a" * 101):
        with pytest.raises(InputError, match="plain word"):
            Dataset.of({name: tmp_path / "a.npy"})


def test_the_root_does_not_depend_on_where_the_arrays_lie(tmp_path: Path) -> None:
    arrays = {"a": np.arange(12.0).reshape(3, 4), "b": np.arange(3)}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    paths = {name: tmp_path / f"{name}.npy" for name in arrays}
    assert Dataset.of(paths).root == Dataset.of(arrays).root
    assert Dataset.handed_over(tmp_path, Dataset.of(arrays).describe()).root == Dataset.of(arrays).root
    swapped = {"a": arrays["a"], "b": arrays["b"][::-1].copy()}
    assert Dataset.of(swapped).root != Dataset.of(arrays).root
