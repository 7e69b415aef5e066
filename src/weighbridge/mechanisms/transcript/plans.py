"""Which stretches of a run to replay, for a choice of freezes or segments."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Freeze, Transcript

__all__ = ["AuditPlan", "plan_freezes", "plan_segments", "segments_of"]


@dataclass(frozen=True)
class AuditPlan:
    """One replay process: stretches in ascending order, states to write out, digests to compare."""

    legs: tuple[Leg, ...]
    captures: frozenset[int]
    digests: frozenset[int]

    @property
    def steps(self) -> int:
        """Steps that the plan replays."""
        return sum(leg.until - leg.start for leg in self.legs)


def _second_digest_after(transcript: Transcript, step: int) -> int:
    """Returns the second committed digest after ``step``: a state forged at an anchor must survive both."""
    later = sorted(s for s in transcript.digests if s > step and s % transcript.stride == 0)
    return (later[1] if len(later) > 1 else later[0]) if later else transcript.reached


def _within(legs: Sequence[Leg], steps: Iterable[int]) -> frozenset[int]:
    """Returns the steps that lie in a leg. A journal may name any number as a step, so legs are not listed out."""
    starts = [leg.start for leg in legs]  # ascending
    return frozenset(s for s in steps if starts and starts[0] <= s <= legs[bisect_right(starts, s) - 1].until)


def _anchors(transcript: Transcript) -> dict[int, str]:
    """Returns the states at which replay can begin, by step: those whose files were handed over.

    A program whose loop is its own walks there without training, if it can at all: not where its steps are told by its
    backward passes, since the first of them would have been computed before the walk ends.
    """
    if transcript.segments[0].events[0].data.get("by_passes"):
        return {}
    found: dict[int, str] = {}
    for event in transcript.events:
        if event.type in ("segment", "anchor", "freeze"):
            name = str(event.data["anchor"])
            if (transcript.folder / "anchors" / name).is_file():
                found.setdefault(int(event.data["step"]), name)
    return found


def plan_freezes(transcript: Transcript, freezes: Iterable[Freeze]) -> AuditPlan:
    """Plans the audit of snapshots (protocol section 4.2), the run's first boundary always included.

    From each freeze's anchor forward to the second digest after it; a freeze inside an update starts from the
    anchor before, since its own shows only the state after the update, and so does one whose anchor was not handed
    over. Stretches that meet are walked as one.
    """
    legs = [Leg(0, min(_second_digest_after(transcript, 0), transcript.reached))]
    captures: set[int] = set()
    anchored = sorted(_anchors(transcript).items())
    for freeze in sorted(freezes, key=lambda f: f.step):
        captures.update(freeze.candidates)
        until = min(_second_digest_after(transcript, freeze.step), transcript.reached)
        begin = freeze.candidates[0]
        if begin <= legs[-1].until:
            legs[-1] = Leg(legs[-1].start, max(legs[-1].until, until, freeze.step), legs[-1].anchor)
            continue
        usable = [(step, name) for step, name in anchored if legs[-1].until < step <= begin]
        if usable:
            step, name = usable[-1]
            legs.append(Leg(step, max(until, freeze.step), name))
        else:
            legs[-1] = Leg(legs[-1].start, max(until, freeze.step), legs[-1].anchor)
    captures.add(0)
    return AuditPlan(tuple(legs), _within(legs, captures), _within(legs, transcript.digests))


def segments_of(transcript: Transcript) -> list[Leg]:
    """Returns the run cut at its anchors: each stretch between two anchored states, the first from the seed.

    Of anchors that stayed with the operator, the stretches on both sides are one.
    """
    anchors = _anchors(transcript)
    bounds = sorted(step for step in anchors if 0 < step < transcript.reached)
    starts = [0, *bounds]
    ends = [*bounds, transcript.reached]
    return [Leg(start, end, anchors[start] if start else None) for start, end in zip(starts, ends, strict=True)]


def plan_segments(transcript: Transcript, segments: Iterable[Leg]) -> AuditPlan:
    """Plans the replay of whole segments, every committed digest in them compared, both ends included."""
    legs: list[Leg] = []
    for leg in sorted(segments, key=lambda item: item.start):
        if legs and legs[-1].until == leg.start:
            legs[-1] = Leg(legs[-1].start, leg.until, legs[-1].anchor)
        else:
            legs.append(leg)
    return AuditPlan(tuple(legs), frozenset(), _within(legs, transcript.digests))
