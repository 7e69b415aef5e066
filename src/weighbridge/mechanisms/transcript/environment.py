"""What a program ran with: code tree, interpreter, packages, threads, processor. Recorded, and compared on replay."""

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.files import read_plain
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.watched import CODE_SUFFIXES

__all__ = [
    "CODE_TREE_LIMIT_BYTES",
    "CONTENTS_LIMIT_BYTES",
    "NUMERIC_VARIABLES",
    "CodeTree",
    "describe_environment",
    "differences",
    "packages_of",
]

CODE_TREE_LIMIT_BYTES = 1 << 20
"""A code tree above 1 MiB could smuggle weights into the recomputation of the initial state."""

CONTENTS_LIMIT_BYTES = 64 << 10
"""So could what a run opens besides: configuration, arguments, variables, paths, all of it together."""

NUMERIC_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "MKL_CBWR",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Environment variables that change numbers; recorded, and set again on replay."""

_EXCLUDED = frozenset({"__pycache__", "node_modules", "weighbridge-runs"})
_MOST_FILES = 10_000
_OWN_FOLDER = "keep the training program in a folder of its own, or pass code=FOLDER to start"
_PACKAGES = ("blake3", "numpy", "safetensors", "torch")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _EXCLUDED


def _unreadable(error: OSError) -> None:
    raise InputError(f"cannot be read ({error.strerror})", where=error.filename, field="code", mend=_OWN_FOLDER)


@dataclass(frozen=True)
class CodeTree:
    """A program's own files, by relative path, with one digest over all of them."""

    root: Path
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, root: Path, *, without: Iterable[Path] = ()) -> "CodeTree":
        """Reads the tree under ``root``: plain files ending in .py, .json, .toml, .yaml or .yml.

        Names count as contents do: both can carry data. Hidden and cache folders are left out, and so are the folders
        ``without`` (where transcripts are written).

        Raises:
            InputError: the tree is larger than 1 MiB, has more than 10,000 files, or is not readable.
        """
        files: dict[str, bytes] = {}
        total = 0
        root = root.resolve()
        excluded = {path.resolve() for path in without}
        for folder, folders, names in os.walk(root, onerror=_unreadable):
            here = Path(folder)
            folders[:] = sorted(f for f in folders if not _hidden(f) and here / f not in excluded)
            for name in sorted(names):
                path = here / name
                if _hidden(name) or path.suffix not in CODE_SUFFIXES or path.is_symlink() or not path.is_file():
                    continue
                try:
                    data = read_plain(path, limit_bytes=CODE_TREE_LIMIT_BYTES)
                except EvidenceError as error:
                    raise InputError(error.what, where=path, mend=_OWN_FOLDER) from error
                relative = path.relative_to(root).as_posix()
                total += len(os.fsencode(relative)) + len(data)
                files[relative] = data
                if total > CODE_TREE_LIMIT_BYTES or len(files) > _MOST_FILES:
                    raise InputError(
                        f"the code tree is larger than 1 MiB or {_MOST_FILES} files", where=root, mend=_OWN_FOLDER
                    )
        return cls(root, files)

    @property
    def digest(self) -> bytes:
        """SHA-256 over the sorted list of paths and file digests (32 bytes)."""
        listing = [[name, hashlib.sha256(data).hexdigest()] for name, data in sorted(self.files.items())]
        return hashlib.sha256(b"weighbridge/code/1" + canonical(listing)).digest()

    def write(self, folder: Path) -> None:
        """Writes the files below ``folder``.

        Raises:
            EvidenceError: a path would leave the folder.
        """
        for name, data in self.files.items():
            pure = PurePosixPath(name)
            if pure.is_absolute() or ".." in pure.parts:
                raise EvidenceError("path leaves the code tree", where=name)
            path = folder / pure
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def describe_environment(packages_besides: Iterable[str] = ()) -> dict[str, Any]:
    """Returns interpreter, packages, threads, processor and numeric settings as plain data.

    A package is named by version and by the digest of its RECORD, which lists the digest of each of its files.

    Args:
        packages_besides: packages to name too, beside those that always are.
    """
    import torch  # here, because a code tree is read without it

    packages: dict[str, list[str]] = {}
    for name in sorted({*_PACKAGES, *packages_besides}):
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        record = distribution.read_text("RECORD") or ""
        packages[name] = [distribution.version, hashlib.sha256(record.encode()).hexdigest()]
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "packages": packages,
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "default_dtype": str(torch.get_default_dtype()),
        "variables": {name: os.environ[name] for name in NUMERIC_VARIABLES if name in os.environ},
    }


def packages_of(modules: Iterable[str]) -> set[str]:
    """Returns the packages that imported modules came from, but for this one, which is the verifier's own."""
    tops = {name.partition(".")[0] for name in modules}
    known = metadata.packages_distributions()
    return {distribution.lower() for top in tops for distribution in known.get(top, ())} - {"weighbridge"}


def differences(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Returns one sentence for each way in which two environments differ, in a fixed order."""
    return [
        f"{key}: recorded {recorded.get(key)!r}, here {present.get(key)!r}"
        for key in sorted(set(recorded) | set(present))
        if recorded.get(key) != present.get(key)
    ]
