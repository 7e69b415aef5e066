"""The report's page: self-contained, honest about every string and figure, the same bytes for the same body."""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weighbridge.app import page
from weighbridge.app.page import write_page
from weighbridge.errors import MissingToolError

from .reports import (
    Page,
    operator,
    report,
)


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
