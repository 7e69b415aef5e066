"""How each policy counts operations: the same work can be below one rule's threshold and above another's.

Four policies count training: the EU guidelines C(2025) 5045 Annex A, the US texts (EO 14110 section 4.2(b),
proposed 15 CFR 702.7), California SB 53 (B&P 22757.11(i)), the draft agreement arXiv 2511.10783 Art. II(4).
Where a text is silent, the reading taken here is marked ``stated=False`` in the account and said in words.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from weighbridge.errors import InputError
from weighbridge.rules.work import POST_TRAINING, WorkItem, bits_of
from weighbridge.units import Flop, check_quantity

__all__ = ["TRAINING_POLICIES", "Count", "CountedItem", "count", "count_in_full", "policy_applies_to_hidden"]


@dataclass(frozen=True, kw_only=True)
class CountedItem:
    """One work item and what a policy made of it.

    Attributes:
        item: the work.
        counted: FLOP that enter the total under the policy; 0 if excluded.
        run: the training run to which the policy assigns it, where a policy looks at runs singly.
        reason: why, in words.
        stated: the policy's text says so; false where it is silent and this is our reading.
    """

    item: WorkItem
    counted: Flop
    run: str
    reason: str
    stated: bool


@dataclass(frozen=True, kw_only=True)
class Count:
    """A policy's total with its whole account.

    Attributes:
        policy: id of the counting policy.
        flop: the total that a threshold is compared with.
        items: every work item, counted or not, with the reason.
        warnings: what the policy's text leaves undefined for these items.
    """

    policy: str
    flop: Flop
    items: tuple[CountedItem, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Verdict:
    included: bool
    reason: str
    stated: bool = True
    run: str = "run"


_OUT: Final = {
    "evaluation": "evaluation is no training",
    "red-teaming": "red-teaming is no training",
    "service": "inference for users is no training",
    "teacher": "the parent of a distillation is a lineage of its own",
}


def _eu(item: WorkItem) -> _Verdict:
    if item.kind == "recompute":
        return _Verdict(False, "activation recomputation is excluded")
    if item.purpose in _OUT:
        return _Verdict(False, _OUT[item.purpose])
    if item.purpose == "synthetic-data":
        if item.public:
            return _Verdict(False, "publicly accessible synthetic data is excluded")
        return _Verdict(True, "non-public synthetic data counts, discarded samples included")
    if item.purpose == "auxiliary":
        return _Verdict(False, "reward and value models are excluded")
    if item.purpose in ("experiment", "search") or item.discarded:
        return _Verdict(False, "exploratory, failed or discarded experiments are excluded")
    if not item.by_developer:
        return _Verdict(False, "another actor's modification is judged by the one-third rule")
    if item.purpose in ("initial-parent", "merged-parent"):
        return _Verdict(True, "compute of models merged, averaged or used for initialisation counts")
    return _Verdict(True, "contributes to parameter updates")


def _us(item: WorkItem) -> _Verdict:
    if item.purpose in _OUT or item.purpose == "synthetic-data":
        return _Verdict(False, _OUT.get(item.purpose, "generating data is not the training run"), stated=False)
    if item.purpose == "merged-parent":
        return _Verdict(False, "merging is not training; each model is a run of its own", stated=False)
    if item.purpose in POST_TRAINING or not item.by_developer:
        return _Verdict(True, "a run of its own; the largest run counts", stated=False, run="post-training")
    if item.purpose in ("experiment", "search", "auxiliary") or item.discarded:
        return _Verdict(True, "a run of its own; the largest run counts", stated=False, run=item.purpose)
    if item.purpose == "initial-parent":
        return _Verdict(True, "the same lineage: a run split in two is one run", stated=False)
    if item.kind == "recompute":
        return _Verdict(True, "executed operations; the text does not exclude recomputation", stated=False)
    return _Verdict(True, "operations of the training run")


def _sb53(item: WorkItem) -> _Verdict:
    if item.purpose in _OUT or item.purpose in ("synthetic-data", "auxiliary", "experiment", "search"):
        return _Verdict(False, _OUT.get(item.purpose, "not training of this model"), stated=False)
    if item.discarded:
        return _Verdict(False, "weights thrown away are not this model's", stated=False)
    if not item.by_developer:
        return _Verdict(False, "only the developer's own modifications are added")
    if item.purpose in ("initial-parent", "merged-parent"):
        return _Verdict(True, "a preceding foundation model of the developer")
    if item.kind == "recompute":
        return _Verdict(True, "executed operations; the text does not exclude recomputation", stated=False)
    return _Verdict(True, "original run, fine-tuning, reinforcement and material modifications")


def _miri(item: WorkItem) -> _Verdict:
    if item.purpose in _OUT or item.purpose == "synthetic-data":
        return _Verdict(False, _OUT.get(item.purpose, "generating data optimises no parameters"))
    if item.purpose == "merged-parent":
        return _Verdict(False, "merging optimises no parameters; each model is a run of its own", stated=False)
    if item.purpose == "initial-parent":
        return _Verdict(True, "the same lineage: a run split in two is one run", stated=False)
    if item.kind == "recompute":
        return _Verdict(True, "executed operations; the text does not exclude recomputation", stated=False)
    return _Verdict(True, "part of a process that optimises parameters")


def _flat(operations: float, number_format: str) -> float:
    bits_of(number_format)
    return operations


def _fp16_equivalent_or_raw(operations: float, number_format: str) -> float:
    """The higher of operations times bits / 16 and operations as they are (arXiv 2511.10783 Art. II(4))."""
    return operations * max(1.0, bits_of(number_format) / 16)


@dataclass(frozen=True)
class _Policy:
    judge: Callable[[WorkItem], _Verdict]
    weigh: Callable[[float, str], float]


_POLICIES: Final[Mapping[str, _Policy]] = MappingProxyType(
    {
        "eu_guidelines_2025": _Policy(_eu, _flat),
        "us_ops_dense": _Policy(_us, _flat),
        "ca_sb53": _Policy(_sb53, _flat),
        "miri_2025": _Policy(_miri, _fp16_equivalent_or_raw),
    }
)
TRAINING_POLICIES: Final = tuple(_POLICIES)
"""Ids of the policies that count training; ``bis_tpp`` and ``h100e`` count chips."""


def _policy(policy: str) -> _Policy:
    if policy not in _POLICIES:
        raise InputError(
            f"counting policy {policy!r} does not count training", mend=f"use one of {', '.join(_POLICIES)}"
        )
    return _POLICIES[policy]


def count_in_full(policy: str, items: Iterable[WorkItem]) -> Count:
    """Counts the work of one model lineage under a policy, with the reason for every item.

    Args:
        policy: id of a policy of :data:`TRAINING_POLICIES`.
        items: all work of the lineage, over all jobs, owners and sites.

    Returns:
        The total and its account. Under ``us_ops_dense`` the total is the largest single run.

    Raises:
        InputError: if the policy does not count training.
    """
    chosen = _policy(policy)
    counted: list[CountedItem] = []
    runs: dict[str, list[float]] = {}
    warnings: dict[str, None] = {}
    for item in items:
        verdict = chosen.judge(item)
        flop = chosen.weigh(item.operations, item.format) if verdict.included else 0.0
        if verdict.included:
            runs.setdefault(verdict.run, []).append(flop)
        if item.format == "tf32" and policy == "miri_2025":
            warnings["TF32 has no defined FP16 equivalent: counted by its 32 stored bits"] = None
        counted.append(
            CountedItem(item=item, counted=Flop(flop), run=verdict.run, reason=verdict.reason, stated=verdict.stated)
        )
    if len(runs) > 1:
        together = math.fsum(flop for run in runs.values() for flop in run)
        warnings[f"the largest of {len(runs)} runs counts; all together are {together:.3g} FLOP"] = None
    return Count(
        policy=policy,
        flop=Flop(max(map(math.fsum, runs.values()), default=0.0)),
        items=tuple(counted),
        warnings=tuple(warnings),
    )


def count(policy: str, items: Iterable[WorkItem]) -> Flop:
    """Counts the work of one model lineage under a policy; :func:`count_in_full` also says why.

    Raises:
        InputError: if the policy does not count training.
    """
    return count_in_full(policy, items).flop


def policy_applies_to_hidden(policy: str, flop: float, format: str) -> Flop:
    """Counts operations that could have been hidden, as the policy would count a training run made of them.

    Hidden work is taken at its worst: all of it training, in the given format.

    Args:
        policy: id of a policy of :data:`TRAINING_POLICIES`.
        flop: raw operations that evidence leaves possible; may be infinite (unbounded).
        format: number format in which the chips' capacity was measured: the one that counts most.

    Returns:
        FLOP under the policy.

    Raises:
        InputError: if the policy does not count training, or the format is unknown.
    """
    weigh = _policy(policy).weigh
    if flop != math.inf:
        check_quantity(flop, name="flop", positive=False)
    return Flop(weigh(flop, format))
