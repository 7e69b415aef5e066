"""A callback for Hugging Face's Trainer and what is built on it (TRL)."""

from typing import Any

from transformers import TrainerCallback

from weighbridge.mechanisms.transcript.callbacks.wrapped import unwrapped
from weighbridge.mechanisms.transcript.inside import InsideRecording, record

__all__ = ["HuggingFaceCallback"]


class HuggingFaceCallback(TrainerCallback):  # type: ignore[misc]
    """Records each training of a Trainer, a transcript each.

    In a program::

        trainer = Trainer(model=model, args=arguments, callbacks=[weighbridge.HuggingFaceCallback(data=["corpus"])])

    Args:
        options: as :func:`weighbridge.record` takes them.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._recording: InsideRecording | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        """Begins to record: model, optimizer and schedule have been built."""
        known = [unwrapped(told.get(name)) for name in ("model", "optimizer", "lr_scheduler")]
        self._recording = record(known=known, **self._options)

    def on_train_end(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        """Ends the recording."""
        if self._recording is not None:
            self._recording.finish()
