"""Replay of many stretches on workers: one sandbox each, put together as if one process had walked them all.

Where two stretches meet, one process would walk on; here the second begins at the anchor between them, whose digest was
committed and which the first must reach. What a state does not hold (:mod:`.state`) is therefore lost there: such a
program replays only without workers.
"""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError, InputError, MissingToolError, WeighbridgeError
from weighbridge.evidence.files import read_plain
from weighbridge.evidence.trust import TrustRoots
from weighbridge.mechanisms.transcript.replay import Replay, replay
from weighbridge.mechanisms.transcript.replay_outcome import join_replays
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.workers import Workers

__all__ = ["replay_on"]

_ERRORS: Mapping[str, type[WeighbridgeError]] = {
    kind.__name__: kind for kind in (EvidenceError, InputError, MissingToolError)
}


@dataclass(frozen=True, kw_only=True)
class _Order:
    """One stretch, and what a worker needs to replay it."""

    folder: Path
    roots: TrustRoots | None
    leg: Leg
    digests: frozenset[int]
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What came back: the replay without its folder, and the states in it; or an error, in its own words."""

    replay: Replay | None = None
    states: Mapping[str, bytes] | None = None
    error: tuple[str, str] | None = None


def _work(order: _Order) -> _Part:
    """Replays one stretch; runs on a worker."""
    try:
        transcript = Transcript.open(order.folder, order.roots)
        with replay(transcript, legs=[order.leg], digests=order.digests, **order.options) as outcome:
            states = {}
            for path in sorted(outcome.folder.glob("state-*.safetensors")):
                if path.is_file() and not path.is_symlink():
                    states[path.name] = read_plain(path, limit_bytes=path.lstat().st_size)
            return _Part(replay=outcome, states=states)
    except WeighbridgeError as error:
        kind = next((name for name, kind in _ERRORS.items() if isinstance(error, kind)), "InputError")
        return _Part(error=(kind, str(error)))


@contextmanager
def replay_on(
    workers: Workers,
    transcript: Transcript,
    *,
    legs: Sequence[Leg],
    digests: Collection[int],
    roots: TrustRoots | None,
    tell: Callable[[str], None],
    data: Path | None = None,
    parent: Path | None = None,
    threads: int | None = None,
    count_flop: bool = False,
) -> Iterator[Replay]:
    """Replays stretches on workers and yields them as one replay, in the run's order.

    Args:
        workers: where.
        transcript: the opened run; workers open it again, at the same path.
        legs: stretches in ascending order.
        digests: steps whose digest is written out.
        roots: whom to trust.
        tell: told of each stretch that is done.
        data: as :func:`~.replay.replay`.
        parent: as there.
        threads: as there.
        count_flop: as there; the first stretch alone counts.

    Raises:
        EvidenceError: as :func:`~.replay.replay`, of the first stretch that has one.
        InputError: a stretch could not be replayed.
        MissingToolError: Ray, or a worker's sandbox, is not installed.
    """
    out = Path(tempfile.mkdtemp(prefix="weighbridge-states-"))
    # On this machine workers write below it, so that nothing stays of one that was killed.
    scratch = out if workers.count else None
    options = {"data": _absolute(data), "parent": _absolute(parent), "scratch": scratch, "threads": threads}
    folder = transcript.folder.resolve()
    orders = [
        _Order(
            folder=folder,
            roots=roots,
            leg=leg,
            digests=frozenset(step for step in digests if leg.start <= step <= leg.until),
            options=options | {"count_flop": count_flop and place == 0},
        )
        for place, leg in enumerate(legs)
    ]
    try:
        parts: dict[int, _Part] = {}
        for place, part in workers.map(_work, orders):
            for name, content in (part.states or {}).items():
                (out / name).write_bytes(content)
            parts[place] = replace(part, states=None)
            leg, word = legs[place], "failed" if part.error else "replayed"
            tell(f"steps {leg.start} to {leg.until} {word} ({len(parts)} of {len(legs)} stretches)")
        yield _joined([parts[place] for place in range(len(legs))], out)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


def _joined(parts: Sequence[_Part], out: Path) -> Replay:
    """Returns one replay: where two stretches meet, the state is the one that the first reached."""
    for part in parts:
        if part.error is not None:
            kind, words = part.error
            raise _ERRORS[kind](words)
    replays = [part.replay for part in parts if part.replay is not None]
    return join_replays(replays, out)
