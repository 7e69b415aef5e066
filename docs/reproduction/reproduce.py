"""Writes every file of this folder's reproduction again, or into another folder: tables, figures, README."""

import sys
from pathlib import Path

from agreement_items import agreement_items
from outputs import files
from shavit_items import shavit_items


def main() -> None:
    """Writes the files beside this script, or into the folder named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files([*shavit_items(), *agreement_items()]).items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
        print(folder / name)


if __name__ == "__main__":
    main()
