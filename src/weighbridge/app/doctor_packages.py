"""Doctor: interpreter and packages against the bounds that weighbridge itself declares."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import zip_longest

from weighbridge.app.doctor_check import PURPOSES, Check, State

__all__ = ["CHECKS", "Requirement", "requirements", "within"]

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*\(?([^;)@]*)\)?\s*(?:;(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([A-Za-z0-9._-]+)['"]""")
_BOUND = re.compile(r"(>=|<=|==|!=|>|<)\s*([0-9][0-9A-Za-z.+!-]*)")
_ML = ("recording", "verifying")


@dataclass(frozen=True)
class Requirement:
    """A package with its bounds, and the extra that asks for it (empty for the core)."""

    name: str
    bounds: tuple[tuple[str, str], ...]
    extra: str

    def __str__(self) -> str:
        return self.name + ",".join(sign + version for sign, version in self.bounds)


def requirements(lines: Sequence[str]) -> list[Requirement]:
    """Reads requirement lines as package metadata has them (PEP 508, as far as weighbridge's own use it)."""
    found = []
    for line in lines:
        match = _REQUIREMENT.fullmatch(line)
        if match is None:
            continue
        extra = _EXTRA.search(match[3] or "")
        found.append(Requirement(match[1], tuple(_BOUND.findall(match[2])), extra[1] if extra else ""))
    return found


def within(version: str, bounds: Sequence[tuple[str, str]]) -> bool:
    """Returns whether a version lies within all bounds, by its numbers; what follows them is not compared."""
    for sign, bound in bounds:
        order = _order(version, bound)
        holds = {">=": order >= 0, "<=": order <= 0, "==": order == 0, "!=": order != 0, ">": order > 0, "<": order < 0}
        if not holds[sign]:
            return False
    return True


def _order(one: str, other: str) -> int:
    for a, b in zip_longest(_numbers(one), _numbers(other), fillvalue=0):
        if a != b:
            return 1 if a > b else -1
    return 0


def _numbers(version: str) -> list[int]:
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return [int(part) for part in match[0].split(".")] if match else []


def _declared() -> metadata.PackageMetadata | None:
    try:
        return metadata.metadata("weighbridge")
    except metadata.PackageNotFoundError:
        return None


def _python() -> tuple[State, str, str]:
    here = ".".join(map(str, sys.version_info[:3]))
    declared = _declared()
    bounds = _BOUND.findall(str(declared["Requires-Python"])) if declared is not None else []
    if not within(here, bounds):
        wanted = ",".join(sign + version for sign, version in bounds)
        return State.MISSING, f"{here}, and weighbridge needs {wanted}", "make a new environment with such a Python"
    return State.OK, f"{here} ({sys.executable})", ""


def _faults(wanted: Sequence[Requirement]) -> tuple[list[str], list[str]]:
    """Returns the packages that are not there, and those outside their bounds, in words."""
    absent, outside = [], []
    for requirement in wanted:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            absent.append(requirement.name)
            continue
        if not within(version, requirement.bounds):
            outside.append(f"{requirement.name} is {version} where {requirement} is asked for")
    return absent, outside


def _of(extra: str) -> list[Requirement]:
    declared = _declared()
    lines = (declared.get_all("Requires-Dist") if declared is not None else None) or []
    return [requirement for requirement in requirements(lines) if requirement.extra == extra]


def _core() -> tuple[State, str, str]:
    if _declared() is None:
        return State.WARN, "weighbridge runs from sources, so its bounds are not known here", "pip install -e ."
    wanted = _of("")
    absent, outside = _faults(wanted)
    if absent or outside:
        return State.MISSING, _told(absent, outside), "pip install --upgrade weighbridge"
    return State.OK, f"{len(wanted)} packages within their bounds", ""


def _told(absent: Sequence[str], outside: Sequence[str]) -> str:
    return "; ".join([*([f"not installed: {', '.join(absent)}"] if absent else []), *outside])


def _torch() -> tuple[State, str, str]:
    mend = "pip install 'weighbridge[torch]'"
    absent, outside = _faults(_of("torch"))
    if absent or outside:
        return State.MISSING, _told(absent, outside), mend
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return State.MISSING, f"torch cannot be imported ({error})", mend
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    processor = torch.backends.cpu.get_cpu_capability()
    return State.OK, f"torch {torch.__version__} ({build}{device}; processor {processor})", ""


def _extra(extra: str, for_what: str) -> tuple[State, str, str]:
    wanted = _of(extra)
    if not wanted:
        return State.WARN, f"weighbridge runs from sources, so what {for_what} needs is not known here", ""
    absent, outside = _faults(wanted)
    if absent or outside:
        told = _told(absent, outside)
        return State.WARN, f"{told}: no {for_what}", f"pip install 'weighbridge[{extra}]'"
    return State.OK, f"{for_what}: {', '.join(requirement.name for requirement in wanted)}", ""


def _importable(module: str, package: str, for_what: str) -> tuple[State, str, str]:
    if importlib.util.find_spec(module) is None:
        return State.WARN, f"{package} is not installed: no {for_what}", f"pip install {package}"
    return State.OK, f"{for_what}: {package}", ""


CHECKS = (
    Check("python", PURPOSES, _python),
    Check("packages", PURPOSES, _core),
    Check("torch", _ML, _torch),
    Check("extra: plots", ("planning",), lambda: _extra("plots", "pictures as PNG")),
    Check("extra: report", ("planning", "verifying"), lambda: _extra("report", "pages")),
    Check("extra: draws", ("verifying",), lambda: _extra("draws", "draws by drand and ECVRF")),
    Check("pyarrow", ("verifying",), lambda: _importable("pyarrow", "pyarrow", "parquet files of steps")),
)
"""In the order in which they are printed."""
