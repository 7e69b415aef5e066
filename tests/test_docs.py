"""The documentation against the code: links, command lines, formats, and the worked numbers."""

import ast
import base64
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from weighbridge.app.demo import scene
from weighbridge.app.main import build
from weighbridge.errors import EvidenceError
from weighbridge.evidence import draw_form
from weighbridge.evidence.certificates import Role
from weighbridge.evidence.statement import verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.account import Account, BootUse, Capacity, Samples, account_for, settle
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.report import KIND as REPORT_KIND
from weighbridge.ledger.verdict import Lineage, rule_on
from weighbridge.ledger.workspace import KINDS
from weighbridge.mechanisms.chip import docket, record
from weighbridge.mechanisms.inspection.plan import Opening as Opening_
from weighbridge.mechanisms.inspection.plan import VisitPlan
from weighbridge.mechanisms.inspection.record import FORMS, VisitRecord
from weighbridge.mechanisms.inspection.visit import Close
from weighbridge.mechanisms.registry.epcis import read_event
from weighbridge.mechanisms.transcript.commitment import Opening
from weighbridge.mechanisms.transcript.sealed.agreement import OUTPUT_BYTES, Terms
from weighbridge.mechanisms.transcript.sealed.agreement import Output as SealedOutput
from weighbridge.mechanisms.transcript.sealed.queries import ANSWER_BYTES, Query
from weighbridge.mechanisms.transcript.sealed.question import RULES
from weighbridge.mechanisms.transcript.sealed.record import CHECKS, RECORD_BYTES, SealedRecord, most_bits
from weighbridge.planning import ChipRun, every_form, plan_items, plan_snapshots
from weighbridge.rules import WorkItem, load_rules

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
_FENCE = re.compile(r"^ *```(.*)$")
_PROGRAMS = ("weighbridge", ".venv/bin/weighbridge")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its info string, its text."""

    page: Path
    line: int
    info: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    info, start, inside = "", 0, list[str]()
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            inside.append(line)
        elif not fenced:
            fenced, info, start, inside = True, fence[1].strip(), number, []
        else:
            fenced = False
            yield Block(page, start, info, "\n".join(inside) + "\n")
    assert not fenced, f"{page}: a block that begins at line {start} does not end"


def block(page: str, info: str, containing: str = "") -> str:
    found = [b.text for b in blocks(ROOT / page) if b.info == info and containing in b.text]
    assert len(found) == 1, f"{page} has {len(found)} blocks {info!r} with {containing!r}"
    return found[0]


def prose(page: Path) -> str:
    """Returns a page without its fenced blocks."""
    kept, fenced = [], False
    for line in page.read_text().splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            kept.append(line)
    return "\n".join(kept)


def anchors(page: Path) -> set[str]:
    headings = [line.lstrip("#").strip() for line in prose(page).splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(page: str, heading: str) -> str:
    text = (ROOT / page).read_text()
    _, found, rest = text.partition(f"\n## {heading}\n")
    assert found, f"{page} has no section {heading}"
    return rest.partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Returns the cells of every table row, headings and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def commands() -> list[Any]:
    found = []
    for page in PAGES:
        for shell in (b for b in blocks(page) if b.info in ("sh", "bash", "console")):
            for line in shell.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] in _PROGRAMS:
                    found.append(pytest.param(words[1:], id=f"{page.name}:{shell.line}:{' '.join(words[1:3])}"))
    return found


@pytest.fixture(scope="module")
def program() -> Any:
    return typer.main.get_command(build())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_relative_to(ROOT), target
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}"


@pytest.mark.parametrize("words", commands())
def test_command_lines_are_real(words: list[str], program: Any) -> None:
    command, context, rest = program, None, list(words)
    while hasattr(command, "resolve_command"):
        context = command.context_class(command, parent=context, info_name=command.name)
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None, words
        command = found
    # Parses every option and argument, converts them, misses none; nothing is executed.
    command.make_context(command.name, rest, parent=context)


def test_there_are_command_lines_and_a_wrong_one_would_show(program: Any) -> None:
    assert len(commands()) >= 25
    with pytest.raises(Exception, match="No such option"):
        test_command_lines_are_real(["check", "report.json", "--root", "x"], program)
    with pytest.raises(Exception, match="No such command"):
        test_command_lines_are_real(["log", "show-me"], program)


def test_python_in_the_pages_is_python() -> None:
    for page in PAGES:
        for python in (b for b in blocks(page) if b.info == "python"):
            compile(python.text, f"{page}:{python.line}", "exec")


def test_practice_makes_what_the_readme_uses(tmp_path: Path, program: Any) -> None:
    result = CliRunner().invoke(build(), ["practice", str(tmp_path / "try")])
    assert result.exit_code == 0, result.output
    assert TrustRoots.load(tmp_path / "try" / "roots").log_key.origin
    printed = [line.strip() for line in result.output.replace("\\\n", " ").splitlines()]
    for line in (line for line in printed if line.startswith("weighbridge ")):
        test_command_lines_are_real(shlex.split(line)[1:], program)
    # The keeper makes nonce.hex.
    for name in set(re.findall(r"try/keys/([\w.]+)", block("README.md", "sh", "practice try"))) - {"nonce.hex"}:
        assert (tmp_path / "try" / "keys" / name).is_file(), name


def test_figures_of_the_readme() -> None:
    run = ChipRun(chips=100_000, flop=5.76e23, chip_flops=1e15, days=30, period=30, rate=0.1)
    chips = every_form(run, confidence=0.9).worst
    items = plan_items(3_000_000, missing=1000, confidence=0.9)
    snapshots = plan_snapshots(4000, chip_flops=1e15, days=30, limit=1e24)
    told = f"{chips.samples_per_year:,.0f} chips a year, {chips.samples_per_period:,.0f} a month"
    text = " ".join((ROOT / "README.md").read_text().split())
    told += ", for the Prover that is hardest to catch"
    assert f"answers {told}; the second {items.sample:,} items; the third {snapshots.snapshots} audited" in text
    assert load_rules().rule("miri.2025.ctb.strict").limit == 1e24
    rule = scene.demo_rule(2.0)
    assert rule.limit == scene.RULE_SHARE * scene.WINDOW_S * 2.0, "the README says how the demo's rule is made"


def test_every_kind_is_documented_with_its_signers() -> None:
    table = {row[0]: row for row in rows(section("docs/statements.md", "Who may say what"))}
    for kind, roles in {**KINDS, REPORT_KIND: frozenset({Role.INSPECTOR})}.items():
        assert section("docs/statements.md", kind).strip()
        assert set(table[f"[`{kind}`](#{kind})"][1].split(", ")) == {role.value for role in roles}, kind


def test_every_claim_of_a_chip_record_is_documented() -> None:
    told = {row[0].replace("−", "-"): row[1].strip("`") for row in rows(section("docs/statements.md", record.KIND))}
    for label, (name, _) in record._CLAIMS.items():
        assert told[str(label)] == name
    assert {told["10"], told["256"], told["265"], told["267"]} == {"eat_nonce", "ueid", "eat_profile", "bootcount"}


def test_every_check_of_a_chip_is_documented() -> None:
    assert {row[0].strip("`") for row in rows(section("docs/chip.md", "What verify checks"))[1:]} == set(docket.CHECKS)


def test_fields_of_statements() -> None:
    def told(kind: str) -> set[str]:
        return {row[0].strip("`") for row in rows(section("docs/statements.md", kind))[1:]}

    opening = Opening.fresh(dict.fromkeys(("data", "code", "config", "environment", "program", "loop")))
    commitment = opening.commitment(chips=[], public={"steps": 1, "flop_per_step": None, "parent": None})
    assert told("run-commitment") == set(commitment)
    shown = json.loads(block("docs/statements.md", "json", '"contents"'))
    assert set(shown) == set(commitment)
    assert set(shown["contents"]) == set(commitment["contents"])
    assert set(shown["declared"]) == set(commitment["declared"])
    capacity = Capacity(1.0, "fp32")
    plan = Policy(
        rule=scene.demo_rule(1.0),
        operators=("a",),
        alpha=0.05,
        capacity=capacity,
        nonce_commitment="",
        late_limit_s=1.0,
        cpu_ratio_limit=1.5,
        unexplained_limit_bytes=1,
        audits=None,
    )
    assert told("inspection-plan") == set(plan.as_payload())
    assert told("run-audit") == audit_fields()


def test_fields_of_draws_and_visits() -> None:
    def told(kind: str) -> set[str]:
        return {row[0].strip("`") for row in rows(section("docs/statements.md", kind))[1:]}

    assert told("draw-frame") == {f.name for f in fields(draw_form.Frame)} | {"kind", *draw_form.SOURCES}
    assert told("draw") == {"frame", "source", "seed", "drawn", "reserves"}
    assert told("visit-plan") == {f.name for f in fields(VisitPlan)}
    assert told("visit-opening") == {f.name for f in fields(Opening_)}
    assert told("visit-record") == {f.name for f in fields(VisitRecord)} | set(FORMS)
    assert told("visit-close") == {f.name for f in fields(Close)}
    forms = {row[0].strip("`"): row[1] for row in rows(section("docs/statements.md", "visit-record"))}
    for what, form in FORMS.items():
        assert set(re.findall(r"`(\w+)`", forms[what])) >= set(form), what


def test_fields_of_the_sealed_room() -> None:
    def told(kind: str) -> set[str]:
        return {row[0].strip("`") for row in rows(section("docs/statements.md", kind))[1:]}

    terms = Terms(run="ab" * 32, parties=("11" * 32, "22" * 32), builds=("33" * 32,), seed_hash="44" * 32)
    output = SealedOutput(terms.digest, terms.run, terms.builds[0], SealedRecord.nothing())
    query = Query.of({"answers": [{"name": "x", "low": 0, "high": 1, "bits": 1}]}, {"program.py": b""}, run=terms.run)
    assert told("sealed-agreement") == set(terms.payload())
    assert told("sealed-verdict") == set(output.verdict_payload(terms))
    assert told("query-registration") == set(query.payload())
    page = (ROOT / "docs/sealed.md").read_text()
    left = {row[0]: row for row in rows(section("docs/sealed.md", "What leaves"))}
    assert left["record"][1:3] == [f"{RECORD_BYTES:,}", str(most_bits())]
    assert left["agreed output"][1] == f"{OUTPUT_BYTES:,}" and left["answer to a query"][1] == str(ANSWER_BYTES)
    assert {f"`{rule}`" for rule in RULES} <= {
        row[0] for row in rows(section("docs/sealed.md", "Rules that are shipped"))
    }
    assert f"{len(CHECKS)} checks" in page


def test_every_check_of_draws_and_visits_is_documented() -> None:
    text = (ROOT / "docs/visits.md").read_text()
    folders = [ROOT / "src/weighbridge" / name for name in ("mechanisms/inspection", "ledger", "evidence")]
    sources = "".join(path.read_text() for folder in folders for path in sorted(folder.glob("*.py")))
    checks = set(re.findall(r'"(visit\.[a-z]+|inspection\.(?:challenge|readout))"', sources))
    checks |= {f"draw.{name}" for name in re.findall(r'_finding\(evidence, "([a-z]+)"', sources)}
    checks |= {f"visit.{what}" for what in ("serial", "seal", "tamper", "refusal", "silence")}
    assert len(checks) >= 20
    assert {check for check in checks if f"`{check}`" not in text} == set()


def audit_fields() -> set[str]:
    """Returns the fields of a run's audit without importing it: it would bring torch."""
    tree = ast.parse((ROOT / "src/weighbridge/ledger/audit.py").read_text())
    (audit,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "RunAudit")
    lines = (node for node in audit.body if isinstance(node, ast.AnnAssign))
    return {line.target.id for line in lines if isinstance(line.target, ast.Name)}


