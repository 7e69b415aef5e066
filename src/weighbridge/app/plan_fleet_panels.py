"""The charts of plans over a fleet: where the best plan looks, and what portfolios leave open over the years."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weighbridge.app.charts import Axis, Bars, Calendar, Chart, Series
from weighbridge.planning.portfolio import Case, Cover
from weighbridge.planning.treaty_years import TreatyYear
from weighbridge.units import format_quantity

if TYPE_CHECKING:
    from weighbridge.planning.best import BestPlan

__all__ = ["best_panels", "portfolio_panels"]

_Panels = tuple[str, Sequence[Chart | Calendar | Bars]]
_SITES_SHOWN = 25


def best_panels(plan: "BestPlan") -> _Panels:
    """Returns the charts of the best plan: chances by site, and the comparison with simpler plans."""
    order = sorted((site for site in plan.sites if site.visit > 0), key=lambda site: (-site.visit, site.name))
    more = f", the first {_SITES_SHOWN} of {len(order):,}" if len(order) > _SITES_SHOWN else ""
    detections = (
        ("no plan exceeds", plan.most),
        ("best plan, surely", plan.detection_bound),
        ("best plan, best answer found", plan.detection),
        ("in proportion to capacity", plan.by_capacity),
        ("uniform", plan.uniform),
    )
    compared = Bars(
        title="Worst-case detection within the same budget",
        axis=Axis(label="probability", reach=1.0),
        rows=tuple((f"{name}: {format_quantity(value)}", 0.0, value) for name, value in detections),
    )
    sites = Bars(
        title=f"Chance of a visit{more}",
        axis=Axis(label="probability", reach=1.0),
        rows=tuple(
            (
                f"{s.name}: {format_quantity(s.visit)}; met if it hides there: {format_quantity(s.detection)}",
                0.0,
                s.visit,
            )
            for s in order[:_SITES_SHOWN]
        ),
    )
    visits = sum(site.visit for site in plan.sites)
    freezes = sum(site.freezes for site in plan.sites)
    tenths = tuple(plan.days * step / 10 for step in range(1, 11))
    period = Calendar(
        title=f"A period of {plan.days:g} days",
        days=plan.days,
        rows=(
            *(((f"a tenth of {format_quantity(freezes)} freezes has fallen due", tenths),) if freezes > 0 else ()),
            (f"the draw, and {format_quantity(visits)} visits on average, to all records of the period", (plan.days,)),
        ),
    )
    charts: list[Chart | Calendar | Bars] = [sites, compared, period] if order else [compared]
    return f"Best plan: detection at least {plan.detection_bound:.4g}", charts


def portfolio_panels(covers: Mapping[str, Cover], lines: Mapping[str, Sequence[TreatyYear]], *, case: Case) -> _Panels:
    """Returns the charts of a portfolio: X of each regime as a range, and the threshold over the years."""
    least = case.flop / 1e6
    charts: list[Chart | Calendar | Bars] = [
        Bars(
            title="X of each regime at level A, from the lowest to the highest that the inputs allow",
            axis=Axis(label="X, FLOP", log=True),
            rows=tuple(
                (name, max(least, cover.hidden.low), max(least, cover.hidden.high)) for name, cover in covers.items()
            ),
            line=("room below the threshold", case.flop),
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
