"""The report's page: self-contained, honest about every string and figure, the same bytes for the same body."""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from weighbridge.app import page, page_text
from weighbridge.app.page import write_page
from weighbridge.app.page_drawing import LEFT, WIDTH, Scale, stack, timeline
from weighbridge.app.page_view import groups, known_limits, operator_view, verdicts_by_level
from weighbridge.errors import MissingToolError

BEGAN, WINDOW, CAPACITY, LIMIT = 1_795_303_360.0, 200.0, 2e11, 3.5e12
WORKING, CHEATING, RUN = "a" * 64, "b" * 64, "c" * 64
VOID = {"meta", "br"}


def finding(check: str, outcome: str, subject: str, reason: str, **more: Any) -> dict[str, Any]:
    unset = dict.fromkeys(("figure", "unit", "confidence", "hidden_flop", "redo"))
    return {"check": check, "outcome": outcome, "subject": subject, "reason": reason, **unset, "evidence": [], **more}


def record(chip: str, sequence: int, at: float, status: str, *, boot: int = 1, **more: Any) -> dict[str, Any]:
    reason = {"boot": "boot", "shutdown": "shutdown", "answered": "challenge"}.get(status, "sample")
    plain = {
        "chip": chip,
        "sequence": sequence,
        "boot": boot,
        "reason": reason,
        "statement": hashlib.sha256(f"{chip}{sequence}".encode()).hexdigest(),
        "time": BEGAN + at,
        "active_s": at,
        "cpu_s": at,
        "freeze_s": 0.2,
        "late_s": 0.001,
        "read_bytes": 900 if reason == "sample" else 0,
        "writable_bytes": 1000 if reason == "sample" else 0,
        "status": status,
        "run": None,
        "share": None,
        "explained": {},
    }
    if status == "matched":
        explained = {"weights": 100, "optimizer": 200, "data": 50, "zero": 50, "unexplained": 500, "read": 900}
        plain |= {"run": RUN, "share": 1.0, "explained": explained}
    return plain | more


def coverage(chip: str, use: str, seconds: float, free: float, evidence: list[str]) -> dict[str, Any]:
    return {
        "chip": chip,
        "use": use,
        "seconds": seconds,
        "free_seconds": free,
        "hidden_flop": free * CAPACITY,
        "coupling": "adds",
        "evidence": evidence,
        "reason": f"{use} on this chip",
    }


