"""A freeze inside an update: what the weights are between decay and step, for real optimizers stopped there."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ledger.test_match import Memory
from weighbridge.ledger.match import MATCHED_SHARE, PlacedBytes, explain
from weighbridge.ledger.replayed import decayed
from weighbridge.mechanisms.transcript.state import TrainingState, tensor_bytes

PLACES = {"model/parameter/a": 1 << 20, "model/parameter/b": 1 << 21}


class Midway(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Copies the weights after every operation of an update: what stops at all its places would find."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = weights
        self.seen: list[list[Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        with torch.utils._python_dispatch._disable_current_modes():
            self.seen.append([weight.detach().clone() for weight in self._weights])
        return result


def stopped(optimizer: Any, **options: Any) -> tuple[TrainingState, TrainingState, list[TrainingState], Any]:
    torch.manual_seed(3)
    weights = [nn.Parameter(torch.randn(64, 64)), nn.Parameter(torch.randn(128, 64))]
    stepper = optimizer(weights, **options)
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    stepper.step()

    def state(values: list[Tensor]) -> TrainingState:
        copies = (value.detach().clone() for value in values)
        return TrainingState(dict(zip(PLACES, copies, strict=True)), {"step": 1})

    before = state(list(weights))
    hyperparameters = {"optimizer": [{k: v for k, v in g.items() if k != "params"} for g in stepper.param_groups]}
    with Midway(list(weights)) as midway:
        stepper.step()
    return before, state(list(weights)), [state(found) for found in midway.seen], hyperparameters


def share(found: TrainingState, candidates: list[TrainingState]) -> float:
    """The share of the weights' leaves that a record of ``found`` shows."""
    memory = Memory()
    for name, address in PLACES.items():
        memory.put(address, bytes(tensor_bytes(found.tensors[name])))
    placed = [
        [PlacedBytes("weights", address, tensor_bytes(state.tensors[name]), name) for name, address in PLACES.items()]
        for state in candidates
    ]
    return explain(memory.table(), placed).share


@pytest.mark.parametrize("foreach", [False, True], ids=["tensor by tensor", "all at once"])
@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_wherever_an_update_is_stopped_its_weights_are_known(optimizer: Any, foreach: bool) -> None:
    before, after, midway, hyperparameters = stopped(optimizer, lr=3e-2, weight_decay=0.1, foreach=foreach)
    assert any(share(found, [before]) < 1 for found in midway)
    candidates = [before, after, *decayed(before, hyperparameters)]
    assert {share(found, candidates) for found in midway} == {1.0}


def test_without_the_decayed_weights_a_batched_update_could_not_be_told_from_another_model() -> None:
    before, after, midway, _ = stopped(torch.optim.AdamW, lr=3e-2, weight_decay=0.1, foreach=True)
    assert min(share(found, [before, after]) for found in midway) < MATCHED_SHARE


def test_an_optimizer_that_writes_its_weights_in_parts_is_not_covered() -> None:
    """As docs/attacks.md says: NAdam adds two terms one after the other, and what lies between is no known state."""
    before, after, midway, hyperparameters = stopped(torch.optim.NAdam, lr=3e-2, weight_decay=0.1)
    candidates = [before, after, *decayed(before, hyperparameters)]
    assert min(share(found, candidates) for found in midway) < 1.0


def test_a_decay_explains_no_other_weights() -> None:
    before, _, _, hyperparameters = stopped(torch.optim.AdamW, lr=3e-2, weight_decay=0.1)
    other = TrainingState({name: tensor + 1e-3 for name, tensor in before.tensors.items()}, {"step": 1})
    assert share(other, [before, *decayed(before, hyperparameters)]) == 0.0


def test_hyperparameters_that_are_none_give_no_candidates() -> None:
    before, *_ = stopped(torch.optim.SGD, lr=0.1)
    groups: list[Any] = [[], [{}], [{"lr": "x", "weight_decay": 1}], [{"lr": 0.1}], [{"lr": 0.1, "weight_decay": 0}]]
    for nonsense in [None, {}, *({"o": each} for each in groups)]:
        assert decayed(before, nonsense) == []
    many = {"o": [{"lr": 0.1, "weight_decay": n / 100} for n in range(1, 100)]}
    assert len(decayed(before, many)) == 8
