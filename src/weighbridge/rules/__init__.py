"""Rules as data, and how each counts FLOP from neutral work items.

A threshold without its counting policy is undefined: the same run can pass one rule and break another.

    book = load_rules()
    total = book.count("eu.gpai.systemic", [WorkItem("training", format="bf16", operations=9e24)])
    book.rule("eu.gpai.systemic").compare(total.flop)
"""

from weighbridge.rules.book import RuleBook, load_rules
from weighbridge.rules.counting import (
    TRAINING_POLICIES,
    Count,
    CountedItem,
    count,
    count_in_full,
    policy_applies_to_hidden,
)
from weighbridge.rules.rule import CountingPolicy, Rule
from weighbridge.rules.work import NumberFormat, Purpose, WorkItem, WorkKind

__all__ = [
    "TRAINING_POLICIES",
    "Count",
    "CountedItem",
    "CountingPolicy",
    "NumberFormat",
    "Purpose",
    "Rule",
    "RuleBook",
    "WorkItem",
    "WorkKind",
    "count",
    "count_in_full",
    "load_rules",
    "policy_applies_to_hidden",
]
