"""Detection mathematics: what must be inspected, and what a clean result will show."""

from weighbridge.planning.best import BestPlan, plan_best
from weighbridge.planning.best_menu import Budget, Effort
from weighbridge.planning.chips import ChipPlan, plan_chips
from weighbridge.planning.fleet import Site
from weighbridge.planning.items import ItemPlan, plan_items
from weighbridge.planning.portfolio import Case, Cover, assess_cover
from weighbridge.planning.segments import grinding, segment_detection, segments_needed
from weighbridge.planning.snapshots import SnapshotPlan, plan_snapshots, replay_share

__all__ = [
    "BestPlan",
    "Budget",
    "Case",
    "ChipPlan",
    "Cover",
    "Effort",
    "ItemPlan",
    "Site",
    "SnapshotPlan",
    "assess_cover",
    "grinding",
    "plan_best",
    "plan_chips",
    "plan_items",
    "plan_snapshots",
    "replay_share",
    "segment_detection",
    "segments_needed",
]
