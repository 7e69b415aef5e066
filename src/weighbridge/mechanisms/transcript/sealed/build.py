"""A verifier's build: digests of every file that could decide what the room says, the same wherever it is installed.

Four parts: this package; the interpreter with its standard library; every package beside it; and of the system the
tools that make the room and the libraries that every program loads. Byte code is left out, and the agreed room compiles
its own. A build that measures itself can say what it likes: each party measures the other's with its own (``--at``).
"""

import ctypes
import os
import re
import shutil
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

import weighbridge
from weighbridge.errors import InputError
from weighbridge.mechanisms.transcript.encoding import canonical

__all__ = ["Build", "Places"]

_LIBRARIES: Final = ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libgomp.so.1")
_TOOLS: Final = ("bwrap", "prlimit", "mount", "setpriv", "sh")
_BYTECODE: Final = "__pycache__"
_INSTALLERS: Final = re.compile(r"[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)")
"""Files about an installation, which name its place; nothing of them is executed."""


@dataclass(frozen=True)
class Places:
    """Where a build lies.

    Attributes:
        package: this package's folder.
        executable: the interpreter.
        library: its standard library.
        packages: folders of installed packages.
    """

    package: Path
    executable: Path
    library: Path
    packages: tuple[Path, ...]

    @classmethod
    def here(cls) -> "Places":
        """Returns the places of the build that runs this."""
        found = [Path(p) for p in (*site.getsitepackages(), site.getusersitepackages()) if p in sys.path]
        return cls(
            Path(weighbridge.__file__).resolve().parent,
            Path(sys.executable).resolve(),
            Path(sysconfig.get_path("stdlib")),
            tuple(found),
        )

    @classmethod
    def at(cls, prefix: Path) -> "Places":
        """Returns the places of a build in a virtual environment that somebody else brought; nothing of it is run.

        Raises:
            InputError: there is no virtual environment with this package.
        """
        try:
            lines = (prefix / "pyvenv.cfg").read_text().splitlines()
        except OSError as error:
            raise InputError(
                "is no virtual environment", where=prefix, mend="name the folder with pyvenv.cfg"
            ) from error
        parted = [line.partition("=") for line in lines]
        said = {name.strip(): value.strip() for name, _, value in parted}
        executable = (prefix / "bin" / "python").resolve()
        packages = sorted((prefix / "lib").glob("python3.*/site-packages"))
        library = Path(said.get("home", "")).parent / "lib" / (packages[0].parent.name if packages else "")
        if len(packages) != 1 or not executable.is_file() or not (library / "os.py").is_file():
            raise InputError("has no interpreter, standard library and packages", where=prefix)
        if said.get("include-system-site-packages", "false").lower() != "false":
            raise InputError("takes packages from outside of itself", where=prefix / "pyvenv.cfg")
        linked = [Path(line) for path in sorted(packages[0].glob("*.pth")) for line in path.read_text().splitlines()]
        for folder in (packages[0], *(path for path in linked if path.is_dir())):
            if (folder / "weighbridge" / "__init__.py").is_file():
                return cls((folder / "weighbridge").resolve(), executable, library, (packages[0],))
        raise InputError("has no weighbridge", where=prefix)


@dataclass(frozen=True)
class Build:
    """A measured build: a digest of each part (hex)."""

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One digest of all of it (hex)."""
        return blake3(b"weighbridge/build/1" + canonical(dict(self.parts))).hexdigest()

    @classmethod
    def measure(cls, places: Places) -> "Build":
        """Reads every file of a build.

        Raises:
            InputError: a file cannot be read.
        """
        try:
            packages = blake3()
            for folder in places.packages:
                packages.update(_tree(folder))
            interpreter = blake3(_digest(places.executable) + _tree(places.library, without={"site-packages"}))
            return cls(
                {
                    "weighbridge": _tree(places.package).hex(),
                    "packages": packages.hexdigest(),
                    "interpreter": interpreter.hexdigest(),
                    "system": _system().hex(),
                }
            )
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", where=error.filename) from error


def _tree(root: Path, *, without: frozenset[str] | set[str] = frozenset()) -> bytes:
    """Returns one digest over names and contents below a folder; a link counts as what it leads to."""
    whole = blake3(b"weighbridge/tree/1")
    for name, path in _files(root, without):
        whole.update(canonical([name, _digest(path).hex()]))
    return whole.digest()


def _files(root: Path, without: frozenset[str] | set[str]) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_raise):
        here = Path(folder)
        if len(here.relative_to(root).parts) > 64:  # a link that leads back up
            raise OSError(0, "its folders do not end", folder)
        folders[:] = sorted(n for n in folders if n != _BYTECODE and not (here == root and n in without))
        for name in sorted(names):
            relative = (here / name).relative_to(root).as_posix()
            if not _INSTALLERS.fullmatch(relative):
                yield relative, here / name


def _digest(path: Path) -> bytes:
    hasher = blake3(max_threads=blake3.AUTO)
    if path.stat().st_size:
        hasher.update_mmap(path)
    return hasher.digest()


def _system() -> bytes:
    """Returns a digest of the tools that make the room, and of the system libraries that every program loads."""
    tools = {name: shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") for name in _TOOLS}
    for name in _LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
    mapped = {line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()}
    system = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/")
    for path in sorted(mapped):
        name = Path(path).name
        if path.startswith(system) and (name in _LIBRARIES or name.startswith("ld-linux")):
            tools[name] = path
    return blake3(canonical({n: _digest(Path(p)).hex() for n, p in tools.items() if p is not None})).digest()


def _raise(error: OSError) -> None:
    raise error
