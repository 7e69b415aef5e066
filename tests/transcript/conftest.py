"""One world and one zygote for all the transcript's tests; recorded runs that several tests read."""

from collections.abc import Iterator

import pytest
import torch

from weighbridge.attacks.zygote import Zygote

from .world import FREEZES, HERE, RICH, Ended, World, copied


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("transcripts")
    folder.chmod(0o755)
    with Zygote(path=[HERE.parent]) as zygote:
        world = World(folder, zygote)
        yield world
        world.close()


@pytest.fixture(scope="session")
def rich(world: World) -> Ended:
    """A finished run, bound to the log: two optimizers, dropout, batch norm, schedule, evaluation, four freezes."""
    ended = world.project(**RICH).train(spool=True, faults={"freezes": FREEZES})
    assert ended.status == 0, ended.errors
    return ended


@pytest.fixture(scope="session")
def plain(world: World) -> Ended:
    """A finished run of 12 steps, bound to the log, with an anchor in its middle. Read it, never edit it."""
    ended = world.project(schedule="lambda").train(spool=True, faults={"freezes": [[6, "fetching"]]})
    assert ended.status == 0, ended.errors
    return ended


@pytest.fixture
def copy(plain: Ended) -> Iterator[Ended]:
    """A copy of that run, to be edited."""
    with copied(plain.run) as folder:
        yield Ended(0, plain.output, "", plain.project, folder)
