"""A chip's answer or log is refused before it is signed for, unless that chip itself signed it."""

import hashlib
from collections.abc import Sequence

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.trust import TrustRoots
from weighbridge.ledger.visit_chips import own_answer, own_record
from weighbridge.mechanisms.inspection.record import VisitRecord

__all__ = ["require_own_file"]

_INSTEAD = "take this chip's own file; what another chip answered in its place is put on record as a note"


def require_own_file(stated: VisitRecord, kept: Sequence[bytes], files: Sequence[str], roots: TrustRoots) -> None:
    """Refuses a wrong file: what is on record stays, and the item's outcome with it.

    Args:
        stated: the record.
        kept: the contents of its files.
        files: the files as they were named.
        roots: whom to trust: the chips' makers.

    Raises:
        InputError: the answer is no answer by the item, or the item signed no record of the log.
    """
    item = stated.item or ""
    if stated.what == "challenge":
        digest = stated.details["answer"]
        raw = next((data for data in kept if hashlib.sha256(data).hexdigest() == digest), None)
        if raw is None:
            raise InputError("is a file, not a digest", field="--set answer", mend="give --file answer=RECORD")
        try:
            own_answer(raw, item, roots)
        except EvidenceError as error:
            why = f"is no answer of this chip: {error}"
            raise InputError(why, where=_named(files, "answer"), field="--file answer", mend=_INSTEAD) from error
    elif stated.what == "readout" and kept:
        fault: EvidenceError | None = None
        for raw in kept[:-1]:  # the last is their listing
            try:
                own_record(raw, item, roots)
                return
            except EvidenceError as error:
                fault = fault or error
        why = f"is no log of this chip, which signed none of the {len(kept) - 1} records: {fault}"
        raise InputError(why, where=_named(files, "chip"), field="--file chip", mend=_INSTEAD)


def _named(files: Sequence[str], name: str) -> str:
    return next((text.partition("=")[2] for text in files if text.startswith(f"{name}=")), name)
