"""The statistical test of a run's first state, where nothing bound its seed."""

from collections.abc import Sequence

from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.initial_statistics import ERROR, judge_initial_weights
from weighbridge.mechanisms.transcript.light import LightChecks, segment_at
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["check_initial_weights"]


def check_initial_weights(transcript: Transcript, segments: Sequence[Leg]) -> LightChecks:
    """Tests whether the weights before step 1 look freshly initialised; says nothing where the seed gives them.

    A run that an inspector answered has its first state rebuilt from the seed, which shows more; one that begins with
    a declared parent's weights has trained ones by its own word.
    """
    if transcript.contents.get("parent") or (transcript.nonce is not None and not transcript.observed):
        return LightChecks()
    try:
        state = transcript.state(str(transcript.events[0].data["anchor"]))
        if state.digest(transcript.salt(0)).hex() != transcript.digests.get(0):
            raise EvidenceError("is not the state that was committed", where="first anchor")
    except EvidenceError as error:
        reason = f"whether the first weights are a fresh start cannot be tested: {error}"
        return LightChecks(findings=(transcript_finding(transcript, "initial-weights", Outcome.INCONCLUSIVE, reason),))
    found = judge_initial_weights({name: t for name, t in state.tensors.items() if "/parameter/" in name})
    if not found.tested:
        reason = f"none of its {found.untested} tensors is large enough to be told from trained weights"
        return LightChecks(findings=(transcript_finding(transcript, "initial-weights", Outcome.INCONCLUSIVE, reason),))
    if found.p_value > ERROR:
        reason = f"the first weights look freshly initialised: {found.tested} tensors fit common starts"
        outcome, suspicion = Outcome.PASS, {}
    else:
        reason = (
            f"{len(found.doubted)} of {found.tested} tensors before step 1 fit no common start, {found.worst} least:"
            " trained weights, or a start that is not among the common ones"
        )
        outcome, suspicion = Outcome.INCONCLUSIVE, {segment_at(segments, 0): 1.0}
    finding = transcript_finding(
        transcript,
        "initial-weights",
        outcome,
        f"{reason} (an honest start is doubted with chance at most {ERROR:.0%})",
        figure=found.p_value,
        unit="p",
        confidence=1 - ERROR,
    )
    return LightChecks(findings=(finding,), suspicion=suspicion)
