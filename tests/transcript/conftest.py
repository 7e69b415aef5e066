"""One world and one zygote for all the transcript's tests; recorded runs that several tests read."""

from collections.abc import Iterator

import pytest
import torch

from .world import FREEZES, RICH, Ended, World, Zygote


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
    zygote = Zygote()
    world = World(folder, zygote)
    yield world
    world.close()
    zygote.close()


@pytest.fixture(scope="session")
def rich(world: World) -> Ended:
    """A finished run, bound to the log: two optimizers, dropout, batch norm, schedule, evaluation, four freezes."""
    ended = world.project(**RICH).train(spool=True, faults={"freezes": FREEZES})
    assert ended.status == 0, ended.errors
    return ended
