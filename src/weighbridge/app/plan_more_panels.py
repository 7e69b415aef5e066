"""The charts of further plans: segments, copied ids, stop rules. Every curve asks the planner again."""

from fractions import Fraction

from weighbridge.app.charts import Axis, Chart, Mark, Series
from weighbridge.app.plan_panels import Panels, answered, whole_numbers
from weighbridge.planning.segments import (
    SegmentPlan,
    clone_detection,
    clone_share,
    grinding,
    segment_detection,
    segments_needed,
)
from weighbridge.planning.stop_rule import SequentialPlan, operating_point
from weighbridge.units import format_quantity

__all__ = [
    "clone_panels",
    "segment_panels",
    "sequential_panels",
]

_STEPS = 60
_CHANCE = Axis(label="probability of detection", reach=1.0)


def segment_panels(plan: SegmentPlan) -> Panels:
    """Returns the charts of a plan of segments: detection, what many tries leave of it, and its price."""
    drawn = whole_numbers(plan.segments)
    tries = sorted({round(10 ** (step / 6)) for step in range(37)} | {plan.tries})
    missed = 1 - plan.detection
    wanted = sorted(
        {*(n / 50 for n in range(1, 50)), 0.99, 0.999}
        | ({plan.detection_ground} if 0 < plan.detection_ground < 1 else set())
    )
    return f"Segments to replay: {plan.drawn:,} of {plan.segments:,}", (
        Chart(
            title=f"Chance to meet one of {plan.forged:,} forged segments",
            x=Axis(label="segments replayed"),
            y=_CHANCE,
            series=(
                Series(
                    name="exact, without replacement",
                    points=tuple((float(n), _met(plan.segments, plan.forged, n)) for n in drawn),
                ),
            ),
            marks=(Mark(x=float(plan.drawn), y=plan.detection, label=f"{plan.drawn:,}", below=True),),
        ),
        Chart(
            title="The same against the best of many seeds",
            x=Axis(label="seeds that can be tried", log=True),
            y=_CHANCE,
            series=(
                Series(
                    name=f"{plan.drawn:,} segments replayed",
                    points=tuple((float(n), 1 - grinding(missed, tries=n)) for n in tries),
                ),
            ),
            marks=(Mark(x=float(plan.tries), y=plan.detection_ground, label=f"{plan.tries:,} tries"),),
        ),
        Chart(
            title="What more certainty costs",
            x=_CHANCE,
            y=Axis(label="share of the run's compute", reach=1.1 * plan.cost),
            series=(
                Series(
                    name=f"segments replayed of all, against {plan.tries:,} tries",
                    points=answered(
                        wanted,
                        # The plan's own certainty, as a double, may lie a hair above what its sample reaches.
                        lambda chance: (
                            plan.cost
                            if chance == plan.detection_ground
                            else segments_needed(
                                plan.segments, forged=plan.forged, confidence=Fraction(repr(chance)), tries=plan.tries
                            )
                            / plan.segments
                        ),
                    ),
                ),
            ),
            marks=(Mark(x=plan.detection_ground, y=plan.cost, label=f"{plan.cost:.3g}"),),
        ),
    )


def _met(segments: int, forged: int, drawn: int) -> float:
    return segment_detection(segments, forged=forged, drawn=drawn)


