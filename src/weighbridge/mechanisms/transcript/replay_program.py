"""How a replayed program is started: the committed command, in an environment that the verifier chose."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import weighbridge
from weighbridge.errors import EvidenceError
from weighbridge.mechanisms.transcript.environment import NUMERIC_VARIABLES
from weighbridge.mechanisms.transcript.replay_data import INSIDE

__all__ = ["program_command", "program_environment"]

_LAUNCH: Final = "weighbridge.mechanisms.transcript.launch"
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RESERVED: Final = ("WEIGHBRIDGE", "PYTHON", "LD_")


def program_command(contents: Mapping[str, Any]) -> list[str]:
    """Returns what follows the interpreter: the committed script or module, watched if it knows nothing of us.

    Raises:
        EvidenceError: the committed words name no script of the committed code, or no module.
    """
    program, code = contents["program"], Path(contents["code"]["root"])
    arguments = [str(argument) for argument in program["arguments"]]
    if not arguments or not arguments[0]:
        raise EvidenceError("names no script to run", where="opening.json", field="program")
    observed, module = contents["loop"].get("mode") == "observed", program.get("module") is True
    if module and not (observed and _MODULE.fullmatch(arguments[0])):
        raise EvidenceError("names no module to run", where="opening.json", field="program")
    if not module and not Path(arguments[0]).is_relative_to(code):  # "-c", say, would run what no code tree holds
        raise EvidenceError("names a script outside the committed code tree", where="opening.json", field="program")
    if any("\0" in argument for argument in arguments):
        raise EvidenceError("holds a zero byte", where="opening.json", field="program")
    return ["-m", _LAUNCH, *(["-m"] if module else []), *arguments] if observed else arguments


def program_environment(contents: Mapping[str, Any], threads: int | None) -> dict[str, str]:
    """Returns the environment variables of a replayed program.

    Raises:
        EvidenceError: the committed ones are no variables of a program's own.
    """
    recorded, own = contents["environment"], contents["program"].get("variables", {})
    if any(not _VARIABLE.fullmatch(name) or name.startswith(_RESERVED) for name in own):
        raise EvidenceError("names a variable that is not a program's own", where="opening.json", field="program")
    variables = {k: str(v) for k, v in recorded.get("variables", {}).items() if k in NUMERIC_VARIABLES}
    variables |= {name: str(value) for name, value in own.items()}
    if any("\0" in value for value in variables.values()):
        raise EvidenceError("holds a zero byte", where="opening.json", field="environment.variables")
    variables.setdefault("OMP_NUM_THREADS", str(recorded["threads"]))
    if threads is not None:
        variables |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    source = Path(weighbridge.__file__).resolve().parents[1]
    if not source.is_relative_to(sys.prefix):  # not installed, but run from its sources
        variables["PYTHONPATH"] = str(source)
    return variables | {
        "WEIGHBRIDGE_REPLAY": str(INSIDE / "plan.json"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108 - a private tmpfs inside
    }
