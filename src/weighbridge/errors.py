"""The few families of errors; each names where it happened, what was expected and how to mend it."""

__all__ = ["EvidenceError", "InputError", "MissingToolError", "WeighbridgeError"]


class WeighbridgeError(Exception):
    """Base of every error that a person may see: one sentence naming the place, the fault and the mend.

    Args:
        what: what is wrong, in words.
        where: the file, statement or argument concerned.
        field: the field inside it, if one is to blame.
        mend: what the reader can do about it.
    """

    def __init__(
        self, what: str, *, where: object | None = None, field: str | None = None, mend: str | None = None
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.field = field
        self.mend = mend
        place = ": ".join(part for part in (self.where, field) if part)
        sentence = f"{place}: {what}" if place else what
        super().__init__(f"{sentence}; {mend}" if mend else sentence)


class InputError(WeighbridgeError, ValueError):
    """What a person or a program supplied cannot be used as it is."""


class EvidenceError(WeighbridgeError):
    """A signature, digest, proof or format did not hold: the evidence is not what it claims to be."""


class MissingToolError(WeighbridgeError):
    """A program or library that this step needs is not installed."""
