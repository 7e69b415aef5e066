import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import InputError
from weighbridge.rules import Rule, WorkItem, load_rules

BOOK = load_rules()
OWN: dict[str, Any] = {
    "id": "demo.limit", "name": "Limit of this machine", "jurisdiction": "demo", "status": "demo",
    "kind": "training_run", "metric": "training_flop", "comparator": ">", "threshold": 2.4e12, "unit": "FLOP",
    "scope": "every run", "obligations": [], "source": "set at the start", "confidence": "D",
    "counting": "miri_2025",
}  # fmt: skip


def rule_file(path: Path, *rules: Any, **more: Any) -> Path:
    path.write_text(json.dumps({"schema": "rules/1", "rules": list(rules)} | more))
    return path


def test_the_carried_list_is_whole() -> None:
    assert len(BOOK) == 49
    assert len(BOOK.policies) == 6
    assert {rule.confidence for rule in BOOK} == {"T", "S"}


@pytest.mark.parametrize(
    ("rule_id", "comparator", "limit"),
    [
        ("eu.gpai.indicative", ">", 1e23),
        ("eu.gpai.systemic", ">", 1e25),
        ("ca.sb53", ">", 1e26),
        ("ny.raise", ">", 1e26),
        ("il.sb315", ">", 1e26),
        ("kr.ai_basic", ">=", 1e26),
        ("us.outbound.prohibited", ">", 1e25),
        ("us.outbound.prohibited.bio", ">", 1e24),
        ("us.outbound.notifiable", ">", 1e23),
        ("us.eo14110.model", ">", 1e26),
        ("us.bis.nprm.model", ">", 1e26),
        ("us.diffusion.weights", ">=", 1e26),
        ("miri.2025.ctb.strict", ">", 1e24),
        ("miri.2025.ctb.post", ">", 1e23),
        ("miri.2025.ctb.monitored", ">", 1e22),
    ],
)
def test_thresholds_and_comparators(rule_id: str, comparator: str, limit: float) -> None:
    rule = BOOK.rule(rule_id)
    assert rule.comparator == comparator
    assert rule.limit == limit
    assert rule.compare(limit) is (comparator == ">=")
    assert rule.compare(math.nextafter(limit, math.inf))
    assert not rule.compare(math.nextafter(limit, 0))
    assert rule.compare(math.inf)
    assert not rule.compare(0.0)


@pytest.mark.parametrize(("comparator", "at_limit"), [(">", False), (">=", True), ("<=", False), ("<", True)])
def test_limits_that_name_what_is_allowed(comparator: str, at_limit: bool) -> None:
    rule = BOOK.with_rule(OWN | {"comparator": comparator}).rule("demo.limit")
    assert rule.compare(2.4e12) is at_limit
    assert rule.compare(2.5e12)
    assert not rule.compare(2.3e12)


@pytest.mark.parametrize(
    ("rule_id", "words"),
    [
        ("us.3a090.a2", "several thresholds"),
        ("ca.sb1047", "several thresholds"),
        ("ny.raise.original", "compute_cost"),
        ("us.3a090.b1", "several thresholds"),
        ("us.chip_security_act", "class"),
        ("us.iaas.kyc", "n/a"),
        ("cn.genai", "n/a"),
        ("us.eo14110.cluster", "peak_ops_per_s"),
        ("us.diffusion.lpp", "annual_tpp"),
        ("eu.gpai.modifier.known", "original_training_flop"),
        ("eu.gpai.estimate_error", "relative_error"),
        ("shavit.example", "leaves its threshold to the user"),
    ],
)
def test_rules_that_flop_alone_cannot_decide_are_refused(rule_id: str, words: str) -> None:
    rule = BOOK.rule(rule_id)
    assert rule.why_not_assessable is not None
    with pytest.raises(InputError, match=rule_id) as refused:
        rule.compare(1e30)
    assert words in str(refused.value)


@pytest.mark.parametrize("flop", [math.nan, -1.0, -math.inf])
def test_a_total_that_is_no_amount_is_refused(flop: float) -> None:
    with pytest.raises(InputError):
        BOOK.rule("ca.sb53").compare(flop)


def test_a_rule_without_a_counting_policy_is_undefined() -> None:
    items = [WorkItem("training", format="bf16", operations=2e26)]
    with pytest.raises(InputError, match="names no counting policy"):
        BOOK.count("ny.raise", items)
    assert BOOK.count("ny.raise", items, counting="ca_sb53").flop == 2e26
    with pytest.raises(InputError, match="counts by ca_sb53"):
        BOOK.counting_of("ca.sb53", counting="miri_2025")
    with pytest.raises(InputError, match="no counting policy 'x'"):
        BOOK.counting_of("ny.raise", counting="x")


def test_unknown_rule_names_its_neighbours() -> None:
    with pytest.raises(InputError, match=r"did you mean eu\.gpai\.systemic"):
        BOOK.rule("eu.gpai.sistemic")


