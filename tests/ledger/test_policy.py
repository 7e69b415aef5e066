"""The plan, and what its evidence cannot show."""

from collections.abc import Mapping
from typing import Any

import pytest

from ledger.paper import policy
from weighbridge.errors import EvidenceError
from weighbridge.ledger.limits import known_limits, summary_of_limits
from weighbridge.ledger.policy import Policy

# --- the plan


def test_a_plan_is_read_back_as_it_was_written() -> None:
    for audits in (None, 7):
        plan = policy(audits=audits)
        assert Policy.from_payload(plan.as_payload()) == plan


def test_the_union_bound_counts_every_operator_s_bound() -> None:
    assert policy().alpha_together == pytest.approx(0.1)
    assert policy(operators=tuple(f"o{n}" for n in range(30))).alpha_together == 1.0


def test_unexplained_bytes_stand_for_a_model_that_fills_them() -> None:
    """64 MiB of training state: 4 Mi parameters, 20 tokens each, 6 operations a parameter and token."""
    parameters = (64 << 20) / 16
    plan = policy(unexplained_limit_bytes=64 << 20)
    assert plan.unexplained_limit_flop == pytest.approx(6 * parameters * 20 * parameters)


SPOILED: Mapping[str, Any] = {
    "alpha": ["x", 0, 1, -0.1, 1.5, None, float("nan")],
    "operators": [[], "Alder", None, 5, ["Alder", "Alder"], [""], [5]],
    "capacity": [
        None,
        5,
        {},
        {"flop_per_s": 0, "format": "fp32"},
        {"flop_per_s": float("nan"), "format": "fp32"},
        {"flop_per_s": float("inf"), "format": "fp32"},
        {"flop_per_s": 1e11, "format": "fp"},
    ],
    "late_limit_s": ["x", -1.0, float("nan"), float("inf")],
    "cpu_ratio_limit": [None, 0.0, 1.0, float("nan"), float("inf")],
    "unexplained_limit_bytes": ["x", -1, None, 1.5],
    "audits": ["all", -1, 0, 2.5, True],
    "nonce_commitment": ["x", "ab", None, "zz" * 32],
    "rule": [None, {}, {"id": "x"}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in SPOILED.items() for value in values])
def test_a_plan_with_a_field_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(EvidenceError, match="inspection-plan"):
        Policy.from_payload({**policy().as_payload(), name: value})


@pytest.mark.parametrize("name", sorted(SPOILED))
def test_a_plan_without_a_field_is_refused(name: str) -> None:
    payload = policy().as_payload()
    del payload[name]
    with pytest.raises(EvidenceError, match="inspection-plan"):
        Policy.from_payload(payload)


# --- known limits


def limits(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "policy": policy(unexplained_limit_bytes=64 << 20),
        "declared_seconds": 10.0,
        "declared_flop": 4e11,
        "off_seconds": 7.0,
        "attempts": 3,
        "protections": ["file"],
        "separated": True,
        "accounting": ["cgroup2"],
    }
    return {limit["limit"]: limit for limit in known_limits(**values | changes)}


def test_every_limit_has_its_flop_or_says_unbounded_and_what_would_close_it() -> None:
    found = list(limits(separated=False, accounting=["process-tree"]).values())
    for limit in found:
        assert limit["flop"] == "unbounded" or limit["flop"] >= 0
        assert limit["reason"] and limit["closed_by"]
    unbounded = sum(limit["flop"] == "unbounded" for limit in found)
    assert summary_of_limits(found) == f"{len(found)} known limits, {unbounded} of them unbounded"


def test_adversarial_code_has_what_the_chips_could_have_done_beyond_the_declared() -> None:
    assert limits()["adversarial code"]["flop"] == pytest.approx(10.0 * 1e11 - 4e11)
    assert limits(declared_flop=1e13)["adversarial code"]["flop"] == 0.0


def test_time_switched_off_has_what_the_chips_could_have_done_in_it() -> None:
    assert limits()["compute switched off"]["flop"] == pytest.approx(7.0 * 1e11)


def test_unexplained_memory_is_bounded_by_what_fits_and_by_the_time_to_train_it() -> None:
    fits = limits(declared_seconds=1e9)["unexplained memory"]["flop"]
    assert fits == pytest.approx(policy(unexplained_limit_bytes=64 << 20).unexplained_limit_flop)
    assert limits()["unexplained memory"]["flop"] == pytest.approx(10.0 * 1e11 - 4e11)


def test_limits_that_depend_on_the_evidence() -> None:
    assert "software agents" in limits()
    assert "software agents" not in limits(protections=["silicon"])
    assert "no separation of users" not in limits()
    assert "no separation of users" in limits(separated=False)
    assert "weak count of CPU time" not in limits()
    assert "weak count of CPU time" in limits(accounting=["cgroup2", "process-tree"])
