"""What a replay shows of a run: the steps that it covers, the CPU time that they need, that its states are the logged.

The replayed program is the operator's and runs where replay's own notes are made. Whatever it could have written
itself is compared here with what was logged before or measured from outside.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.plans import AuditPlan, plan_freezes
from weighbridge.mechanisms.transcript.replay import Replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Freeze, Transcript

__all__ = [
    "check_states",
    "decayed",
    "failed_replay",
    "freezes_by_segment",
    "lower_envelope",
    "plan_audit",
    "spans",
    "step_cpu",
    "unreplayed",
]

BLOCK_STEPS = 10
"""Steps whose mean CPU time is compared: shorter blocks would take a lucky step for the price of all."""

_MOST_FACTORS = 8
"""Different decays of one update that are tried."""

_CLOCK_SHARE, _CLOCK_SECONDS = 1.03, 0.25
"""How far a program's count of its own CPU time may exceed the outside's, whose last look may miss the end."""


def lower_envelope(step_cpu_s: Sequence[float]) -> float:
    """Returns the least mean CPU time a step over blocks of ten: what the declared steps need at least.

    The spread between blocks is the honest slack; taking the least charges it to the operator instead of forgiving
    it (protocol section 4.4).
    """
    blocks = [step_cpu_s[i : i + BLOCK_STEPS] for i in range(0, len(step_cpu_s), BLOCK_STEPS)]
    whole = [block for block in blocks if len(block) == BLOCK_STEPS] or blocks
    return min((sum(block) / len(block) for block in whole if block), default=0.0)


def freezes_by_segment(transcript: Transcript) -> Iterator[tuple[int, Freeze]]:
    """Yields every claim with the number of its segment."""
    numbers = [n for n, s in enumerate(transcript.segments) for event in s.events if event.type == "freeze"]
    yield from zip(numbers, transcript.freezes, strict=True)


def plan_audit(transcript: Transcript, wanted: Sequence[Freeze], *, whole: bool) -> AuditPlan:
    """Plans the replay: the stretches after the wanted freezes, or the whole run in one walk from its seed."""
    plan = plan_freezes(transcript, wanted)
    if not whole:
        return plan
    until = transcript.reached
    states = {step for freeze in wanted for step in freeze.candidates if step <= until}
    return AuditPlan((Leg(0, until),), frozenset({0, *states}), frozenset(s for s in transcript.digests if s <= until))


def check_states(transcript: Transcript, outcome: Replay, plan: AuditPlan) -> list[Finding]:
    """Hashes the states that the replayed program wrote out: the digests it wrote beside them are only its word."""
    wrong = [
        step
        for step in sorted(plan.captures)
        if step in transcript.digests
        and outcome.captured(step).digest(transcript.salt(step)).hex() != transcript.digests[step]
    ]
    if not wrong:
        return []
    return [failed_replay(transcript, f"the state at step {wrong[0]} that replay wrote out is not the committed one")]


def decayed(state: TrainingState, hyperparameters: Any) -> list[TrainingState]:
    """Returns the weights as an update holds them between decoupled weight decay and its step proper, one a factor.

    AdamW and its kin first write ``w · (1 - lr · decay)`` in place (Loshchilov and Hutter 2019, algorithm 2), for all
    tensors at once where the update is batched. A stop in between finds neither the state before nor the one after.
    Computed here from a state that was compared with the log, so it explains nothing that the log does not fix.

    Args:
        state: the state before the update.
        hyperparameters: groups by optimizer, as the journal says and replay confirmed.
    """
    groups = [group for groups in (hyperparameters or {}).values() for group in groups]
    rates = [(group.get("lr"), group.get("weight_decay")) for group in groups]
    factors = {1 - lr * decay for lr, decay in rates if type(lr) is float and isinstance(decay, int | float)}
    weights = {
        name: tensor for name, tensor in state.tensors.items() if "/parameter/" in name and tensor.is_floating_point()
    }
    return [
        TrainingState({name: tensor.mul(factor) for name, tensor in weights.items()}, state.plain)
        for factor in sorted(factors - {1.0})[:_MOST_FACTORS]
    ]


def step_cpu(transcript: Transcript, outcome: Replay) -> tuple[float, list[Finding]]:
    """Returns CPU seconds a step needs, never more than what was measured from outside the sandbox.

    The program counts its own time while it runs, since the outside sees no steps; it cannot have used more in all
    than the outside saw.
    """
    steps = outcome.step_cpu_s
    counted, seen = outcome.startup_cpu_s + sum(steps), outcome.result.cpu_seconds
    doubts = []
    if counted > seen * _CLOCK_SHARE + _CLOCK_SECONDS:
        doubts.append(
            failed_replay(
                transcript,
                f"the program says that its replay took {counted:.1f} s of CPU time, {seen:.1f} s were measured from"
                " outside: it tampers with its clock",
            )
        )
    outside = max(0.0, seen - outcome.startup_cpu_s) / len(steps) if steps else 0.0
    return max(0.0, min(lower_envelope(steps), outside)), doubts


def spans(transcript: Transcript, plan: AuditPlan) -> Iterator[dict[str, Any]]:
    """Yields, for each segment on one chip and boot, the steps between its first and its last claim that cover time.

    Only steps that were replayed, and of steps that a resumption trained again only the last time: what was lost is
    nowhere shown. A segment whose freezes name several chips or boots covers none: one process runs on one chip.
    """
    replayed = {step for leg in plan.legs for step in range(leg.start, leg.until)}
    newest: dict[int, int] = {}
    claims: dict[int, list[Freeze]] = {}
    for number, segment in enumerate(transcript.segments):
        newest.update((int(event.data["step"]), number) for event in segment.events if event.type == "step")
    for number, freeze in freezes_by_segment(transcript):
        claims.setdefault(number, []).append(freeze)
    for number, freezes in claims.items():
        if len({(f.chip, f.boot) for f in freezes}) > 1:
            continue
        first, last = freezes[0], freezes[-1]
        steps = sum(newest.get(step) == number for step in replayed if first.step <= step < last.step)
        yield {"segment": number, "chip": first.chip, "boot": first.boot, "steps": steps}


def failed_replay(transcript: Transcript, reason: str) -> Finding:
    """Returns the finding that replay does not bear out the run."""
    return Finding(
        check="transcript.replay",
        subject=transcript.run,
        outcome=Outcome.FAIL,
        reason=reason,
        evidence=(transcript.commitment.id,) if transcript.commitment else (),
        redo=f"weighbridge transcript verify runs/{transcript.folder.name} --roots ROOTS",
    )


def unreplayed(transcript: Transcript, reason: str) -> Finding:
    """Returns the finding that the program could not be run, which shows nothing and accuses nobody."""
    finding = failed_replay(transcript, f"the run cannot be replayed: {reason}. It covers no chip-time")
    return dataclasses.replace(finding, outcome=Outcome.INCONCLUSIVE)
