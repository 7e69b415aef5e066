"""Cumulative FLOP of a run and its declared parents, under each policy that counts training.

FLOP of a step are the room's count in a replay (``"measures": ["flop_per_step"]``); steps count as often as they were
taken. Parameters: ``purpose`` of the work (default ``training``), ``parents``: list of ``operations`` and ``format`` of
each run before it in its line, as answered for those runs. Answers: one for each policy by its id, and
``lineage_known``: 0 if the run has a parent and none is told, 1 otherwise.
"""

from weighbridge.mechanisms.transcript.sealed.opened import Opened
from weighbridge.rules.counting import TRAINING_POLICIES, count
from weighbridge.rules.work import NumberFormat, WorkItem, bits_of

_FORMATS: dict[str, NumberFormat] = {
    "torch.float64": "fp64",
    "torch.float32": "fp32",
    "torch.float16": "fp16",
    "torch.bfloat16": "bf16",
}


def main() -> None:
    """Counts and answers."""
    opened = Opened.here()
    transcript = opened.transcript
    weights = opened.state(max(opened.anchors())).tensors
    formats = {_FORMATS[str(t.dtype)] for name, t in weights.items() if "/parameter/" in name}
    widest = max(formats, key=bits_of)
    operations = transcript.steps_taken * opened.measured["flop_per_step"]
    purpose = opened.parameters.get("purpose", "training")
    items = [WorkItem(kind="training", format=widest, operations=operations, purpose=purpose)]
    told = opened.parameters.get("parents", [])
    items += [WorkItem(kind="training", purpose="initial-parent", **parent) for parent in told]
    known = bool(told) or transcript.contents.get("parent") is None
    opened.answer(lineage_known=int(known), **{policy: float(count(policy, items)) for policy in TRAINING_POLICIES})


if __name__ == "__main__":
    main()
