"""Doctor: the variables that recording reads, whether they fit each other, and what changes the last digits."""

import os
from pathlib import Path

from weighbridge.app.doctor_check import Check, State
from weighbridge.errors import WeighbridgeError
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.statement import sign_statement, verify_statement
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.commitment import COMMITMENT

__all__ = ["CHECKS", "keeper_holds"]

_KNOWN = frozenset(
    f"WEIGHBRIDGE_{name}"
    for name in ("SPOOL", "KEY", "ROOTS", "RUNS", "RESUME", "CHIP", "CHIP_NOTICE", "REPLAY", "DIRECTORY")
)
_RECORDING = ("recording",)
_DIGITS = ("recording", "verifying")


def _variable(name: str) -> str:
    return os.environ.get(f"WEIGHBRIDGE_{name}", "")


def _key() -> tuple[State, str, str]:
    path = _variable("KEY")
    if not path:
        says = "WEIGHBRIDGE_KEY is not set: runs are recorded unsigned, and support no verdict"
        return State.WARN, says, "name the operator's key file (weighbridge practice FOLDER makes one to try with)"
    try:
        signer = FileSigner.load(path)
    except WeighbridgeError as error:
        return State.MISSING, f"WEIGHBRIDGE_KEY: {error.what}", error.mend or "name a key file of your own"
    if not signer.chain:
        return State.MISSING, f"{path} has no certificates beside it", "put the issued chain at KEY.chain.pem"
    return State.OK, f"key {signer.key_id[:16]} in {path}, readable to its owner only, certified", ""


def _roots() -> tuple[State, str, str]:
    folder = _variable("ROOTS")
    if not folder:
        needed = bool(_variable("SPOOL"))
        says = "WEIGHBRIDGE_ROOTS is not set" + (" though WEIGHBRIDGE_SPOOL is" if needed else "")
        return State.MISSING if needed else State.WARN, says, "name the folder of trust roots"
    try:
        roots = TrustRoots.load(folder)
    except (WeighbridgeError, OSError) as error:
        what = error.what if isinstance(error, WeighbridgeError) else str(error)
        return State.MISSING, f"WEIGHBRIDGE_ROOTS: {what}", "name the folder of trust roots"
    says = f"{len(roots.roots)} roots and the log {roots.log_key.origin} in {folder}"
    if not _variable("KEY"):
        return State.OK, says, ""
    try:
        signer = FileSigner.load(_variable("KEY"))
        verify_statement(sign_statement(signer, kind=COMMITMENT, subject="doctor", payload={}), roots)
    except WeighbridgeError as error:
        return (
            State.MISSING,
            f"{says}; what WEIGHBRIDGE_KEY signs does not verify under them: {error.what}",
            ("have the key certified under these roots, or name the roots under which it was"),
        )
    return State.OK, f"{says}; what WEIGHBRIDGE_KEY signs verifies under them", ""


def _spool() -> tuple[State, str, str]:
    folder = _variable("SPOOL")
    if not folder:
        says = "WEIGHBRIDGE_SPOOL is not set: runs are recorded, bound to nothing that an inspector saw"
        return State.WARN, says, "name the spool of the log's keeper"
    if not _variable("KEY"):
        return State.MISSING, "WEIGHBRIDGE_SPOOL is set and WEIGHBRIDGE_KEY is not", "name the key file"
    spool = Path(folder)
    mend = "start it: weighbridge log keep LOG --spool SPOOL --key KEY --roots ROOTS"
    if not (spool / "in").is_dir() or not (spool / "out").is_dir():
        return State.MISSING, f"{folder} is no spool", mend
    if not os.access(spool / "in", os.W_OK | os.X_OK) or not os.access(spool / "out", os.R_OK | os.X_OK):
        return (
            State.MISSING,
            f"{folder} is closed to this user",
            "ask its keeper for in/ of mode 1733, out/ of mode 755",
        )
    if not keeper_holds(spool):
        return State.MISSING, f"no keeper is at work on {folder}, as far as this process can see", mend
    return State.OK, f"{folder}, a keeper at work", ""


