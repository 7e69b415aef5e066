"""Detection mathematics: what must be inspected, and what a clean result will show."""

from weighbridge.planning.chip_forms import ChipForms, every_form, in_form
from weighbridge.planning.chip_run import ChipRun
from weighbridge.planning.chips import ChipPlan, plan_chips
from weighbridge.planning.items import ItemPlan, plan_items
from weighbridge.planning.segments import grinding, segment_detection, segments_needed
from weighbridge.planning.snapshots import SnapshotPlan, plan_snapshots, replay_share

__all__ = [
    "ChipForms",
    "ChipPlan",
    "ChipRun",
    "ItemPlan",
    "SnapshotPlan",
    "every_form",
    "grinding",
    "in_form",
    "plan_chips",
    "plan_items",
    "plan_snapshots",
    "replay_share",
    "segment_detection",
    "segments_needed",
]
