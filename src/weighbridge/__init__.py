"""weighbridge: could these chips have trained something against the rules? A number, and a proof.

An operator adds two calls to a training program (:func:`weighbridge.start` and a loop over what it returns) and runs
it under ``weighbridge chip run``; an inspector reads a verdict with ``weighbridge assess``; anyone rechecks it with
``weighbridge check``. The names here are loaded when used, so that importing the package brings no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weighbridge.mechanisms.transcript.callbacks.accelerate import AccelerateTracker
    from weighbridge.mechanisms.transcript.callbacks.hugging_face import HuggingFaceCallback
    from weighbridge.mechanisms.transcript.callbacks.lightning import LightningCallback
    from weighbridge.mechanisms.transcript.inside import record
    from weighbridge.mechanisms.transcript.start import start

__all__ = ["AccelerateTracker", "HuggingFaceCallback", "LightningCallback", "record", "start"]

__version__ = "0.1.0"

_PLACES = {
    "AccelerateTracker": "callbacks.accelerate",
    "HuggingFaceCallback": "callbacks.hugging_face",
    "LightningCallback": "callbacks.lightning",
    "record": "inside",
    "start": "start",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'weighbridge' has no attribute {name!r}")
    return getattr(importlib.import_module(f"weighbridge.mechanisms.transcript.{_PLACES[name]}"), name)
