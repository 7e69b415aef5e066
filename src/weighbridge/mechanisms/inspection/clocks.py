"""The agreement's clocks: what was due when, when an alarm was to sound, and whether it was kept.

Scher et al., arXiv 2511.10783: access within 24 hours of a challenge inspection's notice (article X(3)), disputes
acknowledged within 36 hours and clarified within 5 days (article XI(1)). Alarms for access at 12 and 20 hours are
ours, as are those a quarter before the end of the others. A refusal is a dispute, from the moment it is on record.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from weighbridge.mechanisms.inspection.plan import Opening, VisitPlan
from weighbridge.mechanisms.inspection.record import VisitRecord

__all__ = ["ACCESS", "ACKNOWLEDGEMENT", "CLARIFICATION", "Clock", "clocks"]

_HOUR: Final = 3_600
ACCESS: Final = 24 * _HOUR
"""Seconds from notice to access."""
ACKNOWLEDGEMENT: Final = 36 * _HOUR
"""Seconds from a dispute to its acknowledgement."""
CLARIFICATION: Final = 5 * 24 * _HOUR
"""Seconds from a dispute to its clarification."""
_ALARMS: Final = {
    ACCESS: (12 * _HOUR, 20 * _HOUR),
    ACKNOWLEDGEMENT: (27 * _HOUR,),
    CLARIFICATION: (90 * _HOUR,),
}


@dataclass(frozen=True, kw_only=True)
class Clock:
    """One thing that was due.

    Attributes:
        name: what is due, and on account of what.
        started_at: Unix seconds.
        due_at: Unix seconds.
        alarms: Unix seconds of the alarms before it is due.
        met_at: Unix seconds at which it was done; None if it has not been.
    """

    name: str
    started_at: int
    due_at: int
    alarms: tuple[int, ...]
    met_at: int | None

    def state(self, now: float) -> str:
        """Returns ``kept``, ``late``, ``running``, ``alarm`` or ``broken``."""
        if self.met_at is not None:
            return "kept" if self.met_at <= self.due_at else "late"
        if now > self.due_at:
            return "broken"
        return "alarm" if any(now >= alarm for alarm in self.alarms) else "running"

    def as_dict(self, now: float) -> dict[str, Any]:
        """Returns plain JSON data with the state at a time."""
        return {**asdict(self), "alarms": list(self.alarms), "state": self.state(now)}


def clocks(plan: VisitPlan, opening: Opening | None, records: Sequence[VisitRecord]) -> list[Clock]:
    """Returns every clock that a visit has started, in the order started."""
    given = [record.at for record in records if record.what == "access"]
    if opening is not None and opening.access_at is not None:
        given.append(opening.access_at)
    found = [_clock("access to the site", plan.notified_at, ACCESS, min(given, default=None))]
    for record in records:
        if record.what not in ("dispute", "refusal"):
            continue
        for what, length in (("acknowledgement", ACKNOWLEDGEMENT), ("clarification", CLARIFICATION)):
            answers = [r.at for r in records if r.what == what and r.details["about"] == record.sequence]
            name = f"{what} of record {record.sequence} ({record.what})"
            found.append(_clock(name, record.at, length, min(answers, default=None)))
    return found


def _clock(name: str, start: int, length: int, met: int | None) -> Clock:
    alarms = tuple(start + offset for offset in _ALARMS[length])
    return Clock(name=name, started_at=start, due_at=start + length, alarms=alarms, met_at=met)
