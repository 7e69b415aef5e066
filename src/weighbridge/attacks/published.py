"""Published attacks on proofs of learning: each first against that scheme, then as a transcript of ours.

Sources: Jia et al. 2021 (arXiv 2103.05633), the target; Zhang et al. 2022 (arXiv 2108.09454); Fang et al. 2023 (arXiv
2208.03567); Thudi et al. 2022 (arXiv 2110.11891); Shavit 2023 (arXiv 2303.11341). What is called a fault of the
published code was found by running it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from weighbridge.attacks import pol_claims, pol_forging, pol_paths, pol_points, pol_start
from weighbridge.attacks.original import Reproduction, one_thread
from weighbridge.attacks.pol_transcripts import STEPS, Handover, changed_byte, edited, hand_over, points, to_stolen
from weighbridge.attacks.trial import Attack, Trial

__all__ = ["ATTACKS"]

_REPLAY: Final = "transcript.replay"
_INITIAL: Final = "transcript.initial-state"
_CODE: Final = "a fault of the published code of Jia et al. 2021 (arXiv 2103.05633)"
_ZHANG: Final = "Zhang et al. 2022 (arXiv 2108.09454)"
_FANG: Final = "Fang et al. 2023 (arXiv 2208.03567)"
_OURS: Final = "weighbridge.attacks.pol_tampering"
_LABEL: Final = 64


def _attack(
    name: str,
    what: str,
    *,
    source: str,
    original: Callable[[int], Reproduction],
    handover: Handover,
    expected: str = _REPLAY,
    replays: bool = True,
) -> Attack:
    """Returns the attack; ``replays`` is false where verification fails before a step is replayed."""

    def attempt(seed: int, folder: Path) -> Trial:
        with one_thread():
            seen = original(seed)
            judgement = hand_over(handover, seed=seed, folder=folder)
        return Trial(
            detected=bool(judgement.caught_by),
            caught_by=judgement.caught_by,
            adversary_cost=seen.cost,
            verifier_cost=judgement.steps / STEPS if replays else 0.0,
            reproduced=seen.succeeded,
            original=seen.words,
        )

    return Attack(name=name, what=what, source=source, attempt=attempt, expected=expected)


ATTACKS: Final[tuple[Attack, ...]] = (
    _attack(
        "adversarial-points-directed",
        "points are optimised until their gradient leads from each made-up checkpoint to the next",
        source=f"{_ZHANG}, first variant",
        original=pol_points.directed_points,
        handover=points(directed=True, states=4),
        expected=_INITIAL,
    ),
    _attack(
        "adversarial-points-quiet",
        "checkpoints are interpolated, and points optimised until their gradient is next to nothing there",
        source=f"{_ZHANG}, second variant",
        original=pol_points.quiet_points,
        handover=points(directed=False, states=4),
        expected=_INITIAL,
    ),
    _attack(
        "adversarial-points-segments",
        "the same, with one batch for all steps of a segment, so that few checkpoints are stored",
        source=f"{_ZHANG}, third variant",
        original=pol_points.quiet_points_of_segments,
        handover=points(directed=False, states=2),
        expected=_INITIAL,
    ),
    _attack(
        "batches-forged",
        "a row is taken out of the log: rows with nearly the same gradient are claimed in its place",
        source="Thudi et al. 2022 (arXiv 2110.11891)",
        original=pol_forging.forged_batches,
        handover=edited(
            ("weighbridge.attacks.tampering_data:other_rows", {"how": "exchanged", "steps": [5], "rows": 1})
        ),
    ),
    _attack(
        "buffers-scaled",
        "averages that normalisation keeps are multiplied by 1,000 in the last state",
        source=_CODE,
        original=pol_claims.spoilt_buffers,
        handover=edited(("buffers_scaled", {"step": STEPS, "by": 1000.0})),
    ),
    _attack(
        "data-claimed",
        "other rows are claimed for every batch than were trained on",
        source=_CODE,
        original=pol_claims.other_data,
        handover=edited(
            (
                "weighbridge.attacks.tampering_data:other_rows",
                {"how": "exchanged", "steps": list(range(STEPS)), "rows": 8},
            )
        ),
    ),
    _attack(
        "dataset-hash-labels",
        "labels are changed in the data that are handed over",
        source=_CODE,
        original=pol_claims.other_labels,
        handover=changed_byte(_LABEL),
        replays=False,
    ),
    _attack(
        "dataset-hash-pixel",
        "numbers inside an image are changed in the data that are handed over: arrays are hashed as printed",
        source=_CODE,
        original=pol_claims.changed_pixel,
        handover=changed_byte(_LABEL // 2),
        replays=False,
    ),
    _attack(
        "idle-run",
        "nothing is trained: every state is the first",
        source=_CODE,
        original=pol_claims.idle,
        handover=edited((f"{_OURS}:standing_still", {})),
    ),
    _attack(
        "infinitesimal-updates",
        "checkpoints are interpolated to stolen weights, at a learning rate of nearly nothing in the optimizer's state",
        source=f"{_FANG}, infinitesimal update",
        original=pol_paths.infinitesimal,
        handover=to_stolen(
            lambda target: [
                ("hyperparameter_smuggled", {"step": 0, "name": "lr", "value": 1e-9}),
                (f"{_OURS}:on_a_line", {"anchor": target, "steps": STEPS}),
            ]
        ),
    ),
    _attack(
        "momentum-straight-line",
        "momentum is forged before the first step and carries the weights in a line to stolen ones",
        source=_CODE,
        original=pol_paths.straight_momentum,
        handover=to_stolen(lambda target: [(f"{_OURS}:momentum_forged", {"anchor": target, "until": 4})]),
        expected=_INITIAL,
    ),
    _attack(
        "order-chosen",
        "batches come in an order of the prover's own choice, said to be drawn",
        source=_CODE,
        original=pol_claims.other_order,
        handover=edited(
            ("weighbridge.attacks.tampering_data:other_rows", {"how": "moved", "steps": list(range(STEPS - 1))})
        ),
    ),
    _attack(
        "rate-smuggled",
        "the run is trained at half the declared learning rate, which stands in the optimizer's state",
        source=_CODE,
        original=pol_claims.smuggled_rate,
        handover=edited(("hyperparameter_smuggled", {"step": 0, "name": "lr", "value": None, "times": 0.5})),
    ),
    _attack(
        "start-claimed",
        "trained weights, given the law of random ones layer by layer, are claimed as the random start",
        source="Shavit 2023 (arXiv 2303.11341), footnote 18",
        original=pol_start.claimed_start,
        handover=to_stolen(lambda target: [("weights_moved", {"step": 0, "anchor": target})]),
        expected=_INITIAL,
    ),
    _attack(
        "top-q-evaded",
        "honest segments with the largest changes draw the verifier's replays; the others jump to stolen weights",
        source=f"{_FANG}, blindfold top-Q",
        original=pol_paths.evading_top,
        handover=to_stolen(
            lambda target: [
                ("weights_moved", {"step": 6, "anchor": target, "share": 0.5}),
                ("weights_moved", {"step": 14, "anchor": target}),
            ]
        ),
    ),
)
