"""The charts of a public case: what freezes, readings and replayed segments would do to X."""

import math
from collections.abc import Callable, Sequence

from weighbridge.app.charts import Axis, Calendar, Chart, Series
from weighbridge.ledger.case import Case
from weighbridge.ledger.case_account import Evidence, computed, hidden

__all__ = ["case_panels"]

_POINTS = 48
_X = Axis(label="X, FLOP", log=True)


def case_panels(case: Case) -> tuple[str, Sequence[Chart | Calendar]]:
    """Returns the picture's title and charts of X against the rate of freezes, readings, and segments."""
    windows = round(computed(case)["windows"].value)
    stretches, span, everything = f"{windows:,} stretches", "one span, fixed before", ("nothing shown", Evidence())

    def sampled(windows: int, *, idle_shown: bool = False) -> Callable[[float], Evidence]:
        return lambda rate: Evidence(rate=rate, windows=windows, segments=math.inf, idle_shown=idle_shown)

    def curve(name: str, level: str, low: float, high: float, evidence: Callable[[float], Evidence]) -> Series:
        places = [low * (high / low) ** (step / _POINTS) for step in range(_POINTS + 1)]
        return Series(name=name, points=tuple((place, hidden(case, evidence(place))[level]) for place in places))

    def counted(name: str, level: str, most: int, evidence: Callable[[int], Evidence]) -> Series:
        counts = sorted({round(most ** (step / _POINTS)) for step in range(_POINTS + 1)})
        return Series(name=name, points=tuple((float(n), hidden(case, evidence(n))[level]) for n in counts))

    def known(low: float, high: float) -> Series:
        name, evidence = everything
        return Series(name=name, points=((low, hidden(case, evidence)["A"]), (high, hidden(case, evidence)["A"])))

    return f"{case.title}: what evidence would do to X", (
        Chart(
            title="Level A: freezes and every segment replayed",
            x=Axis(label="audited freezes a chip and day", log=True),
            y=_X,
            series=(
                known(1e-4, 1.0),
                curve(stretches, "A", 1e-4, 1.0, sampled(windows)),
                curve(span, "A", 1e-4, 1.0, sampled(1)),
                curve(f"{stretches}, spare time idle", "A", 1e-4, 1.0, sampled(windows, idle_shown=True)),
                curve(f"{span}, spare time idle", "A", 1e-4, 1.0, sampled(1, idle_shown=True)),
            ),
        ),
        Chart(
            title="Levels A, B and C: inspectors' own readings",
            x=Axis(label="readings, all explained", log=True),
            y=_X,
            series=(
                known(1.0, 1000.0),
                counted("every segment replayed", "C", 1000, lambda n: Evidence(readings=n, segments=math.inf)),
                counted("300 segments replayed", "C", 1000, lambda n: Evidence(readings=n, segments=300)),
            ),
        ),
        Chart(
            title="Level A: segments replayed, f = 0.01 a chip and day",
            x=Axis(label="segments replayed, all good", log=True),
            y=_X,
            series=(
                known(1.0, 3000.0),
                counted(stretches, "A", 3000, lambda n: Evidence(rate=0.01, windows=windows, segments=n)),
                counted(span, "A", 3000, lambda n: Evidence(rate=0.01, segments=n)),
            ),
        ),
    )
