"""Rules by id: the carried list, a user's additions, and what each rule counts."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from pydantic import ValidationError

from weighbridge.errors import InputError
from weighbridge.rules.counting import TRAINING_POLICIES, Count, count_in_full
from weighbridge.rules.rule import CountingPolicy, Rule, RuleData
from weighbridge.rules.work import POST_TRAINING, WorkItem

__all__ = ["RuleBook", "load_rules"]

# A rule file is a few kilobytes; the limit keeps a wrong path (a checkpoint, a device) from being read whole.
_LARGEST_FILE: Final = 4 * 2**20

_DataT = TypeVar("_DataT", bound=RuleData)


class RuleBook:
    """Rules and counting policies by id; immutable: adding returns another book."""

    def __init__(self, rules: Iterable[Rule], *, policies: Mapping[str, CountingPolicy]) -> None:
        self._policies = dict(policies)
        self._rules: dict[str, Rule] = {}
        for rule in rules:
            if rule.id in self._rules:
                raise InputError("two rules have this id", where=f"rule {rule.id}", mend="choose another id")
            if rule.counting is not None and rule.counting not in self._policies:
                raise InputError(
                    f"counting policy {rule.counting!r} is not known",
                    where=f"rule {rule.id}",
                    field="counting",
                    mend=f"use one of {', '.join(self._policies)}",
                )
            self._rules[rule.id] = rule

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules.values())

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def policies(self) -> Mapping[str, CountingPolicy]:
        """Counting policies by id."""
        return dict(self._policies)

    def rule(self, rule_id: str) -> Rule:
        """Returns the rule.

        Raises:
            InputError: if there is none of this id; names the nearest.
        """
        if rule_id not in self._rules:
            near = get_close_matches(rule_id, self._rules, n=3)
            raise InputError(
                f"there is no rule {rule_id!r}",
                field="rule",
                mend=f"did you mean {' or '.join(near)}?" if near else "list them with `plan rules`",
            )
        return self._rules[rule_id]

    def policy(self, policy_id: str) -> CountingPolicy:
        """Returns the text of a counting policy.

        Raises:
            InputError: if there is none of this id.
        """
        if policy_id not in self._policies:
            raise InputError(f"there is no counting policy {policy_id!r}", mend=f"known: {', '.join(self._policies)}")
        return self._policies[policy_id]

    def counting_of(self, rule_id: str, *, counting: str | None = None) -> str:
        """Returns the id of the policy that counts for a rule.

        Args:
            rule_id: the rule.
            counting: the policy to use for a rule that names none; refused if the rule names another.

        Raises:
            InputError: if the rule names no policy and none is given: it is undefined then.
        """
        rule = self.rule(rule_id)
        if rule.counting is None and counting is None:
            raise InputError(
                "names no counting policy, so its threshold is undefined",
                where=f"rule {rule_id}",
                mend=f"choose one of {', '.join(TRAINING_POLICIES)}",
            )
        if rule.counting is not None and counting not in (None, rule.counting):
            raise InputError(f"counts by {rule.counting}, not {counting}", where=f"rule {rule_id}")
        chosen = rule.counting if counting is None else counting
        self.policy(str(chosen))
        return str(chosen)

    def count(self, rule_id: str, items: Iterable[WorkItem], *, counting: str | None = None) -> Count:
        """Counts the work of one lineage as a rule does.

        Rules on post-training or modifications leave out the original run and its parents. Where parents are
        listed, all further training is a modification of them, whatever it is called.

        Args:
            rule_id: the rule.
            items: all work of the lineage.
            counting: policy for a rule that names none.

        Returns:
            The total, to be given to :meth:`Rule.compare`, with its account.
        """
        rule = self.rule(rule_id)
        if rule.kind in ("post_training", "modification"):
            items = _modifications(items)
        return count_in_full(self.counting_of(rule_id, counting=counting), items)

    def with_rule(self, rule: Rule | Mapping[str, Any]) -> Self:
        """Returns a book with one more rule (a :class:`Rule`, or the fields of one).

        Raises:
            InputError: if its id is taken, its fields are wrong or its counting policy is unknown.
        """
        added = rule if isinstance(rule, Rule) else _validated(Rule, rule, where="rule")
        return type(self)([*self._rules.values(), added], policies=self._policies)


def _modifications(items: Iterable[WorkItem]) -> list[WorkItem]:
    every = list(items)
    parents = ("initial-parent", "merged-parent")
    has_parent = any(item.purpose in parents for item in every)
    chosen = [item for item in every if item.purpose not in parents and (has_parent or item.purpose in POST_TRAINING)]
    # A modification is judged whoever made it: the guard against other actors protects the original's total.
    return [replace(item, by_developer=True) for item in chosen]


def load_rules(path: Path | str | None = None, *, extra: Path | str | Sequence[Path | str] | None = None) -> RuleBook:
    """Reads the carried rules, or those of a file, and adds a user's own.

    Args:
        path: a file to use instead of the carried list.
        extra: files of the same schema whose rules are added; they may not bring counting policies, which are
            code (:mod:`weighbridge.rules.counting`).

    Returns:
        The rules and counting policies.

    Raises:
        InputError: naming the file, the rule, the field and the mend.
    """
    if path is None:
        text = resources.files("weighbridge.rules").joinpath("rules.json").read_text(encoding="utf-8")
        data = _parsed(text, where="rules.json")
    else:
        data = _read(Path(path))
    policies = data.get("counting_policies", {})
    if not isinstance(policies, dict):
        raise InputError("must be an object", where=path or "rules.json", field="counting_policies")
    book = RuleBook(
        _rules_of(data, where=path or "rules.json"),
        policies={
            name: _validated(CountingPolicy, policy, where=f"{path or 'rules.json'}: counting_policies.{name}")
            for name, policy in policies.items()
        },
    )
    for added in [extra] if isinstance(extra, str | Path) else extra or []:
        addition = _read(Path(added))
        if addition.get("counting_policies"):
            raise InputError(
                "an added file may not bring counting policies, which are code",
                where=added,
                field="counting_policies",
                mend=f"remove it and name one of {', '.join(TRAINING_POLICIES)} in each rule",
            )
        for rule in _rules_of(addition, where=added):
            book = book.with_rule(rule)
    return book


def _rules_of(data: Mapping[str, Any], *, where: Path | str) -> list[Rule]:
    rules = data.get("rules")
    if data.get("schema") != "rules/1":
        raise InputError(f"schema is {data.get('schema')!r}", where=where, mend='expected "rules/1"')
    if not isinstance(rules, list) or not rules:
        raise InputError("holds no rules", where=where, field="rules", mend="give a list of rules")
    return [_validated(Rule, rule, where=f"{where}: {_label(rule, i)}") for i, rule in enumerate(rules)]


def _label(rule: Any, index: int) -> str:
    name = rule.get("id") if isinstance(rule, dict) else None
    return f"rule {name}" if isinstance(name, str) and len(name) < 100 else f"rule number {index + 1}"


def _validated(model: type[_DataT], data: Any, *, where: str) -> _DataT:
    try:
        # Through JSON, so that lists become tuples while everything else stays strict.
        return model.model_validate_json(json.dumps(data, allow_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(first["msg"], where=where, field=field or None) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"is not plain JSON data: {error}", where=where) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise InputError("there is no such file", where=path)
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"is larger than {_LARGEST_FILE} bytes: no rule file", where=path)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=path) from error
    return _parsed(text, where=path)


def _parsed(text: str, *, where: Path | str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError("is given twice", where=where, field=twice)
        return found

    def constant(name: str) -> None:
        raise InputError(f"{name} is no number", where=where)

    try:
        data = json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"is not JSON: {error}", where=where) from error
    if not isinstance(data, dict):
        raise InputError("must be a JSON object with a list `rules`", where=where)
    return data
