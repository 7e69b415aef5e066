"""A sweep over every stretch of a run with forward passes alone: losses at its anchors, and what it remembers.

One process walks the anchors. At each it finds the loss of the very next batch, which the journal has recorded, and of
a few rows, drawn by the verifier, of the stretches on both sides and of rows not yet seen. A share r of all rows costs
``2 r / 3`` of the training: a forward pass is about a third of a step, at both ends of each stretch. Rows are handed
over one by one; a program that needs whole batches (batch normalisation, say) gets whole batches, which then count as
the points.
"""

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from weighbridge.errors import EvidenceError, InputError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.data import order_of_epoch
from weighbridge.mechanisms.transcript.light import LightChecks
from weighbridge.mechanisms.transcript.memorisation import Memory, memory_of, odd_ones, pooled, share_left_out
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg, Probe
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["Sweep", "Terms", "plan_sweep"]

FEWEST: Final = 12
MOST: Final = 2_000
"""Points of a stretch, and held-out points, that are looked at: fewer say nothing, more are not needed."""

FEWEST_BATCHES: Final = 4
"""The same where whole batches are the points."""

MOST_ROWS: Final = 50_000_000
"""Rows whose order is made outside the sandbox: sixteen bytes each."""

FORWARD: Final = 1 / 3
"""Share of a step that a forward pass takes."""

LAST_DIGITS: Final = 1e-3
"""Relative difference of losses up to which another machine's arithmetic may explain it."""

Rows = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How to sweep.

    Attributes:
        share: share of each stretch's rows to look at.
        seed: draws the rows; the verifier's.
        data: training data as handed over, if not at its committed path.
        parent: file of the parent's final state, if the run has a parent.
        core: processor to run on.
    """

    share: float
    seed: bytes
    data: Path | None = None
    parent: Path | None = None
    core: int | None = None


@dataclass(frozen=True)
class _Points:
    """The points of one stretch: each a list of rows."""

    leg: Leg
    trained: tuple[Rows, ...]
    held_out: tuple[Rows, ...]


@dataclass(frozen=True)
class _Plan:
    probes: tuple[Probe, ...]
    points: tuple[_Points, ...]
    batches: tuple[int, ...]
    cost: float


class Sweep:
    """A light check: sweeps a run."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def __call__(self, transcript: Transcript, segments: Sequence[Leg]) -> LightChecks:
        """Makes the sweep; where it cannot be made, says why."""
        if transcript.observed:
            return _not_made(transcript, "a program that drives its own loop cannot be handed rows of its data")
        try:
            return self._sweep(transcript, segments)
        except EvidenceError as error:
            return _not_made(transcript, f"the program did not walk the sweep: {error}")
        except WeighbridgeError as error:
            return _not_made(transcript, f"the sweep cannot be made here: {error}")

    def _sweep(self, transcript: Transcript, segments: Sequence[Leg]) -> LightChecks:
        whole = _needs_batches(transcript)
        plan = plan_sweep(transcript, segments, self._terms, whole=whole)
        try:
            losses = self._losses(transcript, plan)
        except EvidenceError:
            if whole:
                raise
            plan = plan_sweep(transcript, segments, self._terms, whole=True)
            losses = self._losses(transcript, plan)
        loss = _judge_losses(transcript, segments, plan, losses)
        memory = _judge_memory(transcript, plan, losses)
        suspicion = dict(loss.suspicion)
        for start, amount in memory.suspicion.items():
            suspicion[start] = suspicion.get(start, 0.0) + amount
        return LightChecks(
            findings=(*loss.findings, *memory.findings),
            unreplayed=(*loss.unreplayed, *memory.unreplayed),
            suspicion=suspicion,
            steps=plan.cost,
        )

    def _losses(self, transcript: Transcript, plan: _Plan) -> Mapping[int, Mapping[Rows, Sequence[float]]]:
        terms = self._terms
        with replay(
            transcript,
            legs=[Leg(0, 0)],
            probes=plan.probes,
            data=terms.data,
            parent=terms.parent,
            core=terms.core,
        ) as outcome:
            return {
                probe.step: {
                    rows: [float.fromhex(loss) for loss in losses]
                    for rows, losses in zip(probe.rows, outcome.probes[probe.step], strict=True)
                }
                for probe in plan.probes
            }


