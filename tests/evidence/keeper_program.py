"""The keeper of the kill test: a process that starts keepers on request, each to be killed.

Each line on standard input starts one and is answered with its process id; the next line is read once that process
is dead. Forking spares the import of Python's libraries, so that a hundred starts take seconds; ``cold`` as third
argument runs one keeper in this process instead, as ``weighbridge log keep`` does.
"""

import os
import secrets
import sys
import threading
from pathlib import Path

from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.log import Log, LogEntry
from weighbridge.evidence.spool import Keeper
from weighbridge.evidence.statement import Statement, sign_statement
from weighbridge.evidence.trust import TrustRoots


def keep(folder: Path, keys: Path) -> None:
    inspector = FileSigner.load(keys / "inspector.key")

    def answer(statement: Statement, entry: LogEntry) -> list[bytes]:
        if statement.kind != "run-commitment":
            return []
        payload = {"nonce": secrets.token_hex(16), "entry": entry.index}
        return [sign_statement(inspector, kind="nonce", subject=statement.id, payload=payload)]

    log = Log.open(folder / "log.db", FileSigner.load(keys / "log.key"))
    keeper = Keeper(log, folder / "spool", roots=TrustRoots.load(folder / "roots"), on_entry=answer)
    keeper.run(threading.Event(), poll=0.001)


def main() -> None:
    folder, keys = Path(sys.argv[1]), Path(sys.argv[2])
    if sys.argv[3:] == ["cold"]:
        keep(folder, keys)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            keep(folder, keys)
        print(child, flush=True)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
