"""Lineages: whose work adds up to whose, and parents that nobody verified."""

from typing import Any

import pytest

from ledger.paper import audit
from weighbridge.evidence.findings import Outcome
from weighbridge.ledger.lineage import lineages_of, unknown_parents

A, B, C, D = ("aa" * 32, "bb" * 32, "cc" * 32, "dd" * 32)


def runs(audits: list[dict[str, Any]], own: set[str]) -> set[frozenset[str]]:
    return {frozenset(lineage.runs) for lineage in lineages_of(audits, own)}


def run(name: str, **changes: Any) -> dict[str, Any]:
    return audit(name, "c1", **changes)


def test_unrelated_runs_are_lineages_of_their_own() -> None:
    assert runs([run(A), run(B)], {A, B}) == {frozenset({A}), frozenset({B})}


def test_declared_and_found_parents_join_runs_in_any_order() -> None:
    chain = [run(C, begins_as=[B]), run(A), run(B, parent=A)]
    for order in (chain, chain[::-1], [chain[1], chain[0], chain[2]]):
        assert runs(order, {A, B, C}) == {frozenset({A, B, C})}


def test_a_merge_joins_both_parents() -> None:
    assert runs([run(A), run(B), run(C, begins_as=[A, B])], {A}) == {frozenset({A, B, C})}


def test_two_runs_from_one_parent_are_two_lineages() -> None:
    """Neither holds what was spent on the other: two tunings of one model are not one longer run."""
    forked = [run(A), run(B, parent=A), run(C, begins_as=[A])]
    assert runs(forked, {A, B, C}) == {frozenset({A, B}), frozenset({A, C})}


def test_a_merge_of_a_fork_counts_its_stem_once() -> None:
    forked = [run(A, steps=100), run(B, steps=10, parent=A), run(C, steps=10, parent=A), run(D, begins_as=[B, C])]
    found = lineages_of(forked, {D})
    assert [set(lineage.runs) for lineage in found] == [{A, B, C, D}]
    assert sum(float(work.operations) for work in found[0].work) == pytest.approx((100 + 10 + 10 + 100) * 1e9)


def test_runs_that_name_each_other_end() -> None:
    assert runs([run(A, parent=B), run(B, parent=A), run(C, parent=C)], {A, C}) == {frozenset({A, B}), frozenset({C})}


def test_a_lineage_that_another_operator_began_counts_whole() -> None:
    found = lineages_of([run(A, steps=100), run(B, steps=50, parent=A)], {B})
    assert [lineage.runs for lineage in found] == [(A, B)]
    assert sum(float(work.operations) for work in found[0].work) == pytest.approx(150e9)


def test_what_another_operator_trained_further_counts_for_whoever_began_it() -> None:
    assert runs([run(A), run(B, parent=A)], {A}) == {frozenset({A, B})}


def test_a_chain_of_a_thousand_runs_counts_whole() -> None:
    names = [f"{n:064x}" for n in range(1000)]
    chain = [run(name, parent=names[n - 1] if n else None) for n, name in enumerate(names)]
    assert runs(chain, {names[0]}) == {frozenset(names)}


def test_only_lineages_with_a_run_of_ours_are_ours() -> None:
    assert runs([run(A), run(B)], {A}) == {frozenset({A})}
    assert runs([run(A), run(B)], set()) == set()


def test_a_rejected_run_declares_nothing_and_joins_nothing() -> None:
    assert runs([run(A, accepted=False), run(B, parent=A)], {A, B}) == {frozenset({B})}


def test_the_larger_of_counted_and_declared_work_counts() -> None:
    for counted, declared in ((2e9, 1e9), (1e9, 2e9)):
        lineage = lineages_of([run(A, steps=10, flop_per_step=counted, declared_flop_per_step=declared)], {A})[0]
        assert float(lineage.work[0].operations) == pytest.approx(2e10)


def test_a_declared_parent_that_nobody_verified_leaves_the_question_open() -> None:
    known = [run(A), run(B, parent=A)]
    assert not list(unknown_parents(known, known))
    for audits in ([run(B, parent=A)], [run(A, accepted=False), run(B, parent=A)]):
        found = list(unknown_parents([audits[-1]], audits))
        assert [(f.check, f.outcome, f.subject) for f in found] == [("ledger.lineage", Outcome.INCONCLUSIVE, B)]
