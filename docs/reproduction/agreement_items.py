"""What the draft agreement's appendix D says about time, computed again, as a table, a figure and paragraphs."""

from agreement import CLOCKS, PRINTED, RATE, TIERS, days_to, printed_as, size_for
from outputs import Item
from weighbridge.app.charts import Axis, Chart, Mark, Series

__all__ = ["agreement_items"]

_REGISTER = 120
"""Days in which Article V(3) has every covered cluster located and consolidated."""


def agreement_items() -> tuple[Item, ...]:
    """Returns the timing tables with the tiers of registration, and the articles' clocks."""
    return (_timing(), _clocks())


def _timing() -> Item:
    sizes = [10 ** (5 * step / 40) for step in range(41)]
    rows: list[list[object]] = []
    agree = 0
    for size, small, large in PRINTED:
        first, second = days_to(1e22, size=size), days_to(1e24, size=size)
        agree += (printed_as(first) == small) + (printed_as(second) == large)
        rows.append([size, first, small, printed_as(first), second, large, printed_as(second)])
    tiers: list[list[object]] = [
        [size, day, days_to(1e24, size=size), days_to(1e24, size=size) - day] for size, day in TIERS
    ]
    edge = size_for(1e24, days=_REGISTER)
    printed = tuple((float(size), float(large.replace(",", ""))) for size, _, large in PRINTED)
    return Item(
        name="agreement-timing",
        title="The agreement, appendix D: days to a threshold, and registration",
        tables={
            "agreement-timing.csv": (
                [
                    "h100e",
                    "days_1e22",
                    "printed_1e22",
                    "as_printed_1e22",
                    "days_1e24",
                    "printed_1e24",
                    "as_printed_1e24",
                ],
                rows,
            ),
            "agreement-tiers.csv": (["above_h100e", "registers_by_day", "days_1e24_at_edge", "margin_days"], tiers),
        },
        figure=Chart(
            title="Each tier registers just before its smallest cluster could reach 1e24 FLOP",
            x=Axis(label="H100 equivalents", log=True),
            y=Axis(label="days", log=True),
            series=(
                Series(name="days to 1e24 FLOP", points=tuple((s, days_to(1e24, size=s)) for s in sizes)),
                Series(name="days to 1e22 FLOP", points=tuple((s, days_to(1e22, size=s)) for s in sizes)),
                Series(name="printed in the table for 1e24", points=printed, dots=True),
            ),
            marks=tuple(Mark(x=float(size), y=float(day), label=f"day {day}") for size, day in TIERS),
        ),
        paragraphs=(
            f"""Both tables follow from one rate, 990 TFLOP/s for an H100 equivalent (FP8 at half of its peak): days =
            threshold/(990e12·size·86,400). All {agree} of {2 * len(PRINTED)} printed figures agree, with one
            decimal, three below 0.05, whole numbers from 1,000 on. The appendix's tiers of registration are not
            arbitrary: the smallest cluster of each tier reaches 1e24 just after its day
            ({", ".join(f"{d:g} against {days_to(1e24, size=s):.1f}" for s, d in TIERS)}), with margins from
            {min(float(str(t[3])) for t in tiers):.2f} to {max(float(str(t[3])) for t in tiers):.1f} days. They
            leave no room for the monitored threshold of 1e22, which each of those clusters passes a hundred times
            sooner. Article V(3) gives {_REGISTER} days to all: clusters above {edge:.0f} H100 equivalents reach
            1e24 before that, so the two texts do not say the same.""",
            f"""By hand: 990e12·86,400 = {RATE * 86_400:.4e} FLOP a day for one; 1e24 over it is
            {days_to(1e24, size=1):,.1f} days, and every other cell is that figure over the size, for 1e22 over a
            hundred more. The rate counts FP8 operations; at 16 bits the same cluster at the same utilisation takes
            twice as long, and at full FP8 peak half as long.""",
        ),
    )


def _clocks() -> Item:
    rows: list[list[object]] = [
        [what, article, hours, size_for(1e22, days=hours / 24), size_for(1e24, days=hours / 24)]
        for what, article, hours in CLOCKS
    ]
    times = [0.5 * (120 / 0.5) ** (step / 40) for step in range(41)]
    day, challenge, quarter = (size_for(1e22, days=d) for d in (0.5, 1.0, 90.0))
    return Item(
        name="agreement-clocks",
        title="The agreement's clocks: what a cluster can do before each runs out",
        tables={"agreement-clocks.csv": (["clock", "article", "hours", "h100e_for_1e22", "h100e_for_1e24"], rows)},
        figure=Chart(
            title="Within a challenge inspection's 24 hours, 117 H100 equivalents do 1e22 FLOP",
            x=Axis(label="days that a clock gives", log=True),
            y=Axis(label="H100 equivalents", log=True),
            series=(
                Series(name="reach 1e24 FLOP", points=tuple((d, size_for(1e24, days=d)) for d in times)),
                Series(name="reach 1e22 FLOP", points=tuple((d, size_for(1e22, days=d)) for d in times)),
            ),
            marks=tuple(
                Mark(x=hours / 24, y=size_for(1e22, days=hours / 24), label=f"Art. {article}", below=index % 2 == 0)
                for index, (_, article, hours) in enumerate(CLOCKS)
            ),
        ),
        paragraphs=(
            f"""The agreement has no table of these; the articles give the hours, and the rate of its appendix D says
            what fits into them. A site {CLOCKS[0][2]} hours from an airport leaves {day:,.0f} H100 equivalents
            time for 1e22 FLOP; a challenge inspection's 24 hours leave {challenge:,.0f}. Between two refreshes of
            the register, {quarter:.2f} H100 equivalents reach 1e22, and {100 * quarter:,.0f} reach 1e24. So a site
            below the covered size of 16 reaches the monitored threshold within a quarter, and clocks alone do not
            hold the strict one for any covered cluster above {100 * quarter:,.0f}: continuous monitoring has to,
            as Article VII asks.""",
            f"""By hand: 1e22/8.5536e19 = {1e22 / (RATE * 86_400):.3f} days for one H100 equivalent; divide by the
            clock in days. For 24 hours that is {challenge:.1f}; for 12 hours {day:.1f}; for 90 days {quarter:.3f}.
            For 1e24 multiply by 100.""",
        ),
    )
