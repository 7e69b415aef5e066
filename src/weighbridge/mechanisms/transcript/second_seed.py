"""Deriving the initial state under a second seed: whether the program uses its seed, and where its weights come from.

A committed program cannot tell which of two seeds is the run's: code and data were committed before either existed, and
both derivations see the same files. The second one is the verifier's own, drawn when it asks, and named in the finding.
"""

import hashlib
from pathlib import Path

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.anchors import read_anchor
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.two_draws import TwoDraws, compare_draws, fingerprint

__all__ = ["check_second_seed", "judge_draws"]

_CHECK = "second-seed"


def check_second_seed(
    transcript: Transcript,
    *,
    draw: bytes,
    core: int | None = None,
    scratch: Path | None = None,
    seconds: float = 120.0,
    parent: Path | None = None,
    data: Path | None = None,
) -> Finding:
    """Derives the initial state under another seed and compares it with the committed one.

    Never a failure: an honest program may load public weights or hold large tables. What it finds, it finds at the
    error rate of :data:`.two_draws.ALPHA` a run.

    Args:
        transcript: the opened run, whose initial state was derived and is the committed one.
        draw: the verifier's own random bytes.
        core: processor to pin the process to.
        scratch: folder for temporary files.
        seconds: wall-clock limit.
        parent: file of the declared parent's final state, checked, if the run has one.
        data: of a program that was watched, what the operator handed over, if not at its committed path.
    """
    seed = hashlib.sha256(b"weighbridge/second-seed/1" + bytes.fromhex(transcript.run) + draw).digest()
    try:
        first = transcript.state(str(transcript.events[0].data["anchor"]))
        if first.digest(transcript.salt(0)).hex() != transcript.digests.get(0):
            raise EvidenceError("is not the committed state", where="the first anchor")
        with replay(
            transcript,
            legs=[Leg(0, 0)],
            captures=[0],
            without_data=not transcript.observed,
            data=data,
            parent=parent,
            core=core,
            scratch=scratch,
            seconds=seconds,
            seed=seed,
        ) as outcome:
            second = outcome.captured(0)
        handed_on = read_anchor(parent) if parent is not None else None
    except WeighbridgeError as error:
        reason = f"the initial state cannot be derived under a second seed: {error}"
        return transcript_finding(transcript, _CHECK, Outcome.INCONCLUSIVE, reason)
    return judge_draws(transcript, first, second, seed=seed, parent=handed_on)


def judge_draws(
    transcript: Transcript, first: TrainingState, second: TrainingState, *, seed: bytes, parent: TrainingState | None
) -> Finding:
    """Judges two initial states: the run's, and one derived under ``seed``."""

    def finding(outcome: Outcome, reason: str, figure: float, unit: str) -> Finding:
        words = f"{reason} (second seed {seed.hex()[:16]})"
        return transcript_finding(transcript, _CHECK, outcome, words, figure=figure, unit=unit)

    one, other = (
        {name: tensor for name, tensor in state.tensors.items() if name.startswith("model")}
        for state in (first, second)
    )
    if {name: (t.shape, t.dtype) for name, t in one.items()} != {n: (t.shape, t.dtype) for n, t in other.items()}:
        reason = "under a second seed the program builds tensors of other names or shapes, which cannot be compared"
        return finding(Outcome.INCONCLUSIVE, reason, 0.0, "values")
    told = compare_draws(
        one,
        other,
        generators=_generators(first, second),
        parent=[fingerprint(tensor) for tensor in parent.tensors.values()] if parent is not None else (),
    )
    if told.stuck:
        reason = (
            f"the generators of {' and '.join(told.stuck)} stand alike under two seeds: what they draw follows from"
        )
        reason += " the code, and could be tried out before the commitment"
        return finding(Outcome.INCONCLUSIVE, reason, float(len(told.stuck)), "generators")
    if told.fixed_bytes > told.fixed_allowed:
        reason = f"{told.fixed:,} values are the same under two seeds ({', '.join(told.fixed_names[:3])}) and take"
        reason += f" {told.fixed_bytes:,} bytes compressed, more than {told.fixed_allowed:,}: the seed is not used for"
        reason += " them, or they are weights from code or data, of unknown origin; name their run as parent"
        return finding(Outcome.INCONCLUSIVE, reason, float(told.fixed), "values")
    if abs(told.statistic) > told.threshold:
        reason = f"two draws of {told.worst} agree more than independent ones do: T = {told.statistic:.1f}, where"
        reason += (
            f" {told.threshold:.1f} is passed by chance at most once in a million runs; a part of it follows from no"
        )
        reason += " seed"
        return finding(Outcome.INCONCLUSIVE, reason, told.statistic, "T")
    return finding(Outcome.PASS, _passed(told), told.smallest_share, "share")


def _passed(told: TwoDraws) -> str:
    reason = f"{told.drawn:,} initial values are independent draws under two seeds; a share of"
    reason += f" {told.smallest_share:.2g} of their variance from elsewhere would have shown"
    if told.fixed:
        reason += f"; {told.fixed:,} follow from no seed, in {told.fixed_bytes:,} bytes compressed"
    if told.tables:
        reason += f"; tables by their form: {', '.join(told.tables[:3])}"
    if told.inherited:
        reason += f"; {told.inherited:,} are the declared parent's"
    return reason


def _generators(one: TrainingState, other: TrainingState) -> list[tuple[str, bool]]:
    alike = [("PyTorch", bool((one.tensors["generator/torch"] == other.tensors["generator/torch"]).all()))]
    for name, word in (("generator/numpy", "NumPy"), ("generator/python", "Python")):
        alike.append((word, canonical(one.plain.get(name)) == canonical(other.plain.get(name))))
    return alike
