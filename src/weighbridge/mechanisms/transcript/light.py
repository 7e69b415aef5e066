"""Cheap checks on the whole of a run, before any segment is drawn: what they find, and where they raise suspicion.

None of them proves anything against an operator who knows them, so none fails a run unless an honest one could not
have come out so. What looks odd is said with its figure, and its segment is drawn sooner.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from weighbridge.evidence.findings import Finding
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["LightCheck", "LightChecks", "light_checks", "segment_at"]


@dataclass(frozen=True, kw_only=True)
class LightChecks:
    """What the cheap checks found.

    Attributes:
        findings: what was found, whatever is replayed later.
        unreplayed: checks that could not be made; a replay of the whole run answers what they would have.
        suspicion: by a segment's first step, how much looks odd about it: 0 nothing, 1 one check's worth. Segments
            that are not named have none.
        steps: what the checks cost, in training steps.
    """

    findings: tuple[Finding, ...] = ()
    unreplayed: tuple[Finding, ...] = ()
    suspicion: Mapping[int, float] = field(default_factory=dict)
    steps: float = 0.0


LightCheck = Callable[[Transcript, Sequence[Leg]], LightChecks]
"""A check of a run that is cut into segments."""


def light_checks(transcript: Transcript, segments: Sequence[Leg], *, checks: Sequence[LightCheck]) -> LightChecks:
    """Makes cheap checks one after the other and adds up what they say.

    Args:
        transcript: the opened run.
        segments: the run cut at its anchors, in order.
        checks: which to make. None is made of a journal that names steps which it does not have: that has failed, and
            its numbers may be anything.
    """
    if transcript.reached > transcript.steps_taken:
        return LightChecks()
    findings: list[Finding] = []
    unreplayed: list[Finding] = []
    suspicion: defaultdict[int, float] = defaultdict(float)
    steps = 0.0
    for check in checks:
        made = check(transcript, segments)
        findings += made.findings
        unreplayed += made.unreplayed
        steps += made.steps
        for start, amount in made.suspicion.items():
            suspicion[start] += amount
    return LightChecks(
        findings=tuple(findings), unreplayed=tuple(unreplayed), suspicion=dict(sorted(suspicion.items())), steps=steps
    )


def segment_at(segments: Sequence[Leg], step: int) -> int:
    """Returns the first step of the segment in which the update of ``step`` was made."""
    return max((leg.start for leg in segments if leg.start <= step), default=0)
