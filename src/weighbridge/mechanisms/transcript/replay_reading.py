"""Reading what a replayed program wrote out, when the last of its processes is gone: the plan's lines, or nothing."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.files import read_plain
from weighbridge.mechanisms.transcript.allowance import LOG_BYTES
from weighbridge.mechanisms.transcript.outside import OutsideError, Shown, path_asked_for
from weighbridge.mechanisms.transcript.replay_outcome import Replay, ReplayedState
from weighbridge.mechanisms.transcript.replay_plan import Leg, Probe
from weighbridge.mechanisms.transcript.witness import Witness, most_overstated
from weighbridge.sandbox import IsolatedResult

__all__ = ["read_outcome"]


def read_outcome(
    out: Path,
    result: IsolatedResult,
    legs: Sequence[Leg],
    digests: frozenset[int],
    witness: Witness,
    *,
    probes: Sequence[Probe] = (),
    mend: str | None,
    shown: Shown | None = None,
    of_any: bool = False,
) -> Replay:
    """Reads what the program wrote out: exactly the steps and states of the plan, in their order, or nothing."""
    if shown is not None:
        _refuse_outside(result, shown, of_any=of_any)
    words = result.output.strip().splitlines()[-1:] or ["no output"]
    ending = f"it {result.ending}: {words[0][:400]}"
    try:
        data = read_plain(out / "replay.jsonl", limit_bytes=LOG_BYTES)
    except EvidenceError as error:
        reason = f"the program did not reach its loop when replayed; {ending}"
        raise EvidenceError(reason, where="replay", mend=mend) from error
    if result.timed_out or result.overflowed or result.returncode != 0:
        raise EvidenceError(f"the replayed program did not end well; {ending}", where="replay")
    try:
        return _parse(data, out, result, legs, digests, witness, probes)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise EvidenceError(f"the replayed program wrote nonsense ({error})", where="replay") from error


def _refuse_outside(result: IsolatedResult, shown: Shown, *, of_any: bool) -> None:
    """Refuses a replay whose program ended for want of a path that is not shown inside."""
    if result.returncode == 0 or result.timed_out or result.overflowed or result.exceeded:
        return
    if (path := path_asked_for(result.output, shown, of_any=of_any)) is not None:
        reason = (
            "the program ended because this path is not there, or not to be written to, in a sandbox: it is neither"
        )
        reason += " in the program's folder as committed nor in its data. So nothing of it could be shown"
        raise OutsideError(reason, where=path, mend=shown.mend)


def _parse(
    data: bytes,
    out: Path,
    result: IsolatedResult,
    legs: Sequence[Leg],
    digests: frozenset[int],
    witness: Witness,
    probes: Sequence[Probe],
) -> Replay:
    states: list[list[ReplayedState]] = [[] for _ in legs]
    steps: dict[int, Mapping[str, Any]] = {}
    said: list[float] = []
    bounds: list[tuple[float, float]] = []
    flop: float | None = None
    threads, asked = 0, ""
    losses: dict[int, list[list[str]]] = {probe.step: [] for probe in probes}
    expected = _expected(legs, probes)
    position = 0
    for line in data.splitlines(keepends=True):
        position += len(line)
        event = json.loads(line)
        kind, cpu_ns = event["type"], event["cpu_ns"]
        if type(cpu_ns) is not int or cpu_ns < 0 or (said and cpu_ns / 1e9 < said[-1]):
            raise ValueError("its CPU time runs backwards")
        said.append(cpu_ns / 1e9)
        bounds.append(witness.bounds(position))
        if kind == "flop":
            flop = float(event["per_step"])
            if not 0 <= flop < math.inf:
                raise ValueError("its FLOP are no number")
            continue
        leg, awaited, step = next(expected, (0, "nothing", None))
        if kind != awaited or event.get("step") != step or isinstance(step, bool):
            raise ValueError(f"a line of type {kind!r:.40} where the plan has {awaited}")
        if kind == "start":
            threads, asked = int(event["threads"]), str(event.get("asked", ""))
        elif kind == "state":
            digest = event.get("digest")
            if (step in digests) != isinstance(digest, str):
                raise ValueError(f"the digest of step {step} is missing or was not asked for")
            states[leg].append(ReplayedState(event["step"], digest, cpu_ns))
        elif kind == "step":
            steps[event["step"]] = event
        elif kind == "probe":
            losses[event["step"]].append([float.fromhex(loss).hex() for loss in event["loss"]])
    if next(expected, None) is not None:
        raise ValueError("it ends before the plan does")
    return Replay(
        states=tuple(tuple(leg) for leg in states),
        steps=steps,
        flop_per_step=flop,
        startup_cpu_s=said[0],
        result=result,
        folder=out,
        threads=threads,
        ends=tuple(leg.until for leg in legs),
        overstated_s=most_overstated(said, bounds),
        probes=losses,
        asked=asked,
    )


def _expected(legs: Sequence[Leg], probes: Sequence[Probe]) -> Iterator[tuple[int, str, int | None]]:
    """Yields the lines that a plan's walk writes, in order: leg, type and step."""
    yield 0, "start", None
    for number, leg in enumerate(legs):
        yield number, "state", leg.start
        for step in range(leg.start, leg.until):
            yield number, "step", step
            yield number, "state", step + 1
    for probe in probes:
        for _ in probe.rows:
            yield 0, "probe", probe.step
    yield 0, "end", None