def plan_sweep(transcript: Transcript, segments: Sequence[Leg], terms: Terms, *, whole: bool) -> _Plan:
    """Chooses rows and anchors.

    Args:
        transcript: the opened run.
        segments: the run cut at its anchors.
        terms: how to sweep.
        whole: whether points are whole batches instead of rows.
    """
    items, size = _sizes(transcript)
    anchors: dict[int, str | None] = {leg.start: leg.anchor for leg in segments}
    last = transcript.events[-1].data
    if last.get("type") == "end" and "anchor" in last and _at_hand(transcript, str(last["anchor"])):
        anchors.setdefault(int(last["step"]), str(last["anchor"]))
    points = [
        found
        for leg in segments
        if leg.until in anchors and (found := _points(transcript, leg, items, size, terms, whole=whole)) is not None
    ]
    wanted: dict[int, dict[Rows, None]] = {step: {} for step in sorted(anchors)}
    batches = []
    for step in anchors:
        if step < transcript.reached and step in transcript.steps:
            wanted[step][_positions(transcript.seed, items, step * size, (step + 1) * size)] = None
            batches.append(step)
    for found in points:
        for step in (found.leg.start, found.leg.until):
            wanted[step].update(dict.fromkeys((*found.trained, *found.held_out)))
    probes = tuple(Probe(step, anchors[step], tuple(rows)) for step, rows in wanted.items() if rows)
    cost = sum(len(rows) for probe in probes for rows in probe.rows) / size * FORWARD
    return _Plan(probes, tuple(points), tuple(batches), cost)


def _at_hand(transcript: Transcript, name: str) -> bool:
    return (transcript.folder / "anchors" / name).is_file()