def operator(name: str, *, honest: bool) -> dict[str, Any]:
    chip, status = (WORKING, "matched") if honest else (CHEATING, "unmatched")
    records = [record(chip, 0, 20.0, "boot"), *(record(chip, n, 20.0 + 2 * n, status) for n in range(1, 42))]
    records += [record(chip, 42, 110.0, "shutdown"), record(chip, 43, 195.0, "answered")]
    ids = [r["statement"] for r in records[:-1]]
    if honest:
        covered = [
            coverage(chip, "declared run", 80.0, 0.0, ids),
            coverage(chip, "around the declared steps", 3.0, 3.0, ids),
        ]
        failing = []
    else:
        covered = [coverage(chip, "uncovered", 90.0, 90.0, ids)]
        reason = "memory that no accepted transcript explains"
        failing = [
            finding("match.record", "fail", f"{chip}#{n}", reason, evidence=[ids[n]], redo="weighbridge assess .")
            for n in range(1, 42)
        ]
    exposure = 3.0 if honest else 0.0
    declared = 8e11 if honest else 0.0
    hidden = (sum(c["free_seconds"] for c in covered) + exposure) * CAPACITY
    by_level = {"A": hidden, "B": WINDOW * CAPACITY, "C": WINDOW * CAPACITY}
    words = (
        {"A": "compliant", "B": "inconclusive", "C": "inconclusive"} if honest else dict.fromkeys("ABC", "violation")
    )
    samples = {"rate_hz": 1.0, "due": 41 * honest, "audited": 41 * honest, "unexplained": 0}
    return {
        "name": name,
        "verdict": words["A"],
        "rule": "demo.window",
        "chips": [chip],
        "unlisted_chips": [] if honest else [chip],
        "declared_flop": declared,
        "hidden_flop": hidden,
        "hidden_flop_by_level": by_level,
        "rulings": {
            level: {
                "verdict": words[level],
                "level": level,
                "rule": "demo.window",
                "threshold": LIMIT,
                "declared_flop": declared,
                "hidden_flop": by_level[level],
                "reason": f"the reason at level {level}",
            }
            for level in "ABC"
        },
        "sentences": {
            level: f"A training run above {by_level[level]:.2e} FLOP on these chips would have escaped with chance at"
            f" most 5.00%, if level {level} holds; evidence up to {BEGAN + WINDOW:.0f} (Unix seconds); time from now"
            " to the rule's threshold at full capacity: 0.000185 days."
            for level in "ABC"
        },
        "confidence": 0.95,
        **samples,
        "account": {
            "coverages": covered,
            "exposure_s": exposure,
            "form": "exposure, k = 0 of 41 due" if honest else "no declared span",
            "hidden_flop": by_level,
            "alpha": 0.05,
            "samples": samples,
            "capacity": {"flop_per_s": CAPACITY, "format": "bf16"},
            "window_s": WINDOW,
        },
        "runs": [
            {
                "run": RUN,
                "accepted": honest,
                "chips": [chip],
                "steps": 100,
                "replayed_steps": 98,
                "step_cpu_s": 0.19,
                "startup_cpu_s": 2.3,
                "flop_per_step": 8e9,
                "declared_flop_per_step": 8e9,
                "baseline_bytes": 450,
                "parent": None,
                "begins_as": [],
                "records": 41,
                "matched": 41,
            }
        ],
        "attempts": 1,
        "records": records,
        "findings": [
            finding("chip.chain", "pass", chip, "every record names the one before"),
            *failing,
            finding("registry.unsigned", "inconclusive", chip, "only the registrar says so", evidence=["d" * 64] * 3),
        ],
        "rulings_by_policy": [
            {"policy": "us_ops_dense", "declared_flop": declared, "hidden_flop": hidden, "within": honest},
            {"policy": "miri_2025", "declared_flop": 2 * declared, "hidden_flop": hidden, "within": False},
        ],
        "limits": [
            {"limit": "adversarial code", "flop": declared, "reason": "own steps", "closed_by": "review"},
            {"limit": "compute switched off", "flop": "unbounded", "reason": "assumed off", "closed_by": "metering"},
        ],
    }


def report(*operators: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "weighbridge/report/1",
        "rule": {
            "id": "demo.window",
            "name": "The demo's rule",
            "threshold": LIMIT,
            "comparator": ">",
            "counting": "us_ops_dense",
            "unit": "FLOP",
            "obligations": ["declare every run"],
        },
        "counting": "us_ops_dense",
        "alpha": 0.05,
        "alpha_together": 0.30000000000000004,
        "capacity": {"flop_per_s": CAPACITY, "format": "bf16"},
        "unexplained_limit": {"bytes": 16 << 20, "flop": 1.3e14},
        "window": {"began": BEGAN, "closed": BEGAN + WINDOW, "seconds": WINDOW},
        "log": {"origin": "example/log", "size": 597, "root": "e" * 64},
        "levels": {"A": "attested", "B": "key intact", "C": "instruments"},
        "operators": list(operators),
        "unattributed_chips": [],
        "findings": [finding("inspection.nonce-key", "pass", "inspection", "every nonce follows")],
        "hidden_flop_together": {"A": 1e13, "B": 8e13, "C": 8e13},
    }


