"""Operations of common training work, by the field's standard formulas (a multiply-add is two).

These price a declaration. They never show what a chip did: see the ledger for that.
"""

from weighbridge.units import Flop, check_quantity

__all__ = [
    "attention_flop",
    "forward_flop",
    "hardware_flop",
    "lora_flop",
    "recompute_flop",
    "reinforcement_flop",
    "training_flop",
]

_SECONDS_PER_HOUR = 3600


def _check(**values: float) -> None:
    for name, value in values.items():
        check_quantity(value, name=name, positive=False)


def forward_flop(parameters: float, *, tokens: float) -> Flop:
    """Forward passes (generation, evaluation): 2 N a token; active N for a mixture of experts."""
    _check(parameters=parameters, tokens=tokens)
    return Flop(2 * parameters * tokens)


def training_flop(parameters: float, *, tokens: float) -> Flop:
    """Forward and backward passes without attention: 6 N a token; active N for a mixture of experts."""
    _check(parameters=parameters, tokens=tokens)
    return Flop(6 * parameters * tokens)


def recompute_flop(parameters: float, *, tokens: float) -> Flop:
    """Full activation recomputation: 2 N a token more; hardware executes 8 N where the model needs 6 N."""
    return forward_flop(parameters, tokens=tokens)


def attention_flop(layers: float, *, context: float, width: float, tokens: float, causal: bool = True) -> Flop:
    """Attention in training: 6 L s d a token if causal, 12 L s d if full.

    Negligible against 6 N only while the width is much larger than a twelfth of the context.
    """
    _check(layers=layers, context=context, width=width, tokens=tokens)
    return Flop((6 if causal else 12) * layers * context * width * tokens)


def lora_flop(parameters: float, *, tokens: float, adapter_parameters: float = 0.0) -> Flop:
    """Low-rank adaptation: about 4 N a token (no gradients of frozen weights) plus 6 N of the adapters."""
    _check(parameters=parameters, tokens=tokens, adapter_parameters=adapter_parameters)
    return Flop((4 * parameters + 6 * adapter_parameters) * tokens)


def reinforcement_flop(parameters: float, *, generated: float, trained: float) -> Flop:
    """Reinforcement learning: 2 N a token generated and 6 N a token trained on."""
    _check(generated=generated, trained=trained)
    return Flop(forward_flop(parameters, tokens=generated) + training_flop(parameters, tokens=trained))


def hardware_flop(chips: float, *, hours: float, peak: float, utilisation: float = 1.0) -> Flop:
    """Executed operations: chips x hours x 3,600 x peak x utilisation (EU guidelines, Annex A.2)."""
    _check(chips=chips, hours=hours, peak=peak, utilisation=utilisation)
    return Flop(chips * hours * _SECONDS_PER_HOUR * peak * utilisation)