def test_eu_tolerance() -> None:
    policy = BOOK.policy("eu_guidelines_2025")
    rule = BOOK.rule("eu.gpai.systemic")
    assert policy.highest_true_value(8.4e24) == pytest.approx(1.092e25)
    assert rule.compare(policy.highest_true_value(8.4e24))  # ask
    assert not rule.compare(policy.highest_true_value(7.69e24))
    assert rule.compare(policy.highest_true_value(7.70e24))
    assert policy.reported(3.7908e25) == 3.8e25
    assert BOOK.policy("miri_2025").highest_true_value(1e24) == 1e24
    assert BOOK.policy("miri_2025").reported(1.234e24) == 1.234e24


def test_a_users_own_rule(tmp_path: Path) -> None:
    book = load_rules(extra=rule_file(tmp_path / "own.json", OWN))
    assert len(book) == 50
    assert book.rule("demo.limit").limit == 2.4e12
    assert len(BOOK) == 49  # books do not share
    assert BOOK.with_rule(Rule.model_validate_json(json.dumps(OWN))).rule("demo.limit").limit == 2.4e12
    second = OWN | {"id": "demo.other"}
    both = [rule_file(tmp_path / "a.json", OWN), rule_file(tmp_path / "b.json", second)]
    assert len(load_rules(extra=both)) == 51
    with pytest.raises(InputError, match="two rules"):
        load_rules(extra=[both[0], both[0]])
    with pytest.raises(InputError, match="two rules"):
        BOOK.with_rule(OWN | {"id": "ca.sb53"})  # a carried rule cannot be replaced under its own name


def test_another_list_instead_of_the_carried_one(tmp_path: Path) -> None:
    plain = {key: value for key, value in OWN.items() if key != "counting"}
    assert len(load_rules(rule_file(tmp_path / "r.json", plain))) == 1
    policies = {"miri_2025": {"name": "draft", "confidence": "T"}}
    assert len(load_rules(rule_file(tmp_path / "r.json", OWN, counting_policies=policies))) == 1
    with pytest.raises(InputError, match="counting policy 'miri_2025' is not known"):
        load_rules(rule_file(tmp_path / "r.json", OWN))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": "1e24"}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"threshold": -1}, "threshold"),
        ({"comparator": "~"}, "comparator"),
        ({"id": "Demo Limit"}, "id"),
        ({"id": 7}, "id"),
        ({"surprise": 1}, "surprise"),
        ({"counting": "mine"}, "counting"),
        ({"obligations": "none"}, "obligations"),
        ({"confidence": "X"}, "confidence"),
        ({"name": "x" * 5000}, "name"),
    ],
)
def test_a_bad_rule_names_file_rule_and_field(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = rule_file(tmp_path / "own.json", OWN | change)
    with pytest.raises(InputError) as refused:
        load_rules(extra=path)
    assert words in str(refused.value)
    assert "rule" in str(refused.value)


@pytest.mark.parametrize("missing", sorted(set(OWN) - {"counting"}))
def test_a_missing_field_is_named(missing: str) -> None:
    with pytest.raises(InputError, match=missing):
        BOOK.with_rule({key: value for key, value in OWN.items() if key != missing})


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{", '{"schema": "rules/1"}', '{"schema": "rules/1", "rules": []}',
        '{"schema": "rules/1", "rules": [1]}', '{"schema": "rules/1", "rules": {"a": 1}}',
        '{"schema": "rules/2", "rules": [{}]}', '{"schema": "rules/1", "rules": [{}], "rules": [{}]}',
        '{"schema": "rules/1", "rules": [NaN]}', "[" * 100_000, '{"a":' * 50_000, "\ufeff{}",
        '{"schema": "rules/1", "rules": [{"id": "a", "id": "b"}]}',
    ],
)  # fmt: skip
def test_hostile_files_get_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"own\.json"):
        load_rules(path)
    with pytest.raises(InputError, match=r"own\.json"):
        load_rules(extra=path)


def test_hostile_paths_get_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_rules(tmp_path / "absent.json")
    with pytest.raises(InputError, match="no such file"):
        load_rules(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        load_rules("/dev/zero")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_rules(tmp_path / "binary.json")
    (tmp_path / "huge.json").write_bytes(b" " * (5 * 2**20))
    with pytest.raises(InputError, match="larger than"):
        load_rules(tmp_path / "huge.json")


def test_infinity_by_exponent_is_refused(tmp_path: Path) -> None:
    path = rule_file(tmp_path / "own.json", OWN)
    path.write_text(path.read_text().replace("2400000000000.0", "1e999"))
    with pytest.raises(InputError, match=r"threshold|JSON"):
        load_rules(extra=path)


def test_added_files_bring_no_policies(tmp_path: Path) -> None:
    path = rule_file(tmp_path / "own.json", OWN, counting_policies={"mine": {"name": "m", "confidence": "D"}})
    with pytest.raises(InputError, match="may not bring counting policies"):
        load_rules(extra=path)


LEAVES = st.none() | st.booleans() | st.floats() | st.text()
FIELDS = st.sampled_from([*OWN, "x"])


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner), max_leaves=20))
def test_any_data_is_a_rule_or_one_clear_error(data: Any) -> None:
    for candidate in (data, OWN | data if isinstance(data, dict) else data):
        try:
            book = BOOK.with_rule(candidate)
        except InputError:
            continue
        assert len(book) == 50
