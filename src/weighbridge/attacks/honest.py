"""Honest runs of the kinds that attacks imitate: none of them may be accused."""

from pathlib import Path
from typing import Any, Final

from weighbridge.attacks.attempts import FROZEN, STEPS, opened, trial_of
from weighbridge.attacks.trial import Control, Trial

__all__ = ["CONTROLS"]


def _control(name: str, what: str, **config: Any) -> Control:
    def attempt(seed: int, folder: Path) -> Trial:
        with opened(folder) as field:
            run = field.project(seed=seed, **config).train(tampering=[FROZEN]).run
            return trial_of(field.judge(run), cost=None)

    return Control(name=name, what=what, attempt=attempt)


def _fine_tuned(seed: int, folder: Path) -> Trial:
    with opened(folder) as field:
        parent = field.project(seed=seed, model="transformer").train().run
        project = field.project(seed=seed + 1, model="transformer", rate=1e-3, dropout=0.1)
        run = project.train(parent=parent, tampering=[FROZEN]).run
        judgement = field.judge(run, parent=parent)
        return trial_of(judgement, cost=None)


def _resumed(seed: int, folder: Path) -> Trial:
    with opened(folder) as field:
        project = field.project(seed=seed, dropout=0.1, schedule="cosine")
        killed = project.train(tampering=[FROZEN, ("killed_at", {"step": 11 + seed % 25})])
        assert killed.folder is not None
        judgement = field.judge(project.train(resume=killed.folder).run)
        return trial_of(judgement, cost=None)


def _one_drawn(seed: int, folder: Path) -> Trial:
    with opened(folder) as field:
        run = field.project(seed=seed, model="convolution", schedule="one-cycle").train(tampering=[FROZEN]).run
        judgement = field.judge(run, segments=1, seed=seed.to_bytes(32, "big"))
        return trial_of(judgement, cost=None, steps=STEPS)


CONTROLS: Final[tuple[Control, ...]] = (
    _control(
        "transformer-dropout",
        "a transformer with dropout, AdamW and a warm-up",
        model="transformer",
        dropout=0.2,
        schedule="warm-up",
    ),
    _control(
        "convolution-momentum",
        "convolutions with normalisation layers, Nesterov momentum, cosine schedule",
        model="convolution",
        optimizer="momentum",
        rate=1e-3,
        schedule="cosine",
    ),
    _control("augmented", "rows are changed at random in the loop", model="convolution", augment=True),
    _control("mixed-precision", "forward passes in bfloat16", model="transformer", bf16=True, dropout=0.1),
    _control("accumulated", "an update every fourth step, gradients clipped", accumulate=4, clip=0.5),
    _control("curriculum", "batches grow over the first ten steps", curriculum=True),
    _control("one-cycle", "the learning rate rises and falls once", model="transformer", schedule="one-cycle"),
    _control("averaged", "a running average of the weights is kept", average=True, model="convolution"),
    _control("adam-amsgrad", "Adam with a maximum of second moments", optimizer="adam", dropout=0.1),
    _control("rmsprop", "RMSprop", optimizer="rmsprop", model="transformer"),
    _control("adagrad", "Adagrad", optimizer="adagrad"),
    _control("plain-descent", "plain gradient descent at a large rate", optimizer="sgd", rate=0.03, schedule="warm-up"),
    Control(
        name="fine-tuned", what="goes on from a declared parent's final weights, on other data", attempt=_fine_tuned
    ),
    Control(name="resumed", what="killed in the middle and gone on with from its newest anchor", attempt=_resumed),
    Control(name="one-of-four-drawn", what="one segment of four is drawn and replayed", attempt=_one_drawn),
)
