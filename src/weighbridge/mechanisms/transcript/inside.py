"""Recording begun from inside a program, by one line; what follows is watched as ``weighbridge record`` watches it.

The program may have built its model and drawn from its generators before, so its seeds cannot be bound, and PyTorch's
own callbacks in other frameworks (:mod:`.callbacks`) come later still. Where the line stands is part of the run: a
replay runs the program to it again, and begins to watch there.
"""

import atexit
import itertools
import json
import os
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.opens import Opens
from weighbridge.mechanisms.transcript.watched import WATCHED, Program, Watch

if TYPE_CHECKING:
    from weighbridge.mechanisms.transcript.observed import ObservedRecording
    from weighbridge.mechanisms.transcript.observing import Observer

__all__ = ["InsideRecording", "place_in_replay", "record"]

_CALLS = itertools.count()
"""Numbers the calls of one process, so that a replay begins to watch at the one that was recorded."""


def record(
    *,
    data: Iterable[str | os.PathLike[str]] = (),
    code: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    stride: int = 10,
    anchor_every: int = 0,
    variables: Iterable[str] = (),
    strict: bool = False,
    known: Iterable[Any] = (),
    place: str = "program",
) -> "InsideRecording":
    """Records the training that follows, in a program that keeps its own loop, data and seeds.

    One line::

        import weighbridge
        weighbridge.record(data=["corpus.txt"])  # before the model is built

    Nothing of the training changes. The seeds are the program's own: to have them bound, let ``weighbridge record
    --bind`` start the program instead. Under ``weighbridge record`` this does nothing, since all is watched already.

    Args:
        data: files and folders that the program reads its data from; a replay sees no other.
        code: folder of the program's own files; default the main script's folder.
        store: folder for transcripts; default ``$WEIGHBRIDGE_RUNS`` or ``weighbridge-runs``.
        stride: steps between committed digests of the full state.
        anchor_every: steps between anchored states; 0 for none but at both ends.
        variables: environment variables that the program depends on.
        strict: raise what keeps the training from being recorded, instead of saying it.
        known: models, optimizers and schedules that were built before.
        place: what asked for the recording; a replay is told, where it is not the program's own text.

    Returns:
        The recording; it ends with the program, or with its :meth:`~InsideRecording.finish`.

    Raises:
        InputError: there is no program's file to commit to, or an option is out of range.
    """
    call = next(_CALLS)
    if os.environ.get(WATCHED):
        return InsideRecording(None, None, strict=strict)
    plan = os.environ.get("WEIGHBRIDGE_REPLAY")
    if plan is not None:
        return _replayed(Path(plan), call, known)
    for name, value, least in (("stride", stride, 1), ("anchor_every", anchor_every, 0)):
        if value < least:
            raise InputError(f"must be at least {least}", where=name)
    files = [Path(path).resolve() for path in data]
    for path in files:
        if not path.exists():
            raise InputError("is not there", where=path, field="data", mend="name the files that hold the data")
    if "PYTHONHASHSEED" not in os.environ:
        _say(
            "sets are walked in an order of this process's own; if training depends on it, no replay can repeat it: set"
            " PYTHONHASHSEED=0"
        )
    # Not before: where all is watched from outside, the import of PyTorch is what begins that.
    from weighbridge.mechanisms.transcript.observed import ObservedRecording
    from weighbridge.mechanisms.transcript.observing import Observer

    arguments, module, folder = _program()
    own = Path(code).resolve() if code is not None else folder
    kept = Path(store or os.environ.get("WEIGHBRIDGE_RUNS") or "weighbridge-runs").resolve()
    recording = ObservedRecording(
        Program(
            arguments=arguments,
            module=module,
            code=own,
            launch=None,
            inside={"call": call, "place": place, "generators": _generators()},
        ),
        Watch(
            store=kept,
            stride=stride,
            data=tuple(files),
            variables=tuple(variables),
            strict=strict,
            anchor_every=anchor_every,
        ),
    )
    recording.discovery.know(known)
    opens = Opens(code=own, data=files, own=[kept])
    opens.hear_saves()
    return InsideRecording(
        recording,
        lambda failed: Observer(recording, failed=failed, forked=recording.marker.leave),
        strict=strict,
        opens=opens,
    )


