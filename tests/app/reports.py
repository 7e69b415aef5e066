"""Reports made by hand for the tests of the page, and the page read back."""

import hashlib
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

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
