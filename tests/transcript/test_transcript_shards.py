"""Pieces of tensors on one rank: read where they lie, placed in the whole, and refused where they have no place."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard

from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.group_notes import state_note
from weighbridge.mechanisms.transcript.ranks import Group, wrapped_as
from weighbridge.mechanisms.transcript.restoring import restore
from weighbridge.mechanisms.transcript.shards import local_of, pieces_of
from weighbridge.mechanisms.transcript.state import Subjects, TrainingState, capture

GROUP = Group(secret="ab" * 32, rank=0, world=1)


@pytest.fixture(scope="module")
def alone() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    yield
    dist.destroy_process_group()


@pytest.fixture
def model(alone: None) -> nn.Module:
    torch.manual_seed(1)
    found = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 1))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    for part in (found[0], found):
        fully_shard(part, mesh=init_device_mesh("cpu", (1,)), mp_policy=policy)
    return found


def state_of(model: nn.Module) -> TrainingState:
    return capture(Subjects({"model": model}, {}), step=0, gradients={})


def test_gathered_weights_are_never_taken_for_the_weights(model: nn.Module) -> None:
    """After a forward pass without a backward, FSDP2's outermost module holds weights gathered in bfloat16."""
    before = state_of(model)
    with torch.no_grad():
        model(torch.ones(2, 4))
    held = dict(model.named_parameters())
    assert held["1.weight"].dtype == torch.bfloat16 and not isinstance(held["1.weight"], DTensor)
    after = state_of(model)
    assert after.digest(bytes(32)) == before.digest(bytes(32))
    assert {tensor.dtype for name, tensor in after.tensors.items() if name.startswith("model/")} == {torch.float32}
    assert wrapped_as({"model": model}) == "fsdp2"


def test_a_state_holds_pieces_and_their_places_and_is_not_restored_alone(model: nn.Module) -> None:
    state = state_of(model)
    assert not any(isinstance(tensor, DTensor) for tensor in state.tensors.values())
    assert state.plain["pieces"]["model/parameter/0.weight"] == [[5, 4], 0, 5, 0, 1, 0, ""]
    with pytest.raises(InputError, match="in pieces"):
        restore(Subjects({"model": model}, {}), state)


def test_pieces_and_a_whole_copy_have_one_logical_digest(model: nn.Module) -> None:
    torch.manual_seed(1)
    whole = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 1))
    pieces = state_note(GROUP, state_of(model), wrapped="fsdp2")
    copy = state_note(GROUP, state_of(whole), wrapped="none")
    from weighbridge.mechanisms.transcript.logical_digest import LogicalSum

    assert LogicalSum.parse(pieces["sums"]["weights"]["sum"]).digest == copy["sums"]["weights"]["whole"]


@pytest.mark.parametrize(
    ("placements", "fault"),
    [((Shard(1), Replicate()), "is cut as"), ((Shard(0), Shard(1)), "is cut as"), ((Shard(0), Shard(0)), "is cut as")],
)
def test_other_cuts_have_no_logical_digest(alone: None, placements: Any, fault: str) -> None:
    mesh = DeviceMesh("cpu", torch.tensor([[0]]))
    tensor = DTensor.from_local(torch.randn(3, 2), mesh, placements)
    name = "model/parameter/w"
    (piece,) = pieces_of({name: tensor}).values()
    assert piece.fault.startswith(fault)
    state = TrainingState({name: local_of(tensor)}, {"step": 0, "pieces": {name: piece.as_list()}})
    assert fault in state_note(GROUP, state, wrapped="fsdp2")["fault"]


def test_what_is_whole_on_every_rank_is_no_piece(alone: None) -> None:
    mesh = DeviceMesh("cpu", torch.tensor([[0]]))
    whole = DTensor.from_local(torch.randn(3, 2), mesh, (Replicate(), Replicate()))
    assert pieces_of({"a": whole, "b": torch.randn(2)}) == {}
    both = DTensor.from_local(torch.randn(3, 2), mesh, (Replicate(), Shard(0)))
    assert pieces_of({"a": both})["a"].as_list() == [[3, 2], 0, 3, 0, 1, 0, ""]