def place_in_replay() -> str | None:
    """Returns what asked for the recording of which this process is the replay; None if it is no such replay."""
    plan = os.environ.get("WEIGHBRIDGE_REPLAY")
    if plan is None:
        return None
    inside = json.loads(Path(plan).read_bytes())["config"].get("inside")
    return str(inside["place"]) if inside else None


def _replayed(path: Path, call: int, known: Iterable[Any]) -> "InsideRecording":
    """Begins to watch a replayed program, if this is the call that was recorded."""
    from weighbridge.mechanisms.transcript.observed_replay import ObservedReplay
    from weighbridge.mechanisms.transcript.observing import Observer

    try:
        inside = json.loads(path.read_bytes())["config"]["inside"]
        wanted, generators = inside["call"], inside["generators"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError("is no plan for a program that records itself", where=path) from error
    if call != wanted:
        return InsideRecording(None, None, strict=True)
    _set_generators(generators)
    replay = ObservedReplay.from_plan(path)
    replay.discovery.know(known)
    return InsideRecording(None, lambda failed: Observer(replay, failed=failed), strict=True)


class InsideRecording:
    """A recording that was begun from inside the program.

    Use it as a context manager, or let it end with the program.
    """

    def __init__(
        self,
        recording: "ObservedRecording | None",
        observe: "Callable[[Callable[[Exception], None]], Observer] | None",
        *,
        strict: bool,
        opens: Opens | None = None,
    ) -> None:
        self._recording, self._strict, self._opens = recording, strict, opens
        self._fault: Exception | None = None
        self._over = observe is None
        self._observer = observe(self._failed) if observe is not None else None
        if not self._over:
            atexit.register(self._at_exit)

    def _failed(self, error: Exception) -> None:
        self._fault = error
        if self._strict:
            raise error
        _say(f"NOTHING IS RECORDED: {error}. The program goes on")

    def finish(self, *, well: bool = True) -> None:
        """Ends the recording.

        Args:
            well: whether the training came to its own end.
        """
        if self._over:
            return
        self._over = True
        atexit.unregister(self._at_exit)
        assert self._observer is not None
        if self._opens is not None:
            self._opens.close()
        began = self._observer.began
        self._observer.close()
        if self._recording is not None:
            self._recording.close(well=well)
            if not began and self._fault is None:
                _say(f"NOTHING WAS RECORDED: after the recording began, {self._observer.saw}")

    def _at_exit(self) -> None:
        self.finish(well=not hasattr(sys, "last_value"))  # set where an exception ended the program

    def __enter__(self) -> "InsideRecording":
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self.finish(well=kind is None)


def _say(sentence: str) -> None:
    print(f"weighbridge: {sentence}", file=sys.stderr)


def _program() -> tuple[tuple[str, ...], bool, Path]:
    """Returns the command line by which this very program can be run again, and its folder."""
    main: Any = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and spec.name not in ("__main__", None):
        return (spec.name.removesuffix(".__main__"), *sys.argv[1:]), True, Path.cwd()
    if file is None:
        raise InputError("cannot be found in an interactive session", where="code", mend="put the program into a file")
    script = Path(file).resolve()
    return (str(script), *sys.argv[1:]), False, script.parent


def _generators() -> dict[str, Any]:
    """Returns how Python's, NumPy's and PyTorch's generators stand, which begin otherwise in every process."""
    import torch

    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    packed = np.asarray(internal[:-1], dtype=np.uint32).tobytes().hex()
    return {
        "python": [version, packed, internal[-1], gauss],
        "numpy": [str(name), np.asarray(keys, dtype=np.uint32).tobytes().hex(), int(position), int(has_gauss), cached],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
    }


def _set_generators(told: Mapping[str, Any]) -> None:
    import torch

    torch.set_rng_state(torch.frombuffer(bytearray.fromhex(told["torch"]), dtype=torch.uint8))
    version, packed, position, gauss = told["python"]
    internal = np.frombuffer(bytes.fromhex(packed), dtype=np.uint32).tolist()
    random.setstate((version, (*internal, position), gauss))
    name, keys, place, has_gauss, cached = told["numpy"]
    np.random.set_state((name, np.frombuffer(bytes.fromhex(keys), dtype=np.uint32), place, has_gauss, cached))
