"""A public case as a page of Markdown: the figures with their marks, X, the missing evidence, the rules."""

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby

from weighbridge.ledger.case import MARKS, Case
from weighbridge.ledger.case_account import ANSWERS, Evidence, apply_rules, computed, headline, hidden, readings_needed
from weighbridge.ledger.case_evidence import Piece, pieces, visits
from weighbridge.ledger.verdict import LEVELS, Ruling
from weighbridge.rules import RuleBook
from weighbridge.units import SECONDS_PER_DAY, format_quantity

__all__ = ["BEST", "case_page", "undefined_rules"]

BEST = Evidence(rate=0.1, windows=1, segments=float("inf"), idle_shown=True)
"""What the last column of the rules' table supposes: freezes, a fixed span, every segment, counters."""


def undefined_rules(book: RuleBook) -> tuple[str, ...]:
    """Returns the rules that limit training FLOP and name no counting policy: without one they decide nothing."""
    return tuple(r.id for r in book if r.why_not_assessable is None and r.counting is None)


def case_page(case: Case, book: RuleBook) -> str:
    """Returns the page; the same case and rules give the same text."""
    parts = [
        f"# {case.title}",
        f"<!-- Written by `weighbridge case {case.id} --page FILE --picture FILE`. -->",
        case.about,
        f"```sh\nweighbridge case {case.id}\nweighbridge case {case.id} --json\n"
        f"weighbridge case {case.id} --page case.md --picture case.svg\n"
        f"weighbridge case {case.id} --out case\nweighbridge assess case --rule {case.rules[-1]}\n```",
        "`--out` writes the case as an input to `weighbridge assess`: one file, in which every number has a mark and a"
        " source. Change a figure, or say in `evidence` what is held or supposed, and assess again. The arithmetic is"
        " that of an inspection, the account of [account.md](account.md), fed with figures in place of signed"
        " statements, of which there are none; so no finding passes.",
        "```json\n"
        '"evidence": {"rate": {"value": 0.01, "unit": "freezes per chip and day", "mark": "assumed",\n'
        '                      "source": "here", "where": "", "what": "if all were read and explained"}}\n'
        "```",
        "Every name that can stand there, with its unit, is in [account.md](account.md#a-case-of-published-figures).",
        *_figures(case),
        *_hidden(case, book),
        *_evidence(case),
        f"![X against freezes, readings and segments](case-{case.id}.svg)",
        *_rules(case, book),
        "## What nobody published",
        "\n".join(f"- {text}" for text in case.missing),
        "## Sources",
        "\n".join(f"- *{name}*: {text}" for name, text in case.sources.items()),
    ]
    return "\n\n".join(_wrapped(part) for part in parts) + "\n"


