"""Why an honest program may come out otherwise in its replay: seeds by the clock, an end by the clock."""

from typing import Final

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.replay_outcome import Replay
from weighbridge.mechanisms.transcript.state import TrainingState
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["ASKS_OTHERWISE", "asks_otherwise", "but_for_generators", "why_it_need_not_repeat"]

ASKS_OTHERWISE: Final = (
    "The program asks for other seeds whenever it is run (by the clock, or by the system's randomness), so its"
    " beginning cannot be repeated: let it ask for a number"
)


def asks_otherwise(transcript: Transcript, asked: str) -> bool:
    """Returns whether a program whose seeds are bound asked for others than when it was recorded."""
    told = str(transcript.events[0].data.get("asked", ""))
    return bool(told) and told != asked


def why_it_need_not_repeat(transcript: Transcript, outcome: Replay) -> str:
    """Returns why an honest run may begin otherwise in its replay; empty where it may not.

    Who begins otherwise on purpose gains what he gains by handing nothing over: no such run covers anything.
    """
    if "inside" in transcript.contents["config"]:
        return "It began to record itself after its model was built, which no seed need repeat"
    if transcript.observed and not transcript.bound:
        return (
            "Its seeds are its own, and may come from the clock or the system, which no replay repeats: seed it with"
            " numbers"
        )
    return ASKS_OTHERWISE if asks_otherwise(transcript, outcome.asked) else ""


def but_for_generators(transcript: Transcript, outcome: Replay, step: int) -> bool:
    """Returns whether a run's last state is met in all but its generators, from which no step drew any more.

    A replay ends where the program's next step would begin, and has drawn its batch; a program that the clock stopped
    never came to it.
    """
    end = transcript.events[-1].data
    if not transcript.observed or step != transcript.reached or step not in outcome.ends or "anchor" not in end:
        return False
    try:
        claimed = transcript.state(str(end["anchor"]))
        met = outcome.captured(step)
    except EvidenceError:
        return False
    mixed = TrainingState(
        {name: (claimed if name.startswith("generator/") else met).tensors[name] for name in claimed.tensors}
        if claimed.tensors.keys() == met.tensors.keys()
        else {},
        {name: (claimed if name.startswith("generator/") else met).plain[name] for name in claimed.plain}
        if claimed.plain.keys() == met.plain.keys()
        else {},
    )
    return bool(mixed.plain) and mixed.digest(transcript.salt(step)).hex() == transcript.digests[step]
