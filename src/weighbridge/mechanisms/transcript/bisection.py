"""Where a replay leaves a run: from two committed digests to one step, from one step to one tensor and element.

The verifier's replay and the run agree on the state at one committed digest and not at the next. In between only the
operator knows what his run passed through; he is asked for digests, half the way each time, so ⌈log₂ n⌉ answers find
the step of n (Srivastava, Arora and Boneh 2024; Verde, arXiv 2502.19405). His two ends are what he committed to, so he
cannot deny both; whatever he answers, some one step begins in a state that both have and ends in two, and the verifier
has replayed that step himself. Then the operator shows his state after it, which must have the digest that he gave.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import torch

from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.state import TrainingState

__all__ = ["Answers", "Parting", "bisect", "first_leaf", "first_parting", "is_the_state"]


class Answers(Protocol):
    """An operator who answers for his run."""

    def digest(self, step: int) -> str:
        """Returns the salted digest, hex, of his state at a step."""

    def state(self, step: int) -> TrainingState:
        """Returns his state at a step."""


@dataclass(frozen=True, kw_only=True)
class Parting:
    """Where two states part.

    Attributes:
        name: first tensor in order of names that differs, generators last; or a plain value.
        element: number of its first element that differs, in C order; None for plain values and other shapes.
        differing: how many of its elements differ.
        ours, theirs: the values there, in words.
        others: how many more tensors and values differ.
    """

    name: str
    element: int | None
    differing: int | None
    ours: str
    theirs: str
    others: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return asdict(self)


def bisect(
    ours: Mapping[int, str], *, agreed: int, parted: int, ask: Callable[[int], str], told: Callable[[int, bool], None]
) -> int:
    """Returns the step that begins in a state which both sides have, and ends in two.

    Args:
        ours: the verifier's digests of every state from ``agreed`` to ``parted``.
        agreed: a state at which both have the same digest.
        parted: a later one at which they have not.
        ask: the operator's digest at a step.
        told: told of each answer, and whether it was the same.
    """
    while parted - agreed > 1:
        middle = (agreed + parted) // 2
        same = ask(middle) == ours[middle]
        told(middle, same)
        agreed, parted = (middle, parted) if same else (agreed, middle)
    return agreed


def first_parting(ours: TrainingState, theirs: TrainingState) -> Parting | None:
    """Returns the first tensor and element at which two states differ, bit for bit; None if they are the same."""
    found: list[Parting] = []
    for name in sorted({*ours.tensors, *theirs.tensors}, key=lambda name: (name.startswith("generator/"), name)):
        left, right = ours.tensors.get(name), theirs.tensors.get(name)
        if left is None or right is None:
            found.append(_unlike(name, "no such tensor" if left is None else "a tensor", left is None))
        elif (left.dtype, left.shape) != (right.dtype, right.shape):
            words = (f"{t.dtype} {list(t.shape)}" for t in (left, right))
            found.append(Parting(name=name, element=None, differing=None, ours=next(words), theirs=next(words)))
        elif (parting := _elements(name, left, right)) is not None:
            found.append(parting)
    for name in sorted({*ours.plain, *theirs.plain}):
        values = [canonical(state.plain[name]) if name in state.plain else b"none" for state in (ours, theirs)]
        if values[0] != values[1]:
            words = (value.decode(errors="replace")[:80] for value in values)
            found.append(Parting(name=name, element=None, differing=None, ours=next(words), theirs=next(words)))
    return replace(found[0], others=len(found) - 1) if found else None


def _unlike(name: str, word: str, missing_here: bool) -> Parting:
    other = "a tensor" if missing_here else "no such tensor"
    return Parting(name=name, element=None, differing=None, ours=word, theirs=other)


def _elements(name: str, left: torch.Tensor, right: torch.Tensor) -> Parting | None:
    if not left.numel():
        return None
    flat = [t.detach().cpu().contiguous().reshape(-1) for t in (left, right)]
    width = left.element_size()
    raw = [t.view(torch.uint8).reshape(-1, width) for t in flat]  # bits: NaN equals itself, −0 is not 0
    unlike = (raw[0] != raw[1]).any(dim=1)
    differing = int(unlike.sum())
    if not differing:
        return None
    element = int(unlike.nonzero()[0])
    ours, theirs = (str(t[element].item()) for t in flat)
    if ours == theirs:  # the same in print: show the bits
        ours, theirs = (bytes(r[element].tolist()).hex() for r in raw)
    return Parting(name=name, element=element, differing=differing, ours=ours, theirs=theirs)


def first_leaf(ours: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> Parting | None:
    """Returns the first tensor or value whose digest differs, generators last; None if all are the same."""
    unlike = sorted(
        (name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)),
        key=lambda name: (name.startswith("generator/"), name),
    )
    if not unlike:
        return None
    words = [f"digest {side[unlike[0]].hex()[:16]}…" if unlike[0] in side else "none" for side in (ours, theirs)]
    return Parting(name=unlike[0], element=None, differing=None, ours=words[0], theirs=words[1], others=len(unlike) - 1)


def is_the_state(state: TrainingState, *, digest: str, salt: bytes, step: int) -> bool:
    """Returns whether a state that the operator shows is the one whose digest he gave."""
    return state.plain.get("step") == step and state.digest(salt).hex() == digest