def _wrapped(part: str) -> str:
    """Returns a paragraph or a list in lines of at most 120 letters; tables, headings and code as they are."""
    if part.startswith(("|", "#", "<", "```", "**", "![")):
        return part
    return "\n".join(
        textwrap.fill(
            line,
            width=120,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in part.split("\n")
    )


def _figures(case: Case) -> Iterable[str]:
    counts = {mark: sum(f.mark == mark for f in case.figures.values()) for mark in MARKS}
    yield "## Figures"
    yield "Every number is " + "; or ".join(f"**{mark}**: {text}" for mark, text in MARKS.items()) + "."
    measured = "None is measured." if counts["measured"] == 0 else f"{counts['measured']} are measured."
    yield (
        f"{measured} {counts['declared']} are declared, {counts['assumed']} assumed. What was computed from them"
        " carries the weakest mark among them."
    )
    yield _table(
        ["figure", "value", "mark", "what it is", "source"],
        [
            [
                f"`{name}`",
                _number(figure.value, figure.unit),
                figure.mark,
                figure.what + (f": “{figure.quote}”" if figure.quote else ""),
                f"*{figure.source}*" + (f", {figure.where}" if figure.where else ""),
            ]
            for name, figure in case.figures.items()
        ],
    )
    yield _table(
        ["computed", "value", "mark", "what it is", "from"],
        [
            [f"`{d.name}`", _number(d.value, d.unit), d.mark, d.what, d.formula.replace("_", r"\_")]
            for d in computed(case).values()
        ],
    )


def _hidden(case: Case, book: RuleBook) -> Iterable[str]:
    facts = {name: derived.value for name, derived in computed(case).items()}
    levels = hidden(case)
    yield "## X from publications alone"
    yield f"*{headline(case, apply_rules(case, book)[case.rules[0]]['C'])}*"
    yield _table(
        ["level", "assumed honest", "X"],
        [[level, text, _flop(levels[level])] for level, text in LEVELS.items()],
    )
    yield (
        "No chip signed anything and no verifier repeated anything, so every chip-hour counts at capacity at every"
        f" level: {format_quantity(case['chip_hours'])} chip-hours at {format_quantity(case['capacity'])} FLOP/s. That"
        f" is {levels['A'] / case['training_flop']:.3g} times the declared run: what was not shown, and no suspicion."
        f" The declared steps needed {format_quantity(facts['needed'])} of these hours at the published rate; the"
        f" other {format_quantity(facts['spare'])} could have done {_flop(facts['spare_flop'])}, and stay charged until"
        f" something shows what they were. A window longer by a day adds {_flop(facts['day'])}; the other chips of the"
        f" cluster could have done {_flop(facts['outside'])} meanwhile; chips elsewhere are unbounded."
    )


def _evidence(case: Case) -> Iterable[str]:
    facts = {name: derived.value for name, derived in computed(case).items()}
    yield "## What each piece of evidence would do"
    yield (
        "X in FLOP at the three levels, if this had been held and held good. Freezes and transcripts need each other:"
        " a freeze without a transcript is explained by nothing, and a transcript without freezes ties its steps to no"
        " chip. Beside X, the price: chip-hours lost if each stop of one chip stalls all"
        f" ({facts['freeze']:.2g} s a stop), bytes of anchors ({facts['anchor'] / 1e12:.3g} TB a stop; the published"
        f" storage is {case['storage'] / 1e15:.0f} PB), and the share of the run that the verifier repeats. α ="
        f" {case['alpha']:g} is shared out over the bounds that a row uses."
    )
    for group, members in groupby(pieces(case), key=lambda piece: piece.group):
        yield f"**{group}.**"
        yield _table(
            ["evidence", "X at A", "X at B", "X at C", "stops", "chip-hours lost", "anchors", "repeated"],
            [_piece_cells(piece) for piece in members],
        )
    yield (
        "Restarts are dear: each stretch that a run claims for itself counts as one failure, because an operator who"
        " sees a freeze hit something could end the stretch there. The tables take a stretch of all chips as one;"
        f" one for each chip and restart would be {facts['windows'] * case['chips'] / 1e6:.0f} million, and would leave"
        " nothing shown. A span fixed in the log before, for all chips together, removes that. What is"
        " left then is the spare time, which only counters or instruments can show to have been idle. Readings by"
        " inspectors count at all levels, so long as nobody can change what a chip does between notice and reading."
    )
    yield "**Visits to the cluster.**"
    yield _table(
        ["not to be done on chips that only paper knows", "chips that could", "chips to see"],
        [[_flop(v.flop), f"{v.chips:,}", f"{v.sample:,}"] for v in visits(case)],
    )
    yield (
        f"Drawn from {case['cluster_chips']:,.0f} without replacement, so that one chip that is gone or is another is"
        f" met with probability {1 - case['alpha']:g}. A visit lowers no X of its own: it decides which chips X is"
        " about. Machines of the same cluster that a visit finds switched off, and leaves sealed, take"
        f" {_flop(facts['outside'])} away from what lies outside."
    )


def _rules(case: Case, book: RuleBook) -> Iterable[str]:
    now, then = apply_rules(case, book), apply_rules(case, book, BEST)
    yield "## Rules"
    yield (
        "*Above*: the declared run alone passes the threshold, so the rule's duties apply; it has broken nothing by"
        " that. *Within*: declared work and X together do not pass it. *Open*: X alone keeps it from being within."
        " Declared work and X are each counted by the rule's own policy. *Readings* is the number of explained"
        " readings, or of drawn and explained snapshots, that would settle it, spare time charged. The last column"
        " supposes freezes at 0.1 a chip and day over one fixed span, every segment replayed and counters that show"
        " the spare time idle."
    )
    yield _table(
        [
            "rule",
            "status",
            "counting",
            "threshold",
            "declared",
            "X",
            "published: A, B, C",
            "readings",
            "with all: A, B, C",
        ],
        [_rule_cells(case, book, rule, now[rule], then[rule]) for rule in case.rules],
    )
    days = {rule: float(book.rule(rule).limit) / computed(case)["day"].value for rule in case.rules}
    yield (
        "Time to the threshold on these chips, at capacity: "
        + "; ".join(f"`{rule}` {_span(value)}" for rule, value in days.items())
        + "."
    )
    names = ", ".join(f"`{rule}`" for rule in undefined_rules(book))
    yield f"Rules that limit training FLOP and name no way to count it, and so decide nothing here: {names}."


def _rule_cells(case: Case, book: RuleBook, rule: str, now: dict[str, Ruling], then: dict[str, Ruling]) -> list[str]:
    chosen, first = book.rule(rule), now["A"]
    needed: int | None = None
    if not chosen.compare(first.declared_flop):
        strict = chosen.compare(chosen.limit)
        needed = readings_needed(case, limit=chosen.limit, declared=first.declared_flop, strictly_below=strict)
    return [
        f"`{rule}`",
        chosen.status,
        f"`{chosen.counting}`",
        f"{chosen.comparator} {chosen.limit:g}",
        format_quantity(first.declared_flop),
        format_quantity(first.hidden_flop),
        ", ".join(ANSWERS[ruling.verdict] for ruling in now.values()),
        "none" if needed is None else f"{needed:,}",
        ", ".join(ANSWERS[ruling.verdict] for ruling in then.values()),
    ]


def _piece_cells(piece: Piece) -> list[str]:
    return [
        piece.what,
        *(format_quantity(piece.hidden_flop[level], digits=3) for level in LEVELS),
        f"{piece.stops:,}",
        format_quantity(piece.stall_hours, digits=3),
        f"{format_quantity(piece.anchor_bytes / 1e12, digits=3)} TB" if piece.anchor_bytes else "none",
        f"{piece.replayed_share:.3g}",
    ]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell != "---" else cell for cell in line) + "|" for line in lines)


def _number(value: float, unit: str) -> str:
    return format_quantity(value, unit=unit, digits=5)


def _flop(value: float) -> str:
    return format_quantity(value, unit="FLOP", digits=3)


def _span(days: float) -> str:
    return f"{days:.3g} days" if days >= 1 else f"{days * SECONDS_PER_DAY / 3600:.2g} h"
