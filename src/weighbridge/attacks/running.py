"""Running attacks and honest controls, seed by seed, going on where an earlier run was interrupted."""

import hashlib
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from weighbridge.attacks.table import Line, append_line, newest, read_lines
from weighbridge.attacks.trial import Attack, Control

__all__ = ["code_digest", "run_trial", "run_trials"]

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_VERSIONED: Final = ("blake3", "numpy", "torch", "weighbridge")


def run_trials(
    entries: Iterable[Attack | Control], *, seeds: int, table: Path, tell: Callable[[str], None]
) -> list[Line]:
    """Runs every entry at seeds 0 to ``seeds`` − 1, but for trials that the table has already.

    A trial that ended in an error is run again. Each is appended to the table as it ends, so an interrupted run goes
    on where it stopped.

    Args:
        entries: attacks and controls, in the order in which to run them.
        seeds: trials of each.
        table: file of trials (:mod:`.table`).
        tell: told what was seen, a sentence a trial.

    Returns:
        All trials of the table, those run now included.

    Raises:
        InputError: the table cannot be read.
    """
    lines = read_lines(table)
    had = {key for key, line in newest(lines).items() if line.trial is not None}
    due = [(entry, seed) for entry in entries for seed in range(seeds) if (*_kind_and_name(entry), seed) not in had]
    began = time.monotonic()
    for number, (entry, seed) in enumerate(due, 1):
        line = run_trial(entry, seed)
        append_line(table, line)
        lines.append(line)
        left = (time.monotonic() - began) / number * (len(due) - number)
        tell(f"{number} of {len(due)}: {_sentence(line)}; about {left:.0f} s left")
    return lines


def run_trial(entry: Attack | Control, seed: int) -> Line:
    """Runs one trial in a folder of its own, which is removed afterwards; an error is what came of it, too."""
    kind, name = _kind_and_name(entry)
    began, clock = datetime.now(UTC), time.monotonic()
    trial, error = None, ""
    with tempfile.TemporaryDirectory(prefix="weighbridge-redteam-") as folder:
        Path(folder).chmod(0o755)  # a replay in a sandbox may run under another user
        try:
            trial = entry.attempt(seed, Path(folder))
        except Exception as fault:  # whatever it is, the other trials go on, and it is no detection
            error = f"{type(fault).__name__}: {fault}"
    return Line(
        kind=kind,
        name=name,
        seed=seed,
        commit=_commit(),
        code=code_digest(),
        machine=_machine(),
        versions={"python": platform.python_version(), **{name: _version(name) for name in _VERSIONED}},
        began=began.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        trial=trial,
        error=error,
    )


def code_digest() -> str:
    """Returns a digest of all of the package's sources: 16 hexadecimal digits of SHA-256."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _kind_and_name(entry: Attack | Control) -> tuple[str, str]:
    return "attack" if isinstance(entry, Attack) else "control", entry.name


def _sentence(line: Line) -> str:
    if line.trial is None:
        came = f"ERROR {line.error}"
    elif line.kind == "control":
        came = f"ACCUSED by {', '.join(line.trial.caught_by)}" if line.trial.detected else "not accused"
    else:
        came = f"caught by {', '.join(line.trial.caught_by)}" if line.trial.detected else "not caught"
        came += "" if line.trial.reproduced in (True, None) else ", and NOT REPRODUCED against its own target"
    return f"{line.name}, seed {line.seed}: {came} ({line.seconds:.1f} s)"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _machine() -> str:
    name = platform.machine()
    try:
        words = Path("/proc/cpuinfo").read_text()
        name = next(text.partition(":")[2].strip() for text in words.splitlines() if text.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} processors"


def _commit() -> str:
    try:
        commit = _git("rev-parse", "HEAD")[:12]
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    command: Sequence[str] = ("git", "-C", str(_PACKAGE), *words)
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
