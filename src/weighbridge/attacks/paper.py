"""Transcripts written at a desk: journals forged, rewritten, cut or relabelled by an operator with its keys."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from weighbridge.attacks.attempts import FROZEN, STEPS, distance, end_anchor, opened, stolen, trial_of
from weighbridge.attacks.field import Field, Tampering
from weighbridge.attacks.forgery import Events, anchor_replaced, log_statements, rewrite, sign_again
from weighbridge.attacks.trial import Attack, Trial
from weighbridge.mechanisms.transcript.anchors import read_anchor, write_anchor
from weighbridge.mechanisms.transcript.commitment import COMMITMENT, salt_for
from weighbridge.mechanisms.transcript.state import TrainingState

__all__ = ["ATTACKS"]

_SOURCE: Final = "found for this project"
_WITHHELD: Final[Tampering] = ("statements_withheld", {})


def _forged_whole(seed: int, folder: Path) -> Trial:
    """A journal of states on a straight line to stolen weights, losses made up, signed and logged as it stands."""
    with opened(folder) as field:
        project = field.project(seed=seed)
        target = stolen(project)
        run = project.train(tampering=[FROZEN, _WITHHELD]).run
        _straight_story(run, target)
        _handed_in(field, run)
        return trial_of(field.judge(run), cost=0.0, apart=distance(end_anchor(run), target))


def _straight_story(run: Path, target: Path) -> None:
    first, last = read_anchor(run / "anchors" / "state-0000-0000000.safetensors"), read_anchor(target)
    key = bytes.fromhex(json.loads((run / "opening.json").read_text())["key"])

    def on_the_way(step: int) -> TrainingState:
        tensors = {
            name: first.tensors[name].lerp(tensor, step / STEPS) if "/parameter/" in name else tensor
            for name, tensor in last.tensors.items()
        }
        return TrainingState(tensors, {**last.plain, "step": step})

    def edit(events: Events) -> None:
        for event in events[1:]:
            step = event["step"] + (event["type"] == "step")
            if "loss" in event:
                event["loss"] = [(2.3 * 0.97**step).hex()]
            if "state" in event:
                event["state"] = on_the_way(step).digest(salt_for(key, f"state/{step}")).hex()
            if "anchor" in event:
                write_anchor(run / "anchors" / event["anchor"], on_the_way(step))

    rewrite(run, edit)


def _handed_in(field: Field, run: Path) -> None:
    sign_again(run, field.operator)
    log_statements(run, field.spool)


def _edited(edit: Callable[[Events], None], *, signed: bool, logged: bool) -> Callable[[int, Path], Trial]:
    """An honest run whose journal is rewritten after the log took its statements."""

    def attempt(seed: int, folder: Path) -> Trial:
        with opened(folder) as field:
            run = field.copy(field.project(seed=seed).train(tampering=[FROZEN]).run)
            rewrite(run, edit)
            if signed:
                sign_again(run, field.operator)
            if logged:
                log_statements(run, field.spool)
            return trial_of(field.judge(run), cost=0.0)

    return attempt


def _a_loss(events: Events) -> None:
    next(event for event in events if event["type"] == "step" and event["step"] == 33)["loss"] = ["0x1.0p-3"]


def _without_tail(events: Events) -> None:
    """Ends the run at its anchor of step 30, as one that was ended early."""
    end = events[-1]
    anchored = next(event for event in events if event["type"] == "freeze" and event["step"] == 30)
    cut = next(i for i, e in enumerate(events) if e["type"] == "step" and e["step"] == 30)
    end |= {"step": 30, "finished": False, "state": anchored["state"], "anchor": anchored["anchor"]}
    events[cut:] = [end]


def _withheld_segment(seed: int, folder: Path) -> Trial:
    """The first half of a resumed run is left away, and the second half relabelled as the whole."""
    with opened(folder) as field:
        project = field.project(seed=seed)
        half = project.train(tampering=[FROZEN, _WITHHELD, ("killed_at", {"step": 20})])
        assert half.folder is not None
        run = project.train(tampering=[_WITHHELD], resume=half.folder).run
        kept = (run / "journal-0001.jsonl").read_bytes()
        (run / "journal-0001.jsonl").unlink()
        (run / "journal-0000.jsonl").write_bytes(kept)
        begins = json.loads(kept.splitlines()[0])["step"]

        def relabel(events: Events) -> None:
            for event in events:
                event["step"] -= begins
            events[0] |= {"segment": 0, "parent": None}
            events[-1]["finished"] = False

        rewrite(run, relabel)
        key = bytes.fromhex(json.loads((run / "opening.json").read_text())["key"])
        for name in {path.name for path in (run / "anchors").iterdir()} - {
            "state-0001-0000020.safetensors",
            end_anchor(run).name,
        }:
            (run / "anchors" / name).unlink()
        _renumbered(run, begins, key)
        _handed_in(field, run)
        return trial_of(field.judge(run), cost=1.0)


def _renumbered(run: Path, begins: int, key: bytes) -> None:
    """Gives anchors the numbers of the shortened run; digests in between are those of nothing that exists."""
    for path in (run / "anchors").iterdir():

        def earlier(tensors: dict[str, Any], plain: dict[str, Any]) -> None:
            plain["step"] -= begins

        anchor_replaced(run, path.name, earlier)


def _anchor_swapped(seed: int, folder: Path) -> Trial:
    """An anchor is exchanged after the run for stolen weights; digests and statements are made to fit, and logged."""
    with opened(folder) as field:
        project = field.project(seed=seed)
        source = read_anchor(stolen(project)).tensors
        run = project.train(tampering=[FROZEN, _WITHHELD]).run

        def swap(tensors: dict[str, Any], plain: dict[str, Any]) -> None:
            tensors.update({name: source[name] for name in tensors if "/parameter/" in name})

        anchor_replaced(run, "freeze-0000-000011.safetensors", swap)
        _handed_in(field, run)
        return trial_of(field.judge(run), cost=0.0)


def _ground(seed: int, folder: Path) -> Trial:
    """The best of four commitments is shown; the log holds the others, and an account of runs counts them."""
    with opened(folder) as field:
        project = field.project(seed=seed, steps=10)
        runs = [project.train().run for _ in range(4)]
        losses = {run: float.fromhex(json.loads(_last_step(run))["loss"][0]) for run in runs}
        best = min(losses, key=lambda run: losses[run])
        held = sum(statement.kind == COMMITMENT for statement in field.logged())
        words = f"{held} commitments in the log for one run shown"
        return trial_of(field.judge(best), cost=4.0, steps=10, words=words)


def _last_step(run: Path) -> str:
    lines = (run / "journal-0000.jsonl").read_text().splitlines()
    return [line for line in lines if '"type":"step"' in line][-1]


def _chained(seed: int, folder: Path) -> Trial:
    """Three runs, each of which begins with the weights that the one before ended with, declared as random starts."""
    with opened(folder) as field:
        project = field.project(seed=seed, steps=10)
        run = project.train().run
        for _ in range(2):
            run = project.train(tampering=[("weights_moved", {"step": 0, "anchor": str(end_anchor(run))})]).run
        return trial_of(field.judge(run), cost=1.0, steps=10)


def _early(seed: int, folder: Path) -> Trial:
    """A run is trained before anything is committed, and its state, moments included, declared as the start."""
    with opened(folder) as field:
        project = field.project(seed=seed)
        target = end_anchor(project.train(environment={"WEIGHBRIDGE_SPOOL": ""}).run)
        moved = ("weights_moved", {"step": 0, "anchor": str(target), "optimizer": True})
        return trial_of(field.judge(project.train(tampering=[moved]).run), cost=1.0)


def _attack(
    name: str, what: str, attempt: Callable[[int, Path], Trial], *, expected: str | None, source: str = _SOURCE
) -> Attack:
    return Attack(name=name, what=what, source=source, attempt=attempt, expected=expected)


_SHAVIT: Final = "Shavit 2023 (arXiv 2303.11341), section 5.1"

ATTACKS: Final[tuple[Attack, ...]] = (
    _attack(
        "journal-forged",
        "a whole journal is made up without training: states on a line to stolen weights, signed and logged first",
        _forged_whole,
        expected="transcript.replay",
    ),
    _attack(
        "journal-rewritten",
        "one loss is changed after the log took the statements; the chain of heads is made to hold again",
        _edited(_a_loss, signed=False, logged=False),
        expected="transcript.journal",
    ),
    _attack(
        "journal-rewritten-and-signed",
        "the same, and every statement is signed anew and logged besides",
        _edited(_a_loss, signed=True, logged=True),
        expected="transcript.log",
    ),
    _attack(
        "tail-cut",
        "the last ten steps are left away with their statements; what is left ends well",
        _edited(_without_tail, signed=True, logged=False),
        expected="transcript.log",
    ),
    _attack(
        "segment-withheld",
        "the first half of a resumed run is left away and the second relabelled as a run of its own",
        _withheld_segment,
        expected="transcript.initial-state",
    ),
    _attack(
        "anchor-swapped",
        "an anchor in the middle is exchanged for stolen weights, and all that was signed made to fit before logging",
        _anchor_swapped,
        expected="transcript.replay",
    ),
    _attack(
        "chained-runs",
        "three short runs, each from the weights with which the one before ended, declared as random starts",
        _chained,
        expected="transcript.initial-state",
        source=_SHAVIT,
    ),
    _attack(
        "early-start",
        "training begins before the commitment; its state is declared as the start",
        _early,
        expected="transcript.initial-state",
        source=_SHAVIT,
    ),
    _attack(
        "seed-ground",
        "four runs are committed and the best is shown: each is in the log, so they are counted, not refused",
        _ground,
        expected=None,
        source="docs/attacks.md",
    ),
)
