"""Runs the benchmarks, or those whose name contains the argument; each prints one JSON line a figure."""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Runs every module beside this one, in order of name."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    here = Path(__file__).parent
    names = [p for p in sorted(here.glob("*.py")) if p.name != Path(__file__).name]
    chosen = [p for p in names if wanted in (p.read_text() if "." in wanted else p.stem)]
    if not chosen:
        sys.exit(f"no benchmark is named {wanted!r}; there are: {', '.join(p.stem for p in names)}")
    for path in chosen:
        runpy.run_path(str(path), run_name="__main__")


if __name__ == "__main__":
    main()