def clone_panels(detection: float, *, clones: int, inspected: float, copies: int) -> Panels:
    """Returns the charts of copied ids: detection by the share inspected, by their number, and the price."""
    kinds = sorted({2, 3, 5, copies})
    low = min(1e-3, inspected / 3 or 1e-3)
    shares = [low * (1 / low) ** (step / _STEPS) for step in range(_STEPS + 1)]
    shares = sorted({*shares[:-1], 1.0} | ({inspected} if inspected else set()))
    numbers = sorted({round(10 ** (step / 10) * max(1, clones / 1000)) for step in range(61)} | {clones})
    wanted = [n / 50 for n in range(1, 50)] + [0.99, 0.999]
    return f"Copied ids: {clones:,} on {copies:,} devices each", (
        Chart(
            title=f"Chance to meet two devices with one id, {clones:,} ids copied",
            x=Axis(label="share of the devices inspected", log=True),
            y=_CHANCE,
            series=tuple(
                Series(
                    name=f"{kind} devices an id",
                    points=tuple((q, clone_detection(clones, inspected=q, copies=kind)) for q in shares),
                )
                for kind in kinds
            ),
            marks=() if not inspected else (Mark(x=inspected, y=detection, label=f"{detection:.4g}", below=True),),
        ),
        Chart(
            title=f"The same with {inspected:.3g} of the devices inspected",
            x=Axis(label="ids that are copied", log=True),
            y=_CHANCE,
            series=(
                Series(
                    name=f"{copies} devices an id",
                    points=tuple((float(n), clone_detection(n, inspected=inspected, copies=copies)) for n in numbers),
                ),
            ),
            marks=(Mark(x=float(clones), y=detection, label=f"{clones:,} ids", below=True),),
        ),
        Chart(
            title="What more certainty costs",
            x=_CHANCE,
            y=Axis(label="share of the devices inspected"),
            series=(
                Series(
                    name=f"{copies} devices an id",
                    points=tuple((p, clone_share(clones, confidence=p, copies=copies)) for p in wanted),
                ),
            ),
        ),
    )


def sequential_panels(plan: SequentialPlan, *, fixed: SequentialPlan) -> Panels:
    """Returns the charts of a stop rule: its bounds, what it decides, and how long it takes."""
    most = min(1.0, max(3 * plan.hidden, plan.honest))
    shares = sorted({most * step / _STEPS for step in range(_STEPS + 1)} | {plan.honest, plan.hidden})
    points = [operating_point(plan, share=share) for share in shares]
    at = {point.share: point for point in points}
    bounds = (
        Series(
            name="alarm from",
            points=tuple((float(k.draws), float(k.alarm)) for k in plan.looks if k.alarm is not None),
            dots=plan.kind == "group",
        ),
        Series(
            name="accept at most",
            points=tuple((float(k.draws), float(k.accept)) for k in plan.looks if k.accept is not None),
            dots=plan.kind == "group",
        ),
    )
    return f"Stop rule: at most {plan.most_draws:,} audited snapshots", (
        Chart(
            title="When to stop",
            x=Axis(label="snapshots audited"),
            y=Axis(label="unexplained among them", reach=1.1 * max(y for one in bounds for _, y in one.points)),
            series=tuple(series for series in bounds if series.points),
        ),
        Chart(
            title="What it decides",
            x=Axis(label="true share of unexplained snapshots"),
            y=Axis(label="probability", reach=1.0),
            series=(
                Series(name="alarm", points=tuple((p.share, p.alarm) for p in points)),
                Series(name="accept", points=tuple((p.share, p.accept) for p in points)),
            ),
            marks=(
                Mark(x=plan.honest, y=at[plan.honest].alarm, label="honest"),
                Mark(x=plan.hidden, y=at[plan.hidden].alarm, label="hidden", below=True),
            ),
        ),
        Chart(
            title="How long it takes",
            x=Axis(label="true share of unexplained snapshots"),
            y=Axis(label="snapshots audited, on average", reach=1.1 * fixed.most_draws),
            series=(
                Series(name="with the stop rule", points=tuple((p.share, p.expected_draws) for p in points)),
                Series(
                    name="a plan that looks once",
                    points=((0.0, float(fixed.most_draws)), (most, float(fixed.most_draws))),
                ),
            ),
            marks=(
                Mark(
                    x=plan.hidden,
                    y=at[plan.hidden].expected_draws,
                    label=format_quantity(at[plan.hidden].expected_draws),
                ),
            ),
        ),
    )
