"""``weighbridge practice``: a body, a maker, a log and an operator on one machine, to try every command with."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.errors import InputError

__all__ = ["mount"]

_NEXT = """\
Made in {folder}: keys/ (everybody's private keys), roots/ (whom to trust). Nobody should trust these but you.

The log's keeper, who also answers runs with the inspector's nonces (leave it running):
  weighbridge log keep {folder}/log.db --create --spool {folder}/spool --key {folder}/keys/log.pem \\
    --roots {folder}/roots --inspector {folder}/keys/inspector.pem --nonce-key {folder}/keys/nonce.hex

A chip, and a program under its watch:
  weighbridge chip init {folder}/chip --maker-key {folder}/keys/maker.pem \\
    --maker-cert {folder}/keys/maker.pem.chain.pem
  export WEIGHBRIDGE_SPOOL={folder}/spool WEIGHBRIDGE_ROOTS={folder}/roots WEIGHBRIDGE_KEY={folder}/operator/key.pem
  export WEIGHBRIDGE_RUNS={folder}/operator/runs
  weighbridge chip run {folder}/chip --spool {folder}/spool -- python train.py

What it left behind:
  weighbridge chip verify {folder}/chip --roots {folder}/roots
  weighbridge transcript verify {folder}/operator/runs/RUN --roots {folder}/roots
"""


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(practice)


def practice(folder: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Makes keys, certificates and trust roots for everybody, and says how to use them.

    Example: weighbridge practice try
    """
    from weighbridge.app.institutions import Institutions

    folder = folder.absolute()
    if folder.exists():
        raise InputError("exists", where=folder, mend="name a new folder")
    (folder / "operator" / "runs").mkdir(parents=True)
    people = Institutions.make(folder / "keys", origin="weighbridge.example/practice")
    people.operator(folder / "operator" / "key.pem", "Operator")
    people.roots.save(folder / "roots")
    if os.geteuid() == 0:
        # An agent that is root runs the program as nobody, who must be able to sign and to record.
        for path in (folder / "operator", *(folder / "operator").iterdir()):
            shutil.chown(path, "nobody")
    print(_NEXT.format(folder=folder))