class Page(HTMLParser):
    """Parses strictly: every element closed in order; keeps elements, attributes and text outside the style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, attribute: str) -> Iterator[str]:
        return (found for _, attributes in self.tags if (found := attributes.get(attribute)) is not None)


@pytest.fixture
def draw(tmp_path: Path) -> Callable[[dict[str, Any]], Page]:
    def drawn(body: dict[str, Any]) -> Page:
        write_page(tmp_path / "report.html", body)
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return drawn


@pytest.fixture
def both() -> dict[str, Any]:
    return report(operator("Spruce", honest=True), operator("Willow", honest=False))


def test_it_loads_nothing_and_runs_nothing(draw: Callable[[dict[str, Any]], Page], both: dict[str, Any]) -> None:
    drawn = draw(both)
    names = {tag for tag, _ in drawn.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "use", "image", "video"}
    assert all(reference.startswith("#") for reference in drawn.values("href"))
    attributes = {name for _, found in drawn.tags for name in found}
    assert not [
        name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset", "xlink:href")
    ]
    assert re.sub(r"url\(#[a-z-]+\)", "", drawn.style).count("url(") == 0
    assert "@import" not in drawn.style


def test_the_policy_allows_its_own_style_only(draw: Callable[[dict[str, Any]], Page], both: dict[str, Any]) -> None:
    drawn = draw(both)
    policy = next(a["content"] for _, a in drawn.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(drawn.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_it_is_accessible(draw: Callable[[dict[str, Any]], Page], both: dict[str, Any]) -> None:
    drawn = draw(both)
    ids = list(drawn.values("id"))
    assert len(ids) == len(set(ids))
    named = {part for value in drawn.values("aria-labelledby") for part in value.split()}
    assert named | {value[1:] for value in drawn.values("href")} <= set(ids)
    assert all(attributes.get("scope") for tag, attributes in drawn.tags if tag == "th")
    drawings = [a for tag, a in drawn.tags if tag == "svg"]
    assert all(a.get("role") == "img" or a.get("aria-hidden") == "true" for a in drawings)
    assert next(a for tag, a in drawn.tags if tag == "html")["lang"] == "en"


def test_words_come_first(draw: Callable[[dict[str, Any]], Page], both: dict[str, Any]) -> None:
    text = draw(both).text
    lead = text[text.index("1 Verdicts") : text.index("The rule, and what was measured")]
    assert "2 operators were inspected over 3 min 20 s" in lead
    assert "1 is compliant ( Spruce ); 1 is in violation ( Willow ); none is inconclusive" in lead
    assert "A training run above 1.20 × 10¹² FLOP on these chips would have escaped" in lead
    assert "chance at most 5.00%, if level A holds; evidence up to 21 November 2026, 23:26:00 UTC" in lead
    assert "at full capacity: 16 s." in lead
    for level in both["levels"].values():
        assert level in lead


def test_it_says_both_verdicts_and_why(draw: Callable[[dict[str, Any]], Page], both: dict[str, Any]) -> None:
    text = draw(both).text
    assert "match.record · 41 records, first" in text
    assert "not in the directory" in text
    assert "within" in text
    assert "exceeds" in text
    assert "compute switched off unbounded" in text
    assert "weighbridge check report.json --roots DIR" in text
    assert "It does not replay any training." in text


def test_it_claims_no_more_than_a_bound(draw: Callable[[dict[str, Any]], Page], both: dict[str, Any]) -> None:
    text = draw(both).text.lower()
    for claim in ("innocent", "nothing was found", "no violation was found", "guilty", "certain"):
        assert claim not in text


def test_the_same_body_gives_the_same_bytes(tmp_path: Path, both: dict[str, Any]) -> None:
    write_page(tmp_path / "one.html", both)
    write_page(tmp_path / "two.html", json.loads(json.dumps(both)))
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</style></title></pre><h1>compliant</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "rotaloiv \u202etnailpmoc\u202c \u2066x",
    "\x00\x07\x1b[2J\x7f\x85\u2028\u200b\ufeff",
    "\ud800 lone",
    "Z" + "\u0301" * 200,
    "שלום",
    "x" * 10_000,
    "",
]
# What the page branches on is written by the ledger itself, from closed lists.
KEPT = {"verdict", "outcome", "status", "level", "flop", "comparator", "counting", "policy", "use", "unit", "schema"}
REASONS = {"boot", "sample", "shutdown", "challenge"}


def poisoned(data: Any, poison: str, *, name: str = "") -> Any:
    if isinstance(data, dict):
        return {key: poisoned(value, poison, name=key) for key, value in data.items()}
    if isinstance(data, list):
        return [poisoned(value, poison, name=name) for value in data]
    return data + poison if isinstance(data, str) and name not in KEPT and data not in REASONS else data


@pytest.mark.parametrize("poison", HOSTILE, ids=[ascii(text)[:20] for text in HOSTILE])
def test_hostile_text_stays_text(
    draw: Callable[[dict[str, Any]], Page], both: dict[str, Any], poison: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_LARGEST_RAW_CHARACTERS", 1 << 30)
    expected = [tag for tag, _ in draw(both).tags]
    drawn = draw(poisoned(both, poison))
    assert [tag for tag, _ in drawn.tags] == expected
    shown = [*drawn.words, *(value for _, attributes in drawn.tags for value in attributes.values() if value)]
    for text in shown:
        assert all(character.isprintable() or character in "\n\xa0" for character in text)
    assert max(len(text) for text in shown if not text.startswith("{\n")) < 4000


def test_long_text_is_clipped_and_kept_whole_in_the_raw_record(tmp_path: Path, both: dict[str, Any]) -> None:
    both["operators"][0]["name"] = "n" * 10_000
    both["operators"][0]["rulings"]["A"]["reason"] = "y" * 10_000
    write_page(tmp_path / "report.html", both)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "(10,000 characters; the raw record has all)" in text
    assert text.count("y" * 10_000) == text.count("n" * 10_000) == 1
    assert "n" * 81 not in text[: text.index('id="raw"')]


def test_the_raw_record_is_the_report(draw: Callable[[dict[str, Any]], Page], both: dict[str, Any]) -> None:
    both["operators"][0]["name"] = "</pre>&amp;\u202e\ud800"
    raw = next(words for words in draw(both).words if words.startswith("{\n"))
    assert json.loads(raw) == both


def test_a_raw_record_that_is_too_long_stays_outside(
    draw: Callable[[dict[str, Any]], Page], both: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_LARGEST_RAW_CHARACTERS", 1000)
    assert "It is too long for a page: see report.json beside this file." in draw(both).text


def test_no_operator_gives_no_verdict(draw: Callable[[dict[str, Any]], Page]) -> None:
    text = draw(report()).text
    assert "No operator was inspected, so there is no verdict." in text


def test_an_operator_without_anything(draw: Callable[[dict[str, Any]], Page]) -> None:
    bare = operator("Bare", honest=False)
    bare |= {key: [] for key in ("chips", "unlisted_chips", "records", "runs", "findings", "limits")}
    bare["account"] = bare["account"] | {"coverages": [], "hidden_flop": dict.fromkeys("ABC", 0.0)}
    for ruling in bare["rulings"].values():
        ruling["hidden_flop"] = 0.0
    text = draw(report(bare)).text
    assert "no chip spoke for it" in text
    assert "No record of this operator was explained by an audit." in text
    assert "No run of this operator was opened and audited." in text
    assert "No check was made." in text


def test_unattributed_chips_and_software_agents_are_said(
    draw: Callable[[dict[str, Any]], Page], both: dict[str, Any]
) -> None:
    both["unattributed_chips"] = ["f" * 64]
    both["operators"][0]["limits"].append(
        {"limit": "software agents", "flop": "unbounded", "reason": "keys lie in files", "closed_by": "firmware"}
    )
    text = draw(both).text
    assert "no operator is known to hold" in text
    assert "About level A here: keys lie in files" in text


def test_without_jinja2_it_says_what_to_install(
    tmp_path: Path, both: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingToolError, match=r"weighbridge\[report\]"):
        write_page(tmp_path / "report.html", both)
    assert not list(tmp_path.iterdir())


def test_the_account_adds_up(both: dict[str, Any]) -> None:
    honest = operator_view(both["operators"][0], 1, both["window"])
    assert {part.kind: part.flop for part in honest.parts} == {"declared": 8e11, "exposure": 6e11, "around": 6e11}
    assert honest.levels[0].total == pytest.approx(sum(part.flop for part in honest.parts))
    assert not honest.levels[0].beyond
    assert honest.levels[1].beyond
    drawn = honest.levels[0].bars
    for before, after in pairwise(drawn):
        assert before.x + before.width == pytest.approx(after.x, abs=0.2)
    assert drawn[-1].x + drawn[-1].width < honest.threshold_x


def test_the_account_counts_as_the_rule_does(both: dict[str, Any]) -> None:
    both["operators"][0]["rulings"]["A"]["hidden_flop"] *= 2
    honest = operator_view(both["operators"][0], 1, both["window"])
    assert honest.weight == 2
    assert sum(part.flop for part in honest.parts) == pytest.approx(honest.levels[0].total)


def test_memory_is_of_all_writable_bytes(both: dict[str, Any]) -> None:
    memory = operator_view(both["operators"][0], 1, both["window"]).memory
    assert memory is not None
    assert memory.writable == 41 * 1000
    assert {c.name: c.total for c in memory.classes} == {
        "weights": 4100, "optimizer": 8200, "data": 2050, "zero": 2050, "unexplained": 20500, "not read": 4100,
    }  # fmt: skip
    assert memory.most_beyond == 50
    assert operator_view(both["operators"][1], 2, both["window"]).memory is None


def test_boots_and_marks_lie_where_the_log_says(both: dict[str, Any]) -> None:
    row = timeline(both["operators"][0], both["window"]).rows[0]
    assert [(boot.x, boot.kind) for boot in row.boots] == [(LEFT + WIDTH * 20 / 200, "declared")]
    assert [bar.kind for bar in row.bars] == ["off"]
    assert row.counts == {"outside": 0, "matched": 41, "answered": 1, "unmatched": 0}
    assert len(row.runs) == 1


def test_time_without_evidence_is_drawn(both: dict[str, Any]) -> None:
    cheat = both["operators"][1]
    cheat["records"] = [*cheat["records"][:-2], record(CHEATING, 50, 150.0, "boot", boot=2)]
    cheat["account"]["coverages"].append(coverage(CHEATING, "silent", 50.0, 50.0, []))
    row = timeline(cheat, both["window"]).rows[0]
    silent = [(bar.x, bar.x + bar.width) for bar in row.bars if bar.kind == "silent"]
    at = Scale(WINDOW).x
    assert silent == [(at(150), at(200)), (at(102), at(150)), (at(150), at(200))]


def test_a_chip_that_never_spoke_has_a_row(both: dict[str, Any]) -> None:
    quiet = both["operators"][0]
    quiet["chips"].append("9" * 64)
    quiet["account"]["coverages"].append(coverage("9" * 64, "silent", WINDOW, WINDOW, []))
    row = timeline(quiet, both["window"]).rows[1]
    assert row.bars[1].width == WIDTH
    assert not row.boots


def test_many_chips_and_marks_stay_readable(both: dict[str, Any]) -> None:
    busy = both["operators"][0]
    busy["chips"] += [f"{n:064x}" for n in range(100)]
    busy["records"] += [record(WORKING, 100 + n, 100.0, "matched") for n in range(500)]
    drawn = timeline(busy, both["window"])
    assert drawn.chips_left_out == 41
    assert drawn.marks_left_out >= 499


@pytest.mark.parametrize(
    ("seconds", "unit", "last"),
    [(0.5, "seconds", "0.5"), (200.0, "seconds", "200"), (7200.0, "minutes", "120"), (90_000.0, "hours", "25"),
     (30 * 86_400.0, "days", "30"), (0.0, "seconds", "0")],
)  # fmt: skip
def test_the_time_axis_has_round_ticks(seconds: float, unit: str, last: str) -> None:
    bare = operator("Bare", honest=True) | {"records": [], "chips": []}
    drawn = timeline(bare, {"began": BEGAN, "seconds": seconds})
    assert drawn.unit == unit
    assert drawn.ticks[-1][1] == last
    assert len(drawn.ticks) <= 11


def test_a_stack_drops_what_is_zero_and_shows_what_is_tiny() -> None:
    bars = stack([("a", 0.0, "a", "a"), ("b", 1e-9, "b", "b"), ("c", 5.0, "c", "c")], Scale(10.0))
    assert [bar.kind for bar in bars] == ["b", "c"]
    assert bars[0].width > 0.5


def test_findings_group_by_what_they_say() -> None:
    def matches(n: int, figure: float) -> dict[str, Any]:
        return finding(
            "m", "fail", f"{n}", f"only {figure:.0%} of run {'ab' * 8} matched", figure=figure, hidden_flop=figure
        )

    found = groups(
        [
            finding("p", "pass", "1", "held"),
            matches(1, 0.5),
            finding("m", "fail", "2", "something else"),
            finding("i", "inconclusive", "1", "unread"),
            matches(3, 0.25),
        ]
    )
    assert [(group.outcome, group.check, len(group.findings)) for group in found] == [
        ("fail", "m", 2), ("fail", "m", 1), ("inconclusive", "i", 1), ("pass", "p", 1),
    ]  # fmt: skip
    assert found[0].figures == (0.25, 0.5)
    assert found[0].hidden_flop == 0.5
    assert found[1].figures is None


def test_limits_merge_and_the_unbounded_come_first(both: dict[str, Any]) -> None:
    found = known_limits(both["operators"])
    assert [(limit.limit, limit.figures) for limit in found] == [
        ("compute switched off", (("unbounded", []),)),
        ("adversarial code", ((8e11, ["Spruce"]), (0.0, ["Willow"]))),
    ]


def test_verdicts_by_level(both: dict[str, Any]) -> None:
    assert verdicts_by_level(both)["B"] == [("compliant", []), ("violation", ["Willow"]), ("inconclusive", ["Spruce"])]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (page_text.flop(9.808e12), "9.808 × 10¹² FLOP"),
        (page_text.flop(1e25), "10²⁵ FLOP"),
        (page_text.flop(0.0), "0 FLOP"),
        (page_text.flop("unbounded"), "unbounded"),
        (page_text.flop(None), "–"),
        (page_text.number(2.5e-7, "s"), "2.5 × 10⁻⁷ s"),
        (page_text.percent(0.30000000000000004), "30 %"),
        (page_text.percent(0.9999), "> 99.9 %"),
        (page_text.percent(0.00001), "< 0.1 %"),
        (page_text.percent(10.45), "1,045 %"),
        (page_text.percent(0.0), "0 %"),
        (page_text.duration(182.0), "3 min 2 s"),
        (page_text.duration(7199.9), "120 min"),
        (page_text.duration(30 * 86_400.0), "30 days"),
        (page_text.duration(0.254), "0.254 s"),
        (page_text.measure(16 << 20, "byte"), "16 MiB"),
        (page_text.measure(0.5, "share"), "50 %"),
        (page_text.measure(2.08, "ratio"), "2.08 (ratio)"),
        (page_text.measure(None, None), "–"),
        (page_text.times(1.9e12, 3.8e12), "0.5 times"),
        (page_text.times(1.0, 0.0), "–"),
        (page_text.moment(0.0), "1 January 1970, 00:00:00 UTC"),
        (page_text.moment(1e30), "10³⁰ s"),
        (page_text.short("a" * 64 + "#7"), "aaaaaaaa…#7"),
        (page_text.short("short"), "short"),
    ],
)
def test_figures_read_as_a_person_writes_them(shown: str, expected: str) -> None:
    assert shown.replace("\xa0", " ") == expected


def test_cleaning_leaves_figures_and_the_body_alone(both: dict[str, Any]) -> None:
    before = deepcopy(both)
    assert page_text.clean(both) == before
    assert both == before
    assert page_text.clean({"a\u202e": [1, None, True, "b\n"]}) == {"a‹U+202E›": [1, None, True, "b‹U+000A›"]}
