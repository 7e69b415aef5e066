"""weighbridge: could these chips have trained something against the rules? A number, and a proof.

An operator adds two calls to a training program (:func:`weighbridge.start` and a loop over what it returns) and runs
it under ``weighbridge chip run``; an inspector reads a verdict with ``weighbridge assess``; anyone rechecks it with
``weighbridge check``. The names here are loaded when used, so that importing the package brings no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weighbridge.mechanisms.transcript.start import start

__all__ = ["start"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "start":
        from weighbridge.mechanisms.transcript.start import start

        return start
    raise AttributeError(f"module 'weighbridge' has no attribute {name!r}")
