"""A callback for Lightning's Trainer, and the entry point by which it needs no line at all."""

import os
from typing import Any

from lightning.pytorch.callbacks import Callback

from weighbridge.mechanisms.transcript.callbacks.wrapped import unwrapped
from weighbridge.mechanisms.transcript.inside import InsideRecording, place_in_replay, record

__all__ = ["LightningCallback", "from_environment"]

STORE = "WEIGHBRIDGE_LIGHTNING"
DATA = "WEIGHBRIDGE_LIGHTNING_DATA"
_PLACE = "lightning.pytorch.callbacks_factory"


class LightningCallback(Callback):  # type: ignore[misc]
    """Records each training of a Trainer, a transcript each.

    In a program::

        trainer = lightning.Trainer(callbacks=[weighbridge.LightningCallback(data=["corpus"])])

    Args:
        options: as :func:`weighbridge.record` takes them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._options = options
        self._recording: InsideRecording | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begins to record: model, optimizers and schedules have been built."""
        schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        known = [pl_module, *map(unwrapped, trainer.optimizers), *map(unwrapped, schedules), scaler]
        self._recording = record(known=known, **self._options)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Ends the recording."""
        if self._recording is not None:
            self._recording.finish()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Ends the recording of a training that broke off."""
        if self._recording is not None:
            self._recording.finish(well=False)


def from_environment() -> list[Any]:
    """Returns the callbacks that Lightning adds to every Trainer: one if ``WEIGHBRIDGE_LIGHTNING`` names a folder.

    Lightning calls this through the entry point ``lightning.pytorch.callbacks_factory`` wherever the package is
    installed, so it must be asked for: ``WEIGHBRIDGE_LIGHTNING=runs python train.py``. ``WEIGHBRIDGE_LIGHTNING_DATA``
    names files and folders of data, separated as in ``PATH``.
    """
    store = os.environ.get(STORE)
    if place_in_replay() == _PLACE:
        return [LightningCallback()]
    if not store:
        return []
    return [
        LightningCallback(
            store=store, place=_PLACE, data=[path for path in os.environ.get(DATA, "").split(os.pathsep) if path]
        )
    ]
