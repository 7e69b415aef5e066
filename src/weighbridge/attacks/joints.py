"""Weights that the run's own training did not lead to: glued in, carried in by moments, or there from the start."""

from typing import Final

from weighbridge.attacks.attempts import Recipe, tampered
from weighbridge.attacks.trial import Attack

__all__ = ["ATTACKS"]

_REPLAY: Final = "transcript.replay"
_INITIAL: Final = "transcript.initial-state"
_MIDDLE: Final = "freeze-0000-000011.safetensors"
_FIRST: Final = "state-0000-0000000.safetensors"
_TRANSFORMER: Final = {"model": "transformer"}
_SHAVIT: Final = "Shavit 2023 (arXiv 2303.11341), section 5.1 and footnote 18"
_GLUE: Final = "Baker et al. 2025 (arXiv 2507.15916), footnote 104"
_SPLICE: Final = "found for this project; a form of it passes Proof-of-Learning (Jia et al. 2021)"

ATTACKS: Final[tuple[Attack, ...]] = (
    tampered(
        "glue",
        "stolen weights and moments are put in place between two steps in the middle of a run",
        source=_GLUE,
        expected=_REPLAY,
        recipe=Recipe(
            tampering=lambda target: [("weights_moved", {"step": 20, "anchor": target, "optimizer": True})],
            wants=_MIDDLE,
            config=_TRANSFORMER,
        ),
    ),
    tampered(
        "glue-one-of-four-drawn",
        "the same glue, and the verifier replays one segment of four: caught when the draw falls on the joint",
        source=_GLUE,
        expected=None,
        recipe=Recipe(
            tampering=lambda target: [("weights_moved", {"step": 20, "anchor": target, "optimizer": True})],
            wants=_MIDDLE,
            segments=1,
        ),
    ),
    tampered(
        "glue-interpolated",
        "the way to the stolen weights is taken in eight equal moves, one a step, with honest steps between",
        source=_GLUE,
        expected=_REPLAY,
        recipe=Recipe(
            tampering=lambda target: [
                ("weights_moved", {"step": 13 + number, "anchor": target, "share": 1 / (8 - number)})
                for number in range(8)
            ],
            wants=_MIDDLE,
            config=_TRANSFORMER,
        ),
    ),
    tampered(
        "one-bit",
        "the last digit of one weight is changed once: the smallest change of weights that there is",
        source="found for this project",
        expected=_REPLAY,
        recipe=Recipe(tampering=lambda target: [("last_digit", {"step": 17})]),
    ),
    tampered(
        "splice-at-start",
        "AdamW begins with huge second moments and first moments that point to stolen weights: honest steps go there",
        source=_SPLICE,
        expected=_INITIAL,
        recipe=Recipe(
            tampering=lambda target: [("straight_line", {"step": 0, "until": 10, "anchor": target})],
            wants="freeze-0000-000010.safetensors",
            cost=1.25,
        ),
    ),
    tampered(
        "splice-at-anchor",
        "the same moments are forged at an anchor in the middle, and ordinary ones put back at the next",
        source=_SPLICE,
        expected=_REPLAY,
        recipe=Recipe(
            tampering=lambda target: [("straight_line", {"step": 10, "until": 20, "anchor": target})],
            wants=_MIDDLE,
            cost=1.25,
            config=_TRANSFORMER,
        ),
    ),
    tampered(
        "splice-zero-second-moments",
        "second moments are zero, so that the first moments alone set one step's length: it lands on stolen weights",
        source=_SPLICE,
        expected=_REPLAY,
        recipe=Recipe(
            tampering=lambda target: [("target_in_one_step", {"step": 19, "anchor": target})],
            wants=_MIDDLE,
            cost=1.05,
        ),
    ),
    tampered(
        "splice-one-of-four-drawn",
        "moments forged from one anchor to the next, and one segment of four replayed: two of them hold a joint",
        source=_SPLICE,
        expected=None,
        recipe=Recipe(
            tampering=lambda target: [("straight_line", {"step": 10, "until": 20, "anchor": target})],
            wants=_MIDDLE,
            cost=1.25,
            segments=1,
        ),
    ),
    tampered(
        "buffers-tampered",
        "running variances of normalisation layers are multiplied by 1000 in the middle of a run",
        source="measured on Proof-of-Learning's reference code, which does not compare buffers",
        expected=_REPLAY,
        recipe=Recipe(
            tampering=lambda target: [("buffers_scaled", {"step": 25, "by": 1000.0})], config={"model": "convolution"}
        ),
    ),
    tampered(
        "claimed-initialisation",
        "trained weights are declared to be the random start",
        source=_SHAVIT,
        expected=_INITIAL,
        recipe=Recipe(tampering=lambda target: [("weights_moved", {"step": 0, "anchor": target})], wants=_FIRST),
    ),
    tampered(
        "another-seed",
        "generators are seeded with a number of the operator's choice in place of the one that the log led to",
        source="Choi, Shavit, Duvenaud 2023 (arXiv 2307.00682), section 4.3",
        expected=_INITIAL,
        recipe=Recipe(tampering=lambda target: [("another_seed", {"seed": 3})], config={"dropout": 0.1}),
    ),
)
