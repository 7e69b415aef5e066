"""The agreement's clocks: what was due when, when an alarm was to sound, and whether it was kept.

Scher et al., arXiv 2511.10783: access within 24 hours of a challenge inspection's notice (article X(3)), a site within
12 hours of an international airport (article V(1)(b)), disputes acknowledged within 36 hours and clarified within 5
days (article XI(1)). Alarms for access at 12 and 20 hours are ours, as are those a quarter before the end of the
others. A refusal is a dispute, from the moment it is on record; so is a delay of access, from the moment it was due,
unless somebody spoke up for the whole site before.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from weighbridge.mechanisms.inspection.plan import Opening, VisitPlan
from weighbridge.mechanisms.inspection.record import VisitRecord

__all__ = ["ACCESS", "ACKNOWLEDGEMENT", "CLARIFICATION", "REACH", "Clock", "clocks"]

_HOUR: Final = 3_600
ACCESS: Final = 24 * _HOUR
"""Seconds from notice to access."""
ACKNOWLEDGEMENT: Final = 36 * _HOUR
"""Seconds from a dispute to its acknowledgement."""
CLARIFICATION: Final = 5 * 24 * _HOUR
"""Seconds from a dispute to its clarification."""
REACH: Final = 12 * _HOUR
"""Seconds from an international airport to the site."""
_ALARMS: Final = {
    ACCESS: (12 * _HOUR, 20 * _HOUR),
    ACKNOWLEDGEMENT: (27 * _HOUR,),
    CLARIFICATION: (90 * _HOUR,),
    REACH: (9 * _HOUR,),
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


def clocks(plan: VisitPlan, opening: Opening | None, records: Sequence[VisitRecord], *, now: float) -> list[Clock]:
    """Returns every clock that a visit has started, in the order started.

    Args:
        plan: the visit's plan.
        opening: its opening, or None.
        records: its records, in order.
        now: Unix seconds; what is overdue then starts the clocks of a dispute.
    """
    given = [record.at for record in records if record.what == "access"]
    if opening is not None and opening.access_at is not None:
        given.append(opening.access_at)
    access = _clock("access to the site", plan.notified_at, ACCESS, min(given, default=None))
    found = [access]
    if opening is not None and opening.arrived_at is not None:
        found.append(_clock("the site, from the airport", opening.arrived_at, REACH, opening.at))
    disputes = [record for record in records if record.what in ("dispute", "refusal")]
    about_site = {record.sequence for record in disputes if record.item is None}
    raised = any(record.at <= access.due_at for record in disputes if record.sequence in about_site)
    if access.state(now) in ("late", "broken") and not raised:
        found += _answers("the delay of access", access.due_at, about_site, records)
    for record in disputes:
        found += _answers(f"record {record.sequence} ({record.what})", record.at, {record.sequence}, records)
    return found


def _answers(name: str, start: int, about: Collection[int], records: Sequence[VisitRecord]) -> list[Clock]:
    """Returns the two clocks of a dispute; only what was said after the dispute answers it."""
    found = []
    for what, length in (("acknowledgement", ACKNOWLEDGEMENT), ("clarification", CLARIFICATION)):
        said = [r for r in records if r.what == what and r.details["about"] in about]
        times = [r.at for r in said if r.sequence > r.details["about"] and r.at >= start]
        found.append(_clock(f"{what} of {name}", start, length, min(times, default=None)))
    return found


def _clock(name: str, start: int, length: int, met: int | None) -> Clock:
    alarms = tuple(start + offset for offset in _ALARMS[length])
    return Clock(name=name, started_at=start, due_at=start + length, alarms=alarms, met_at=met)
