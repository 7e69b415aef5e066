"""A tracker for Accelerate, which has no callbacks."""

from typing import Any

from accelerate.tracking import GeneralTracker

from weighbridge.mechanisms.transcript.inside import InsideRecording, record

__all__ = ["AccelerateTracker"]


class AccelerateTracker(GeneralTracker):  # type: ignore[misc]
    """Records the training of a program that uses Accelerate; make it before the model.

    In a program::

        accelerator = Accelerator(log_with=weighbridge.AccelerateTracker(data=["corpus"]))
        ...
        accelerator.end_training()

    Args:
        options: as :func:`weighbridge.record` takes them.
    """

    name = "weighbridge"
    requires_logging_directory = False
    main_process_only = False

    def __init__(self, **options: Any) -> None:
        self._recording = record(**options)
        super().__init__()

    @property
    def tracker(self) -> InsideRecording:
        """The recording."""
        return self._recording

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Does nothing: what the program is configured by is in its code and arguments."""

    def log(self, values: dict[str, Any], step: int | None = None, **keywords: Any) -> None:
        """Does nothing: losses are seen where they are used."""

    def finish(self) -> None:
        """Ends the recording."""
        self._recording.finish()
