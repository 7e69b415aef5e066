"""The charts of plans over a fleet: where the best plan looks, and what portfolios leave open over the years."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weighbridge.app.charts import Axis, Chart, Series
from weighbridge.app.plan_panels import Panels
from weighbridge.planning.portfolio import Case, Cover
from weighbridge.planning.treaty_years import TreatyYear

if TYPE_CHECKING:
    from weighbridge.planning.best import BestPlan

__all__ = ["best_panels", "portfolio_panels"]


def best_panels(plan: "BestPlan") -> Panels:
    """Returns the charts of the best plan: chances by site, and the comparison with simpler plans."""
    order = sorted(plan.sites, key=lambda site: (-site.visit, site.name))
    ranks = [float(n) for n in range(1, len(order) + 1)]
    detections = (
        ("no plan exceeds", plan.most),
        ("best plan, surely", plan.detection_bound),
        ("best plan, best answer found", plan.detection),
        ("in proportion to capacity", plan.by_capacity),
        ("uniform", plan.uniform),
    )
    return f"Best plan: detection at least {plan.detection_bound:.4g}", (
        Chart(
            title="Sites in the order of their chance of a visit",
            x=Axis(label="site"),
            y=Axis(label="probability", reach=1.0),
            series=(
                Series(name="visited", points=tuple(zip(ranks, (s.visit for s in order), strict=True)), dots=True),
                Series(
                    name="the run would be met there",
                    points=tuple(zip(ranks, (s.detection for s in order), strict=True)),
                    dots=True,
                ),
            ),
        ),
        Chart(
            title="Worst-case detection within the same budget",
            x=Axis(label="plan"),
            y=Axis(label="probability", reach=1.0),
            series=tuple(
                Series(name=f"{name}: {value:.3g}", points=((float(n), 0.0), (float(n), value)))
                for n, (name, value) in enumerate(detections, 1)
            ),
        ),
    )


def portfolio_panels(covers: Mapping[str, Cover], lines: Mapping[str, Sequence[TreatyYear]], *, case: Case) -> Panels:
    """Returns the charts of a portfolio: X of each regime as a range, and the threshold over the years."""
    last = float(len(covers) + 1)
    least = case.flop / 1e6
    charts = [
        Chart(
            title="X of each regime at level A, from the lowest to the highest that the inputs allow",
            x=Axis(label="regime"),
            y=Axis(label="X, FLOP", log=True),
            series=(
                *(
                    Series(
                        name=name,
                        points=(
                            (float(n), max(least, cover.hidden.low)),
                            (float(n), max(least, cover.hidden.high)),
                        ),
                        dots=True,
                    )
                    for n, (name, cover) in enumerate(covers.items(), 1)
                ),
                Series(name="room below the threshold", points=((0.0, case.flop), (last, case.flop))),
            ),
        )
    ]
    years = next(iter(lines.values()))
    if len(years) > 1:
        charts.append(
            Chart(
                title="The threshold that matters, year by year",
                x=Axis(label="years of the treaty"),
                y=Axis(label="FLOP", log=True),
                series=(
                    Series(name="progress as slow as given", points=tuple((float(y.year), y.flop.high) for y in years)),
                    Series(name="progress as fast as given", points=tuple((float(y.year), y.flop.low) for y in years)),
                ),
            )
        )
    return f"Portfolios: {len(covers)} regimes", charts
