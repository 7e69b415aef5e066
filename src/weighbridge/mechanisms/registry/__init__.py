"""Which chips exist, who holds them, and what does not add up.

directory = Directory("chips.db", roots=TrustRoots.load("roots"), create=True)
directory.add([made, shipped, received])
directory.holder_at(chip, time)
directory.findings(now=time)
"""

from weighbridge.mechanisms.registry.custody import Custody, CustodyEvent, History, Status
from weighbridge.mechanisms.registry.directory import (
    Directory,
    read_custody_event,
    sign_correction,
    sign_custody_event,
)
from weighbridge.mechanisms.registry.epcis import KIND, Step
from weighbridge.mechanisms.registry.table import import_csv

__all__ = [
    "KIND",
    "Custody",
    "CustodyEvent",
    "Directory",
    "History",
    "Status",
    "Step",
    "import_csv",
    "read_custody_event",
    "sign_correction",
    "sign_custody_event",
]
