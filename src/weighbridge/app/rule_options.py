"""A limit as FLOP or as a rule: its options, and chips' rates as that rule counts them; shared by plans over fleets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.errors import InputError
from weighbridge.planning.fleet import Site
from weighbridge.rules import load_rules, policy_applies_to_hidden
from weighbridge.units import parse_flop, parse_quantity

__all__ = [
    "CountingOption",
    "DeclaredOption",
    "FormatOption",
    "Limit",
    "LimitOption",
    "RuleOption",
    "RulesOption",
    "limit_from",
]

LimitOption = Annotated[str | None, typer.Option(help="Threshold in FLOP, or give --rule.", metavar="FLOP")]
RuleOption = Annotated[str | None, typer.Option(help="Rule whose threshold and counting apply.", metavar="ID")]
CountingOption = Annotated[str | None, typer.Option(help="Counting policy, for a rule that names none.", metavar="ID")]
FormatOption = Annotated[str, typer.Option("--format", help="Number format of chip_flops.", metavar="FORMAT")]
DeclaredOption = Annotated[str, typer.Option(help="FLOP declared, counted by the rule's policy.", metavar="FLOP")]
RulesOption = Annotated[Path | None, typer.Option(help="File with rules of your own.", metavar="FILE")]

# Policies that add up a model's lineage or what was merged into it; so do rules on cumulative training.
_ADDING = ("eu_guidelines_2025", "ca_sb53")
_CUMULATIVE = "cumulative_training_flop"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a hidden run must stay below.

    Attributes:
        threshold: the rule's threshold, FLOP.
        flop: room beside declared work: the FLOP of the hidden run that must be caught.
        rule: the rule's id, if one was given.
        policy: its counting policy, if one was given.
        adds: whether hidden lineages add, by the rule's policy; a plain limit adds them.
    """

    threshold: float
    flop: float
    rule: str | None
    policy: str | None
    adds: bool

    def counted(self, sites: Sequence[Site], number_format: str) -> tuple[Site, ...]:
        """Returns the sites with rates as the rule counts hidden work in that number format."""
        if self.policy is None:
            return tuple(sites)
        policy = self.policy
        return tuple(
            replace(site, chip_flops=policy_applies_to_hidden(policy, site.chip_flops, number_format)) for site in sites
        )


def limit_from(
    *, limit: str | None, rule: str | None, counting: str | None, declared: str, extra: Path | None
) -> Limit:
    """Reads the options.

    Raises:
        InputError: if not exactly one of both is given, the rule cannot be judged by FLOP, or declared work alone
            uses up the threshold.
    """
    if (limit is None) == (rule is None):
        raise InputError("exactly one is needed", field="--limit or --rule", mend="give a FLOP figure or a rule")
    if rule is None:
        threshold, policy, adds = float(parse_flop(str(limit), name="--limit")), None, True
    else:
        book = load_rules(extra=extra)
        threshold, policy = float(book.rule(rule).limit), book.counting_of(rule, counting=counting)
        adds = policy in _ADDING or book.rule(rule).metric == _CUMULATIVE
    shown = parse_quantity(declared, name="--declared", positive=False)
    if shown >= threshold:
        raise InputError(
            f"declared work of {shown:.4g} FLOP leaves no room below {threshold:.4g}",
            field="--declared",
            mend="no inspection can help",
        )
    return Limit(threshold=threshold, flop=threshold - shown, rule=rule, policy=policy, adds=adds)
