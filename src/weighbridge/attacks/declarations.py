"""Training otherwise than declared: other data, another learning rate, another batch, steps that nobody is told of."""

from typing import Final

from weighbridge.attacks.attempts import STEPS, Recipe, tampered
from weighbridge.attacks.trial import Attack

__all__ = ["ATTACKS"]

_REPLAY: Final = "transcript.replay"
_POTD: Final = "Choi, Shavit, Duvenaud 2023 (arXiv 2307.00682)"
_OTHER: Final = "weighbridge.attacks.tampering_data:other_rows"
_EVERY_TENTH: Final = list(range(0, STEPS, 10))


def _rows(name: str, what: str, *, how: str, steps: list[int], rows: int, source: str = _POTD) -> Attack:
    recipe = Recipe(tampering=lambda target: [(_OTHER, {"how": how, "steps": steps, "rows": rows})])
    return tampered(name, what, source=source, expected=_REPLAY, recipe=recipe)


def _smuggled(label: str, what: str, **changed: object) -> Attack:
    recipe = Recipe(tampering=lambda target: [("hyperparameter_smuggled", changed)])
    source = "Fang et al. 2022 (arXiv 2208.03567); measured on Proof-of-Learning's reference code"
    return tampered(label, what, source=source, expected=_REPLAY, recipe=recipe)


ATTACKS: Final[tuple[Attack, ...]] = (
    _rows(
        "data-reordered",
        "every batch is trained on one step before its turn; the journal has the declared order",
        how="moved",
        steps=list(range(STEPS)),
        rows=8,
        source="Shumailov et al. 2021 (arXiv 2104.09667)",
    ),
    _rows(
        "data-reordered-once",
        "one batch of forty is trained on out of its turn",
        how="moved",
        steps=[11],
        rows=8,
        source="Shumailov et al. 2021 (arXiv 2104.09667)",
    ),
    _rows(
        "data-duplicated",
        "two rows of each batch are trained on as copies of another",
        how="repeated",
        steps=list(range(STEPS)),
        rows=2,
    ),
    _rows(
        "data-subtracted",
        "one row in ten is declared and not trained on",
        how="left-out",
        steps=list(range(0, STEPS, 2)),
        rows=2,
    ),
    _rows("data-subtracted-one-row", "one row of one batch is left out", how="left-out", steps=[23], rows=1),
    _rows(
        "data-added-tenth",
        "undeclared rows are added, a tenth of the data",
        how="added",
        steps=list(range(0, STEPS, 2)),
        rows=2,
    ),
    _rows("data-added-hundredth", "undeclared rows are added, a hundredth", how="added", steps=_EVERY_TENTH, rows=1),
    _rows("data-added-one-row", "one undeclared row is trained on, once", how="added", steps=[29], rows=1),
    _rows("data-exchanged-one-row", "one row is exchanged for another, once", how="exchanged", steps=[5], rows=1),
    tampered(
        "steps-undeclared",
        "a hundred steps more are taken on one batch between two declared ones",
        source="Shavit 2023 (arXiv 2303.11341), section 5.1",
        expected=_REPLAY,
        recipe=Recipe(tampering=lambda target: [("steps_besides", {"step": 15, "times": 100, "rate": 0.1})], cost=3.5),
    ),
    _rows(
        "batch-size",
        "half of each declared batch is trained on",
        how="left-out",
        steps=list(range(STEPS)),
        rows=4,
        source="Shavit 2023 (arXiv 2303.11341), section 5.1",
    ),
    _smuggled(
        "learning-rate-smuggled",
        "the learning rate in the optimizer's groups is ten times the declared, from an anchor on",
        step=20,
        name="lr",
        value=None,
        times=10.0,
    ),
    _smuggled(
        "learning-rate-by-a-millionth",
        "the learning rate is a millionth larger than declared, from an anchor on",
        step=20,
        name="lr",
        value=None,
        times=1.000001,
    ),
    _smuggled("betas-smuggled", "AdamW's betas are changed at an anchor", step=20, name="betas", value=[0.5, 0.9]),
    _smuggled(
        "weight-decay-smuggled", "weight decay is switched off at an anchor", step=20, name="weight_decay", value=0.0
    ),
    _smuggled(
        "fused-smuggled",
        "AdamW's fused kernel, whose last digits differ, is switched on at an anchor",
        step=20,
        name="fused",
        value=True,
    ),
)