def _points(transcript: Transcript, leg: Leg, items: int, size: int, terms: Terms, *, whole: bool) -> _Points | None:
    """Chooses points of a stretch and as many of the rest of its last epoch; None where there are too few."""
    begin, end = leg.start * size, leg.until * size
    epoch = (end - 1) // items
    begin = max(begin, epoch * items)
    width = size if whole else 1
    wanted = min(MOST, max(FEWEST, math.ceil(terms.share * (end - begin) / width)))

    def drawn(purpose: str, first: int, last: int) -> tuple[Rows, ...]:
        places = _drawn((last - first) // width, wanted, terms.seed, f"{purpose}/{leg.start}")
        starts = [first + place * width for place in places]
        return tuple(_positions(transcript.seed, items, start, start + width) for start in starts)

    # The newest rows are remembered best: what does not fill a batch is left out at the beginning.
    chosen = drawn("points", begin + (end - begin) % width, end)
    held_out = drawn("held-out", end, (epoch + 1) * items)
    fewest = FEWEST if not whole else FEWEST_BATCHES
    return _Points(leg, chosen, held_out) if min(len(chosen), len(held_out)) >= fewest else None


def _drawn(count: int, wanted: int, seed: bytes, purpose: str) -> list[int]:
    """Returns distinct numbers below ``count`` in ascending order, by SHA-256 of seed, purpose and a counter."""
    if wanted >= count:
        return list(range(max(0, count)))
    found: set[int] = set()
    turn = 0
    while len(found) < wanted:
        key = b"weighbridge/sweep/1" + seed + turn.to_bytes(8, "big") + purpose.encode()
        found.add(int.from_bytes(hashlib.sha256(key).digest()) % count)
        turn += 1
    return sorted(found)


def _sizes(transcript: Transcript) -> tuple[int, int]:
    """Returns rows of the data, and rows of a batch.

    Raises:
        InputError: they are more than an order is made of here.
    """
    items = min(int(array["shape"][0]) for array in transcript.contents["data"]["arrays"].values())
    size = int(transcript.contents["loop"]["batch_size"])
    if not (0 < items <= MOST_ROWS and 0 < size <= MOST_ROWS):
        raise InputError(f"has {items} rows in batches of {size}", where="data", mend="sweep data of fewer rows")
    return items, size


def _positions(seed: bytes, items: int, begin: int, end: int) -> Rows:
    """Returns the rows at the positions from ``begin`` to ``end`` - 1 of the order that the seed fixes."""
    rows: list[int] = []
    while begin < end:
        epoch, offset = divmod(begin, items)
        part = _order(seed, epoch, items)[offset : offset + end - begin]
        rows += part.tolist()
        begin += len(part)
    return tuple(rows)


@functools.lru_cache(maxsize=2)
def _order(seed: bytes, epoch: int, items: int) -> npt.NDArray[np.int64]:
    return order_of_epoch(seed, epoch, items)


def _needs_batches(transcript: Transcript) -> bool:
    """Returns whether the model keeps running statistics of its batches, which one row has none of."""
    return any(name.rpartition(".")[2].startswith("running_") for name in transcript.events[0].data["names"])


def _judge_losses(
    transcript: Transcript,
    segments: Sequence[Leg],
    plan: _Plan,
    losses: Mapping[int, Mapping[Rows, Sequence[float]]],
) -> LightChecks:
    """Compares the loss that each anchored state has on its next batch with the one recorded there."""
    items, size = _sizes(transcript)
    compared, worst, at = 0, 0.0, 0
    suspicion: dict[int, float] = {}
    for step in plan.batches:
        recorded = [float.fromhex(loss) for loss in transcript.steps[step]["loss"]]
        found = losses[step][_positions(transcript.seed, items, step * size, (step + 1) * size)]
        if not recorded or not found:
            continue
        compared += 1
        apart = _apart(recorded[0], found[0])
        if apart > worst:
            worst, at = apart, step
        if apart > LAST_DIGITS:
            for leg in segments:
                if step in (leg.start, leg.until):
                    suspicion[leg.start] = 1.0
    if not compared:
        reason = "no recorded loss could be compared with an anchor's"
        return LightChecks(unreplayed=(transcript_finding(transcript, "anchor-loss", Outcome.INCONCLUSIVE, reason),))
    reason = f"at {compared} anchors the recorded loss of the next batch is the anchored weights' own"
    if worst > 0:
        reason = (
            f"the loss recorded at step {at} is not that of the weights anchored there (relatively {worst:.2g} apart)"
        )
    finding = transcript_finding(
        transcript,
        "anchor-loss",
        Outcome.PASS if worst == 0 else Outcome.INCONCLUSIVE,
        reason,
        figure=worst,
        unit="relative difference",
    )
    return LightChecks(findings=(finding,), suspicion=suspicion)


def _apart(one: float, other: float) -> float:
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    scale = max(abs(one), abs(other))
    return abs(one - other) / scale if math.isfinite(scale) else math.inf


def _judge_memory(
    transcript: Transcript, plan: _Plan, losses: Mapping[int, Mapping[Rows, Sequence[float]]]
) -> LightChecks:
    memories: list[Memory] = []
    for found in plan.points:
        before, after = losses[found.leg.start], losses[found.leg.until]
        falls = [[sum(before[rows]) - sum(after[rows]) for rows in side] for side in (found.trained, found.held_out)]
        if all(math.isfinite(value) for side in falls for value in side):
            memories.append(memory_of(found.leg.start, *falls))
    if not memories:
        reason = "no stretch between anchors leaves enough rows unseen in its epoch to compare with"
        return LightChecks(unreplayed=(_finding(transcript, Outcome.INCONCLUSIVE, reason),))
    odd, chance = odd_ones(memories), pooled(memories)
    share = plan.cost / max(1, transcript.steps_taken)
    cost = f"; forward passes worth {plan.cost:.3g} steps, {share:.2%} of the training"
    left_out = share_left_out(memories)
    bound = f"at most {left_out:.0%} of the rows were left out, if all stretches left out the same share (95 %)"
    said = transcript_finding(
        transcript,
        "subtraction",
        Outcome.PASS if left_out < 1 else Outcome.INCONCLUSIVE,
        f"over {len(memories)} stretches {bound}"
        if left_out < 1
        else "training remembers too little, or too few rows were looked at, to bound the share of rows left out",
        figure=left_out,
        unit="share of rows",
        confidence=0.95,
    )
    if odd:
        stretch = min(odd, key=lambda memory: memory.score)
        reason = f"from step {stretch.start} on the rows claimed are remembered less than elsewhere in this run"
        figure = stretch.score
    elif chance > 0.01:
        reason = "the rows claimed are not remembered more than rows not seen: it shows nothing"
        figure = chance
    else:
        reason = f"the rows claimed are remembered more than rows not seen, in {len(memories)} stretches"
        figure = chance
    fits = not odd and chance <= 0.01
    memory = _finding(
        transcript,
        Outcome.PASS if fits else Outcome.INCONCLUSIVE,
        reason + cost,
        figure=figure,
        unit="standard deviations" if odd else "chance",
    )
    suspicion = {memory.start: 1.0 for memory in odd}
    return LightChecks(findings=(memory,), unreplayed=(said,), suspicion=suspicion, steps=0.0)


def _not_made(transcript: Transcript, reason: str) -> LightChecks:
    return LightChecks(unreplayed=(_finding(transcript, Outcome.INCONCLUSIVE, reason),))


def _finding(transcript: Transcript, outcome: Outcome, reason: str, **figures: Any) -> Finding:
    return transcript_finding(transcript, "memorisation", outcome, reason, **figures)
