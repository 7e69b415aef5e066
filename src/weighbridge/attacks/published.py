"""Published attacks on proofs of learning: each first against that scheme, then as a transcript of ours.

Sources: Jia et al. 2021 (arXiv 2103.05633), the target; Zhang et al. 2022 (arXiv 2108.09454); Fang et al. 2023 (arXiv
2208.03567); Thudi et al. 2022 (arXiv 2110.11891); Shavit 2023 (arXiv 2303.11341). What is called a fault of the
published code was found by running it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weighbridge.attacks import pol_claims, pol_forging, pol_paths, pol_points, pol_start
from weighbridge.attacks.original import Reproduction, one_thread
from weighbridge.attacks.pol_transcripts import STEPS, Handover, changed_byte, edited, hand_over, points, to_stolen
from weighbridge.attacks.trial import Attack, Trial

__all__ = ["ATTACKS", "HANDOVERS"]

_REPLAY: Final = "transcript.replay"
_INITIAL: Final = "transcript.initial-state"
_CODE: Final = "a fault of the published code of Jia et al. 2021 (arXiv 2103.05633)"
_ZHANG: Final = "Zhang et al. 2022 (arXiv 2108.09454)"
_FANG: Final = "Fang et al. 2023 (arXiv 2208.03567)"
_OURS: Final = "weighbridge.attacks.pol_tampering"
_LABEL: Final = 64


@dataclass(frozen=True, kw_only=True)
class _Published:
    """An attack in its two forms.

    Attributes:
        name, what, source, expected: as in :class:`~weighbridge.attacks.trial.Attack`.
        original: runs it against the scheme that it was made for.
        handover: hands it over as a transcript.
        replays: false where verification fails before a step is replayed.
    """

    name: str
    what: str
    source: str
    original: Callable[[int], Reproduction]
    handover: Handover
    expected: str = _REPLAY
    replays: bool = True

    def attempt(self, seed: int, folder: Path) -> Trial:
        """Runs both."""
        with one_thread():
            seen = self.original(seed)
            judgement = hand_over(self.handover, seed=seed, folder=folder)
        return Trial(
            detected=bool(judgement.caught_by),
            caught_by=judgement.caught_by,
            adversary_cost=seen.cost,
            verifier_cost=judgement.steps / STEPS if self.replays else 0.0,
            reproduced=seen.succeeded,
            original=seen.words,
        )


_ALL: Final = (
    _Published(
        name="adversarial-points-directed",
        what="points are optimised until their gradient leads from each made-up checkpoint to the next",
        source=f"{_ZHANG}, first variant",
        original=pol_points.directed_points,
        handover=points(directed=True, states=4),
        expected=_INITIAL,
    ),
    _Published(
        name="adversarial-points-quiet",
        what="checkpoints are interpolated, and points optimised until their gradient is next to nothing there",
        source=f"{_ZHANG}, second variant",
        original=pol_points.quiet_points,
        handover=points(directed=False, states=4),
        expected=_INITIAL,
    ),
    _Published(
        name="adversarial-points-segments",
        what="the same, with one batch for all steps of a segment, so that few checkpoints are stored",
        source=f"{_ZHANG}, third variant",
        original=pol_points.quiet_points_of_segments,
        handover=points(directed=False, states=2),
        expected=_INITIAL,
    ),
    _Published(
        name="batches-forged",
        what="a row is taken out of the log: rows with nearly the same gradient are claimed in its place",
        source="Thudi et al. 2022 (arXiv 2110.11891)",
        original=pol_forging.forged_batches,
        handover=edited(
            ("weighbridge.attacks.tampering_data:other_rows", {"how": "exchanged", "steps": [5], "rows": 1})
        ),
    ),
    _Published(
        name="buffers-scaled",
        what="averages that normalisation keeps are multiplied by 1,000 in the last state",
        source=_CODE,
        original=pol_claims.spoilt_buffers,
        handover=edited(("buffers_scaled", {"step": STEPS, "by": 1000.0})),
    ),
    _Published(
        name="data-claimed",
        what="other rows are claimed for every batch than were trained on",
        source=_CODE,
        original=pol_claims.other_data,
        handover=edited(
            (
                "weighbridge.attacks.tampering_data:other_rows",
                {"how": "exchanged", "steps": list(range(STEPS)), "rows": 8},
            )
        ),
    ),
    _Published(
        name="dataset-hash-labels",
        what="labels are changed in the data that are handed over",
        source=_CODE,
        original=pol_claims.other_labels,
        handover=changed_byte(_LABEL),
        replays=False,
    ),
    _Published(
        name="dataset-hash-pixel",
        what="numbers inside an image are changed in the data that are handed over: arrays are hashed as printed",
        source=_CODE,
        original=pol_claims.changed_pixel,
        handover=changed_byte(_LABEL // 2),
        replays=False,
    ),
    _Published(
        name="idle-run",
        what="nothing is trained: every state is the first",
        source=_CODE,
        original=pol_claims.idle,
        handover=edited((f"{_OURS}:standing_still", {})),
    ),
    _Published(
        name="infinitesimal-updates",
        what="checkpoints are interpolated to stolen weights; the optimizer's state holds a rate of nearly nothing",
        source=f"{_FANG}, infinitesimal update",
        original=pol_paths.infinitesimal,
        handover=to_stolen(
            lambda target: [
                ("hyperparameter_smuggled", {"step": 0, "name": "lr", "value": 1e-9}),
                (f"{_OURS}:on_a_line", {"anchor": target, "steps": STEPS}),
            ]
        ),
    ),
    _Published(
        name="momentum-straight-line",
        what="momentum is forged before the first step and carries the weights in a line to stolen ones",
        source=_CODE,
        original=pol_paths.straight_momentum,
        handover=to_stolen(lambda target: [(f"{_OURS}:momentum_forged", {"anchor": target, "until": 4})]),
        expected=_INITIAL,
    ),
    _Published(
        name="order-chosen",
        what="batches come in an order of the prover's own choice, said to be drawn",
        source=_CODE,
        original=pol_claims.other_order,
        handover=edited(
            ("weighbridge.attacks.tampering_data:other_rows", {"how": "moved", "steps": list(range(STEPS - 1))})
        ),
    ),
    _Published(
        name="rate-smuggled",
        what="the run is trained at half the declared learning rate, which stands in the optimizer's state",
        source=_CODE,
        original=pol_claims.smuggled_rate,
        handover=edited(("hyperparameter_smuggled", {"step": 0, "name": "lr", "value": None, "times": 0.5})),
    ),
    _Published(
        name="start-claimed",
        what="trained weights, given the law of random ones layer by layer, are claimed as the random start",
        source="Shavit 2023 (arXiv 2303.11341), footnote 18",
        original=pol_start.claimed_start,
        handover=to_stolen(lambda target: [("weights_moved", {"step": 0, "anchor": target})]),
        expected=_INITIAL,
    ),
    _Published(
        name="top-q-evaded",
        what="honest segments with the largest changes draw the verifier's replays; the others jump to stolen weights",
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

ATTACKS: Final = tuple(
    Attack(name=one.name, what=one.what, source=one.source, attempt=one.attempt, expected=one.expected) for one in _ALL
)

HANDOVERS: Final = {one.name: one.handover for one in _ALL}
"""Each attack's second form by its name."""
