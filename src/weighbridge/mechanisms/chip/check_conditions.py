"""What a record says of the conditions it was made under, and whether its leaf table gives its root."""

import hashlib
from collections.abc import Mapping, Sequence

from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.chip.docket import Docket
from weighbridge.mechanisms.chip.leaves import LeafTable
from weighbridge.mechanisms.chip.record import ChipRecord

__all__ = ["check_conditions", "check_leaves"]


def check_conditions(records: Sequence[ChipRecord], docket: Docket, *, firmware: frozenset[str] | None) -> None:
    """Checks what each record says of the agent, the processors, the user and the memory.

    Args:
        records: the records in order.
        docket: takes what is found.
        firmware: digests of reviewed agents; None accepts any that does not change.
    """
    before: ChipRecord | None = None
    for record in records:
        if firmware is not None and record.firmware not in firmware:
            docket.fail("chip.firmware", record.name, f"was written by unreviewed sources {record.firmware[:16]}")
        elif firmware is None and before is not None and record.firmware != before.firmware:
            speak = docket.fail if record.boot == before.boot and record.reason != "boot" else docket.doubt
            speak("chip.firmware", record.name, "the agent's sources changed: were the new ones reviewed?")
        if not record.affinity_ok:
            docket.fail("chip.affinity", record.name, "a thread was found off its processors")
        if record.unread_bytes:
            docket.fail(
                "chip.memory",
                record.name,
                f"{record.unread_bytes} bytes of its memory could not be read",
                figure=float(record.unread_bytes),
                unit="B",
            )
        if record.device_bytes and (before is None or record.device_bytes != before.device_bytes):
            docket.doubt(
                "chip.memory",
                record.name,
                f"{record.device_bytes} bytes of device memory are mapped and not read",
                figure=float(record.device_bytes),
                unit="B",
            )
        if record.reason == "boot" and not record.uid_separated:
            docket.doubt("chip.separation", record.name, "the command ran under the agent's own user id")
        if record.reason == "boot" and record.accounting == "process-tree":
            docket.doubt("chip.separation", record.name, "no control group: stops and CPU time are weaker")
        before = record


def check_leaves(
    records: Sequence[ChipRecord],
    docket: Docket,
    *,
    leaves: Mapping[int, LeafTable] | None,
    salts: Mapping[int, bytes] | None,
) -> None:
    """Checks that leaf tables and salts give the signed roots; without either the check stays undone."""
    if leaves is None or salts is None:
        docket.undone("chip.leaves", "no leaf tables or salts at hand")
        return
    for record in records:
        if record.reason != "sample":
            continue
        salt = salts.get(record.sequence)
        try:
            table = leaves.get(record.sequence)
        except EvidenceError as error:
            docket.fail("chip.leaves", record.name, f"its leaf table cannot be read: {error}")
            continue
        if salt is None or table is None:
            absent = "salt" if salt is None else "leaf table"
            docket.fail("chip.leaves", record.name, f"its {absent} is missing: unexplained")
        elif hashlib.sha256(salt).hexdigest() != record.salt_commitment:
            docket.fail("chip.leaves", record.name, "its salt is not the one committed to")
        elif table.root(salt).hex() != record.root:
            docket.fail("chip.leaves", record.name, "its leaf table does not give the signed root")
        elif (len(table), table.leaf_size, table.read_bytes, len(table.mapping_table)) != (
            record.leaf_count,
            record.leaf_size,
            record.resident_bytes,
            record.mapping_count,
        ):
            docket.fail("chip.leaves", record.name, "its counts are not those of its leaf table")
