"""How a visit's clocks print: what is due, when alarms sound, and what has come."""

from collections.abc import Sequence

from weighbridge.app.console import print_table
from weighbridge.app.visit_fields import show_time
from weighbridge.mechanisms.inspection.clocks import Clock

__all__ = ["print_clocks"]

_WORDS = {"kept": "kept", "late": "LATE", "running": "running", "alarm": "ALARM", "broken": "OVERDUE"}


def print_clocks(due: Sequence[Clock], now: float) -> None:
    """Prints every clock with its state, what is overdue in capitals."""
    print_table(
        f"Due, as of {show_time(now)}",
        columns=["what", "due by", "state", "next alarm"],
        rows=[
            [
                clock.name,
                show_time(clock.due_at),
                _WORDS[clock.state(now)],
                next((show_time(at) for at in clock.alarms if at > now and clock.met_at is None), ""),
            ]
            for clock in due
        ],
    )
