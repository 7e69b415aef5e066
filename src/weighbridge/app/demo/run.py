"""The demo, from set-up to the checked report. Nothing is scripted but who tries what."""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weighbridge.app.assess_commands import write_report
from weighbridge.app.demo.operators import (
    Operator,
    available_cores,
    corpus_file,
    make_operators,
    run_operators,
)
from weighbridge.app.demo.scene import CONFIG, RATE_HZ, Cast, cast, demo_rule, sizes
from weighbridge.app.demo.world import World, say, seal
from weighbridge.errors import InputError, WeighbridgeError
from weighbridge.ledger.account import Capacity
from weighbridge.ledger.assess import assess, audits_of
from weighbridge.ledger.check import check_report
from weighbridge.ledger.inspect import audit_all
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.report import REPORT
from weighbridge.ledger.workspace import Workspace
from weighbridge.mechanisms.chip.challenge import answer_challenge

__all__ = ["run_demo"]

ALPHA = 0.05
CPU_RATIO_LIMIT = 1.5
UNEXPLAINED_LIMIT_BYTES = 16 << 20


def run_demo(out: Path, *, seed: int | None) -> dict[str, Any]:
    """Runs the whole scene and writes a sealed report into ``out``.

    Returns:
        What ``weighbridge demo --json`` prints.

    Raises:
        InputError: ``out`` is not empty, or its trust roots exist already.
        WeighbridgeError: a program failed.
    """
    roots_folder = out.with_name(out.name + ".roots")
    for folder in (out, roots_folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError("exists and is not empty", where=folder, mend="name another folder with --out")
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    scratch = Path(tempfile.mkdtemp(prefix="weighbridge-demo-"))
    scratch.chmod(0o711)
    say(f"seed {seed}; the bundle goes to {out}, trust roots to {roots_folder}")
    try:
        return _scene(out, roots_folder, scratch, seed)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scene(out: Path, roots_folder: Path, scratch: Path, seed: int) -> dict[str, Any]:
    cores = available_cores()
    measured = _measure(scratch, cores[0])
    name, peak = max(measured["rates"].items(), key=lambda item: item[1])
    players = cast(seed)
    plan = sizes(seed, step_s=measured["step_s"], step_flop=measured["step_flop"], peak=peak)
    rates = ", ".join(f"{kind} {rate / 1e9:.0f}" for kind, rate in measured["rates"].items())
    say(f"the verifier measured one core: {rates} GFLOP/s at peak; a training step takes {measured['step_s']:.3f} s")

    world = World(scratch, roots_folder)
    try:
        policy = _publish_plan(world, players, Capacity(peak, name), scratch)
        say(f"rule: at most {float(policy.rule.limit):.2e} FLOP a lineage, hidden compute included; logged first")
        corpus = scratch / "corpus.npy"
        corpus_file(corpus, context=int(CONFIG["context"]))
        operators = make_operators(world, players)
        run_operators(world, operators, players, plan, corpus=corpus, cores=cores)
        _close(world, operators)
        _collect(out, world, operators, corpus)
        world.export_log(out / "log")
        say("the log is closed; the inspector opens the transcripts and draws audits")
        _audit(world, out, cores, scratch)
        body = _report(out, world, scratch)
    finally:
        world.close()
    findings = check_report(out / REPORT, roots_folder)
    say(f"weighbridge check {out / REPORT} --roots {roots_folder}: holds ({len(findings)} checks)")
    return _summary(body, json.loads((scratch / "truth.json").read_text())["truth"])


def _measure(scratch: Path, core: int) -> dict[str, Any]:
    here = Path(__file__).parent
    config = scratch / "measure.json"
    config.write_text(json.dumps(CONFIG))
    ended = subprocess.run(
        [sys.executable, str(here / "measure.py"), str(here / "programs" / "gpt"), str(config)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if ended.returncode != 0:
        raise WeighbridgeError(f"the measurement failed: {ended.stderr.strip()[-800:]}", where="demo")
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def _publish_plan(world: World, players: Cast, capacity: Capacity, scratch: Path) -> Policy:
    truth = seal(scratch / "truth.json", {name: role.value for name, role in players.roles.items()})
    policy = Policy(
        rule=demo_rule(capacity.flop_per_s),
        operators=tuple(players.roles),
        alpha=ALPHA,
        capacity=capacity,
        nonce_commitment=hashlib.sha256(world.nonce_key).hexdigest(),
        late_limit_s=1.0,
        cpu_ratio_limit=CPU_RATIO_LIMIT,
        unexplained_limit_bytes=UNEXPLAINED_LIMIT_BYTES,
        audits=None,
    )
    identifier = world.publish("inspection-plan", {**policy.as_payload(), "sealed_truth": truth})
    (world.roots_folder / "plan").write_text(identifier)
    return policy


def _close(world: World, operators: Sequence[Operator]) -> None:
    """Challenges every chip that the directory knows, and closes the inspection."""
    for operator in operators:
        for chip, folder in zip(operator.ids, operator.chips, strict=True):
            nonce = secrets.token_bytes(16).hex()
            world.publish("inspection-challenge", {"chip": chip, "nonce": nonce})
            answer = answer_challenge(folder, nonce).read_bytes()
            world.client.wait(world.client.submit(answer), timeout=60)
    world.publish("inspection-close", {"nonce_key": world.nonce_key.hex()})


def _collect(out: Path, world: World, operators: Sequence[Operator], corpus: Path) -> None:
    """Gathers what operators hand over: leaf tables, salts, transcripts, data.

    Of the anchors after freezes, those go along that replay has to load; it passes through the states of the others,
    whose digests are in the log.
    """
    from weighbridge.mechanisms.transcript.data import Dataset
    from weighbridge.mechanisms.transcript.plans import plan_freezes
    from weighbridge.mechanisms.transcript.transcript import Transcript

    (out / "data").mkdir(parents=True)
    shutil.copyfile(corpus, out / "data" / f"{Dataset.of(corpus).root.hex()}.npy")
    for operator in operators:
        for chip, folder in zip(operator.ids, operator.chips, strict=True):
            for part in ("leaves", "salts"):
                shutil.copytree(folder / part, out / "chips" / chip / part)
        for run in operator.runs():
            target = out / "runs" / run.name
            shutil.copytree(run, target, ignore=shutil.ignore_patterns("freeze-*.safetensors"))
            transcript = Transcript.open(run, world.roots)
            for leg in plan_freezes(transcript, transcript.freezes).legs:
                if leg.anchor is not None:
                    shutil.copyfile(run / "anchors" / leg.anchor, target / "anchors" / leg.anchor)


def _audit(world: World, out: Path, cores: Sequence[int], scratch: Path) -> None:
    workspace = Workspace.open(out, world.roots)
    for audit in audit_all(workspace, cores=cores, scratch=scratch, progress=say):
        world.publish("run-audit", audit.as_dict())
    shutil.rmtree(out / "log")
    (world.roots_folder / "checkpoint").unlink()
    world.export_log(out / "log")


def _report(out: Path, world: World, scratch: Path) -> dict[str, Any]:
    workspace = Workspace.open(out, world.roots)
    body = assess(workspace, audits_of(workspace))
    write_report(out, body, world.inspector)
    return body


def _summary(body: dict[str, Any], truth: dict[str, str]) -> dict[str, Any]:
    """Joins the verdicts with the truth, only now."""
    keys = ("name", "verdict", "hidden_flop", "hidden_flop_by_level", "declared_flop", "audited", "due", "confidence")
    operators = []
    for operator in body["operators"]:
        row = {key: operator[key] for key in keys} | {"rule": operator["rule"], "truth": truth[operator["name"]]}
        row["findings"] = [f for f in operator["findings"] if f["outcome"] != "pass"]
        row["verdict_by_level"] = {level: r["verdict"] for level, r in operator["rulings"].items()}
        row["reason_by_level"] = {level: r["reason"] for level, r in operator["rulings"].items()}
        operators.append(row)
    rule = body["rule"]
    return {"rule": rule["id"], "threshold_flop": rule["threshold"], "rate_hz": RATE_HZ, "operators": operators}