def keeper_holds(spool: Path) -> bool:
    """Returns whether some process holds the keeper's lock, from the kernel's list: trying it could keep one out."""
    try:
        inode = (spool / "keeper.lock").stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return False
    # NUMBER: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END
    fields = [line.split() for line in lines]
    return any("FLOCK" in words and any(word.endswith(f":{inode}") for word in words) for words in fields)


def _others() -> tuple[State, str, str]:
    """Looks at the variables that are set by others, or by mistake."""
    if _variable("REPLAY"):
        says = "WEIGHBRIDGE_REPLAY is set: a program would take itself for a verifier's replay and record nothing"
        return State.MISSING, says, "unset WEIGHBRIDGE_REPLAY"
    if resume := _variable("RESUME"):
        if not (Path(resume) / "journal-0000.jsonl").exists():
            return State.MISSING, f"WEIGHBRIDGE_RESUME names {resume}, which is no transcript", "unset it"
        says = f"WEIGHBRIDGE_RESUME is set: every program goes on with {resume} instead of starting a run"
        return State.WARN, says, "unset it after that run"
    if _variable("CHIP") or _variable("CHIP_NOTICE"):
        says = (
            "WEIGHBRIDGE_CHIP is set outside of weighbridge chip run: runs would name a chip that does not watch them"
        )
        return State.WARN, says, "unset WEIGHBRIDGE_CHIP and WEIGHBRIDGE_CHIP_NOTICE"
    unknown = sorted(name for name in os.environ if name.startswith("WEIGHBRIDGE_") and name not in _KNOWN)
    if unknown:
        return State.WARN, f"nothing reads {', '.join(unknown)}", f"there are {', '.join(sorted(_KNOWN))}"
    return State.OK, "none that should not be set", ""


def _threads() -> tuple[State, str, str]:
    count = len(os.sched_getaffinity(0))
    given = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    if "OMP_NUM_THREADS" not in given:
        says = f"OMP_NUM_THREADS is not set: torch takes a number of its own from {count} processors"
        return State.WARN, says, "set it: another number of threads changes the last digits of a replay"
    if not given["OMP_NUM_THREADS"].isdigit() or not 1 <= int(given["OMP_NUM_THREADS"]) <= count:
        says = f"OMP_NUM_THREADS is {given['OMP_NUM_THREADS']} on {count} processors"
        return State.WARN, says, f"set it to a number from 1 to {count}"
    return State.OK, f"{', '.join(f'{name}={value}' for name, value in given.items())} on {count} processors", ""


def _determinism() -> tuple[State, str, str]:
    if os.environ.get("PYTHONHASHSEED", "random") == "random":
        says = "PYTHONHASHSEED is not set: a program that loops over a set of words does so in another order each time"
        return State.WARN, says, "set PYTHONHASHSEED=0; it is recorded and set again on replay"
    graphics = any(Path("/dev").glob("nvidia[0-9]*"))
    if graphics and not os.environ.get("CUBLAS_WORKSPACE_CONFIG"):
        says = "CUBLAS_WORKSPACE_CONFIG is not set, and there is a GPU: its matrix products may differ each time"
        return State.WARN, says, "set CUBLAS_WORKSPACE_CONFIG=:4096:8"
    return State.OK, f"PYTHONHASHSEED={os.environ['PYTHONHASHSEED']}", ""


CHECKS = (
    Check("key", _RECORDING, _key),
    Check("trust roots", _RECORDING, _roots),
    Check("spool", _RECORDING, _spool),
    Check("other variables", _RECORDING, _others),
    Check("threads", _DIGITS, _threads),
    Check("determinism", _DIGITS, _determinism),
)
"""In the order in which they are printed."""