def test_the_printed_statement_verifies() -> None:
    root = base64.b64decode(block("docs/statements.md", "base64 root"))
    raw = base64.b64decode(block("docs/statements.md", "base64 statement"))
    statement = verify_statement(raw, [root], kind="run-nonce", role="inspector")
    assert (len(raw), statement.issuer, statement.issued_at) == (829, "Example Inspector", 1795262400)
    assert statement.subject == statement.payload["run"]
    text = (ROOT / "docs/statements.md").read_text()
    assert f"`{raw[:6].hex(' ')}`" in text
    assert statement.identity.key_id[:16] in text
    with pytest.raises(EvidenceError):
        verify_statement(raw[:-1] + bytes([raw[-1] ^ 1]), [root])


def test_the_printed_custody_event_reads() -> None:
    event = read_event(json.loads(block("docs/statements.md", "json", "bizStep")), where="docs")
    assert (event.step, event.party, event.other) == ("shipping", "Distributor", "Alder")


def test_the_worked_account() -> None:
    given = json.loads(block("docs/account.md", "json", "capacity_flop_per_s"))
    told = " ".join(section("docs/account.md", "Worked example").split())
    capacity = Capacity(given["capacity_flop_per_s"], given["format"])
    one = given["boot"]
    declared = one["steps"] * one["flop_per_step"]

    def boot(active: float, compute: float, needed: float) -> BootUse:
        return BootUse(
            chip="c", boot=1, active_s=active, compute_s=compute, needed_s=needed,
            declared_active_s=active, tail_s=0.0, use="declared run" if needed else "uncovered",
        )  # fmt: skip

    def account(*more: BootUse, **changed: int) -> Account:
        return account_for(
            [boot(one["active_s"], one["compute_s"], one["needed_s"]), *more],
            Samples(**{**given["samples"], **changed}),
            chips=given["chips"],
            capacity=capacity,
            window_s=given["window_s"],
            alpha=given["alpha"],
        )

    def verdicts(x: dict[str, float], counting: str) -> dict[str, tuple[str, float]]:
        changes = {"id": "docs", "threshold": given["rule_flop"], "counting": counting}
        rule = scene.demo_rule(1.0).model_copy(update=changes)
        work = (WorkItem("training", format="fp32", operations=declared),)
        ruled = rule_on(
            load_rules().with_rule(rule),
            rule,
            lineages=[Lineage(("run",), work)],
            hidden_flop=x,
            hidden_format=given["format"],
            findings=[],
        )
        return {level: (r.verdict.value, r.declared_flop + r.hidden_flop) for level, r in ruled.items()}

    settled = account()
    x = settled.hidden_flop
    free = one["compute_s"] - one["needed_s"]
    assert f"| {free:.3f} s |" in told
    assert f"| {settled.exposure_s:.3f} s |" in told
    assert f"| X at level A | ({free:.3f} + {settled.exposure_s:.3f}) s × 1e11 FLOP/s | {x['A']:.3e} FLOP |" in told
    assert x["B"] == x["C"]
    assert f"| {x['B']:.3e} FLOP |" in told
    assert f"| {declared:.3e} FLOP |" in told
    plain, doubled = verdicts(x, "us_ops_dense"), verdicts(x, "miri_2025")
    assert f"{plain['A'][1]:.3e} FLOP: {plain['A'][0]} |" in told
    assert f"{doubled['A'][1]:.3e} FLOP: {doubled['A'][0]} |" in told
    assert f"declared work alone is {2 * declared:.3e} |" in told
    assert plain["B"] == plain["C"]
    assert f"{plain['B'][1]:.3e} FLOP: {plain['B'][0]} |" in told

    missed = account(audited=21, unexplained=1)
    total = declared + missed.hidden_flop["A"]
    assert f"exposure would be {missed.exposure_s:.3f} s and X {missed.hidden_flop['A']:.3e} FLOP" in told
    assert f"{total:.3e} FLOP is a violation" in told
    assert total > given["rule_flop"]
    assert f"X would be {account(boot(25.0, 25.0, 0.0)).hidden_flop['A']:.3e} FLOP" in told
    drawn = Samples(rate_hz=1.0, due=22, audited=10, unexplained=0)
    bound, _ = settle(drawn, span_s=one["active_s"], alpha=given["alpha"])
    assert f"the span's bound would be {bound / one['active_s']:.2%} of 30 s, {bound:.3f} s".replace("%", " %") in told
