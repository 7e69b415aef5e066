"""Detection mathematics: what must be inspected, and what a clean result will show.

Plans over a fleet (``planning.best``) and portfolios (``planning.portfolio``) need linear programming, which is loaded
only with them.
"""

from weighbridge.planning.balance import chip_balance, measured_balance, paired_statistic
from weighbridge.planning.chip_forms import ChipForms, every_form, in_form
from weighbridge.planning.chip_run import ChipRun
from weighbridge.planning.chips import ChipPlan, plan_chips
from weighbridge.planning.cusum import alarm_level, alarm_power, run_cusum
from weighbridge.planning.fleet import Site
from weighbridge.planning.items import ItemPlan, plan_items, repeat_draws
from weighbridge.planning.segments import (
    clone_detection,
    grinding,
    plan_segments,
    segment_detection,
    segments_needed,
)
from weighbridge.planning.sequential import fixed_plan, group_sequential, wald
from weighbridge.planning.sites import plan_sites, two_stage_detection
from weighbridge.planning.snapshot_cost import concentrated_rate, snapshot_cost
from weighbridge.planning.snapshots import SnapshotPlan, plan_snapshots, replay_share
from weighbridge.planning.stop_rule import operating_point
from weighbridge.planning.timeliness import plan_timeliness, significant_quantity

__all__ = [
    "ChipForms",
    "ChipPlan",
    "ChipRun",
    "ItemPlan",
    "Site",
    "SnapshotPlan",
    "alarm_level",
    "alarm_power",
    "chip_balance",
    "clone_detection",
    "concentrated_rate",
    "every_form",
    "fixed_plan",
    "grinding",
    "group_sequential",
    "in_form",
    "measured_balance",
    "operating_point",
    "paired_statistic",
    "plan_chips",
    "plan_items",
    "plan_segments",
    "plan_sites",
    "plan_snapshots",
    "plan_timeliness",
    "repeat_draws",
    "replay_share",
    "run_cusum",
    "segment_detection",
    "segments_needed",
    "significant_quantity",
    "snapshot_cost",
    "two_stage_detection",
    "wald",
]
