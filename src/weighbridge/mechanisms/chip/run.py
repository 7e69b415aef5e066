"""Running a command under a chip: everything around the agent's loop, made and undone in order."""

import contextlib
import os
import platform
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from weighbridge.errors import InputError
from weighbridge.evidence.spool import SpoolClient
from weighbridge.mechanisms.chip.agent import Agent
from weighbridge.mechanisms.chip.agent_types import AgentOptions, RunResult
from weighbridge.mechanisms.chip.cgroup import CgroupEnclosure
from weighbridge.mechanisms.chip.command import Launch, WatchedCommand
from weighbridge.mechanisms.chip.enclosure import Enclosure
from weighbridge.mechanisms.chip.finisher import Finisher
from weighbridge.mechanisms.chip.firmware import forbid_inspection, host_digest
from weighbridge.mechanisms.chip.heartbeat import Heartbeat
from weighbridge.mechanisms.chip.launch import account_of, locate, masks_for, needed_paths
from weighbridge.mechanisms.chip.leaf_format import LIMITS, check_leaf_size
from weighbridge.mechanisms.chip.notice import Notice, remove_stale
from weighbridge.mechanisms.chip.position import ChipSchedule, read_head, resume
from weighbridge.mechanisms.chip.process_tree import TreeEnclosure
from weighbridge.mechanisms.chip.store import Store

__all__ = ["DEFAULT_LATE_LIMIT", "DEFAULT_LEAF_SIZE", "run_command"]

DEFAULT_LEAF_SIZE = 16384
DEFAULT_LATE_LIMIT = 0.25


def run_command(
    directory: str | os.PathLike[str],
    command: Sequence[str],
    *,
    spool: str | os.PathLike[str] | None = None,
    leaf_size: int = DEFAULT_LEAF_SIZE,
    core: int | None = None,
    user: str | int | None = None,
    late_limit: float = DEFAULT_LATE_LIMIT,
    bracket: str | os.PathLike[str] | None = None,
    expose: Sequence[str | os.PathLike[str]] = (),
    working_directory: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    receipts_within: float = 2.0,
    process_tree: bool = False,
    warn: Callable[[str], None] | None = None,
) -> RunResult:
    """Runs a command under watch, in this process: it becomes undumpable and, if root, more urgent.

    Args:
        directory: the chip's directory, from :func:`weighbridge.mechanisms.chip.setup.init_chip`.
        command: program and arguments.
        spool: the log's spool, or None to keep records here only.
        leaf_size: bytes of a whole leaf, a power of two from 4096 to 1 MiB.
        core: the one processor to pin the command to; any if None.
        user: user that the command runs as, by name or number; ``nobody`` for an agent that is root.
        late_limit: seconds of lateness beyond which to warn.
        bracket: file with the newest checkpoint or inspector's value, read again when it changes.
        expose: paths that the command must reach although directories above them are closed to its user.
        working_directory: where the command starts; here if None.
        environment: the command's environment, to which the chip's two variables are added; ours if None.
        receipts_within: seconds to wait at the end for receipts that have not come.
        process_tree: use the weaker enclosure even where control groups can be made.
        warn: takes a sentence for the operator; standard error if None.

    Returns:
        How it went, with the command's exit status.

    Raises:
        InputError: the command, a path or the store cannot be used; the command is not left running.
        EvidenceError: the chip's files contradict each other.
    """
    if platform.system() != "Linux":
        raise InputError(f"watching a command needs Linux, this is {platform.system()}")
    if not command:
        raise InputError("no command given", mend="put it after --")
    if not check_leaf_size(leaf_size):
        raise InputError(
            f"a leaf is a power of two from {LIMITS.smallest_leaf} to {LIMITS.largest_leaf} bytes",
            where=leaf_size,
            field="leaf_size",
        )
    environment = dict(os.environ if environment is None else environment)
    account = account_of(user)
    program = locate(command[0], search=environment.get("PATH"))
    if "/" in command[0]:
        command = [str(program), *command[1:]]  # it may start elsewhere than here
    needed = needed_paths(program)
    available = os.sched_getaffinity(0)
    if core is not None and core not in available:
        raise InputError(f"is not one of {sorted(available)}", where=core, field="core")
    start = Path(working_directory or Path.cwd()).absolute()
    speak = warn or (lambda sentence: print(f"weighbridge: {sentence}", file=sys.stderr, flush=True))
    with contextlib.ExitStack() as stack:
        store = Store.open(Path(directory))
        stack.callback(store.close)
        forbid_inspection()
        schedule = ChipSchedule(store.seed, chip=store.chip, terms=store.terms)
        heartbeat = Heartbeat(store.directory / "heartbeat", host=bytes.fromhex(host_digest(store.chip)))
        stack.callback(heartbeat.close)
        head = read_head(store)
        resumption = resume(store, schedule, heartbeat, head, now_ns=time.monotonic_ns())
        remove_stale(store.state().notice)
        notice = Notice(chip=store.chip, boot=resumption.boot)
        stack.callback(notice.close)
        masks = []
        if account is not None:
            reach = [start, *(Path(path).absolute() for path in expose)]
            masks = masks_for(account, readable=[*needed, notice.directory], writable=reach)
        enclosure = _enclosure(store.chip, process_tree=process_tree)
        stack.callback(enclosure.close)
        finisher = Finisher(
            store,
            heartbeat,
            previous=head.previous,
            spool=None if spool is None else SpoolClient(spool),
            warn=speak,
        )
        stack.callback(finisher.close)
        finisher.resubmit()
        agent = Agent(
            store,
            schedule=schedule,
            resumption=resumption,
            heartbeat=heartbeat,
            finisher=finisher,
            enclosure=enclosure,
            notice=notice,
            options=AgentOptions(
                leaf_size=leaf_size,
                late_limit=late_limit,
                bracket=None if bracket is None else Path(bracket),
                cores=frozenset(available if core is None else {core}),
                uid_separated=account is not None,
                warn=speak,
            ),
            first_sequence=head.count,
        )
        agent.save_state()
        nice, oom_score = _hurry()
        with _signals() as wake:
            watched = WatchedCommand(
                Launch(
                    command=command,
                    environment=environment | notice.variables(),
                    directory=start,
                    account=account,
                    core=core,
                    masks=masks,
                    nice=nice,
                    oom_score=oom_score,
                ),
                enclosure,
            )
            result = agent.run(watched, wake)
        finisher.close(receipts_within=receipts_within)
        return result


def _enclosure(chip: str, *, process_tree: bool) -> Enclosure:
    made = None if process_tree else CgroupEnclosure.create(f"weighbridge-{chip[:16]}-{secrets.token_hex(4)}")
    return made or TreeEnclosure()


def _hurry() -> tuple[int, str]:
    """Puts this process before others, so that stops are on time and memory pressure ends the command first.

    Only root may; others run as they are.

    Returns:
        Priority and memory-pressure score as they were: the command gets these.
    """
    score = Path("/proc/self/oom_score_adj")
    nice, oom_score = os.getpriority(os.PRIO_PROCESS, 0), score.read_text().strip()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(nice, -10))
    with contextlib.suppress(OSError):
        score.write_text("-900")
    # The finisher computes while the loop waits for a due time: hand the interpreter over quickly.
    sys.setswitchinterval(0.0005)
    return nice, oom_score


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """Yields a descriptor that becomes readable when SIGTERM, SIGINT or SIGHUP came."""
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {}

    def came(number: int, frame: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(wake_write, b"s")

    try:
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, came) for number in numbers}
        yield wake_read
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wake_read)
        os.close(wake_write)
