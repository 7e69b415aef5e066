"""Every seed that a program asks for follows from the run's seed: no line of the program is changed.

``torch.manual_seed(x)`` then seeds with ``SHA-256("weighbridge/asked-seed/1" ‖ library ‖ x ‖ run seed)``, truncated to
the width of the generator, and so for Python's and NumPy's generators and for objects of their own. Who asks twice for
the same seed of one library gets the same stream; who asks for none gets one by how often that was done. Generators
never seeded at all begin from the run's seed. What frameworks offer (``transformers.set_seed``,
``lightning.seed_everything``, ``accelerate.utils.set_seed``) calls these.

The system's own randomness (``os.urandom``, ``secrets``) stays as it is; calls from the program's own code are counted.

Completeness is not what a verifier relies on: a seed that was set behind all of this shows when the initial state is
derived under a second seed (:mod:`.second_seed`).
"""

import functools
import hashlib
import os
import random
import sys
import sysconfig
import tempfile  # noqa: F401 - before anything is bound: the names of temporary files are drawn as ever
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from weighbridge.mechanisms.transcript.encoding import canonical, framed

__all__ = ["AskedSeeds", "count_system_random"]

_NEVER = "never seeded"
_TORCH_BITS = 63
_NUMPY_BITS = 32
_WIDE_BITS = 256


class AskedSeeds:
    """Answers a program that asks for seeds, in one process; a forked worker goes on with a copy.

    Args:
        seed: the run's seed (32 bytes).
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._heard = hashlib.sha256()
        self._unnamed: dict[str, int] = {}
        self._inside = False

    def derived(self, library: str, asked: Any, bits: int) -> int:
        """Returns the seed that is used in place of the one asked for.

        Args:
            library: whose generator it is.
            asked: what the program named; None where it wanted any.
            bits: width of the seed.
        """
        if asked is None:
            self._unnamed[library] = self._unnamed.get(library, 0) + 1
            named: list[Any] = ["any", self._unnamed[library]]
        else:
            named = ["asked", _named(asked)]
            if asked != _NEVER:
                self._heard.update(framed(library.encode()) + framed(canonical(named)))
        whole = hashlib.sha256(
            b"weighbridge/asked-seed/1" + framed(library.encode()) + framed(canonical(named)) + self._seed
        )
        return int.from_bytes(whole.digest()) >> (_WIDE_BITS - bits)

    def heard(self) -> str:
        """Returns a digest of the seeds named so far, hex: the same whenever a program names the same."""
        return self._heard.hexdigest()

    def bind_python(self) -> None:
        """Binds the module ``random``; call it before the program is loaded."""
        asked = self
        original: Any = random.Random
        plain_seed = random.seed

        class Random(original, metaclass=_counting(original)):  # type: ignore[metaclass, misc]
            def seed(self, a: Any = None, version: int = 2) -> None:
                super().seed(asked.derived("python", a, _WIDE_BITS))

        @functools.wraps(plain_seed)
        def seed(a: Any = None, version: int = 2) -> None:
            plain_seed(asked.derived("python", a, _WIDE_BITS))

        _stand_in(Random, original, random)
        random.seed = seed
        plain_seed(self.derived("python", _NEVER, _WIDE_BITS))

    def bind_numpy(self) -> None:
        """Binds ``numpy.random``, which has been imported."""
        import numpy as np

        asked = self
        module = np.random
        sequence: Any = module.SeedSequence
        state: Any = module.RandomState
        plain_seed, plain_rng = module.seed, module.default_rng

        class RandomState(state, metaclass=_counting(state)):  # type: ignore[metaclass, misc]
            def __init__(self, seed: Any = None) -> None:
                super().__init__(seed if _ready(seed) else asked.derived("numpy.legacy", seed, _NUMPY_BITS))

            def seed(self, seed: Any = None) -> None:
                super().seed(asked.derived("numpy.legacy", seed, _NUMPY_BITS))

        def sown(entropy: Any = None, **keywords: Any) -> Any:
            return sequence(asked.derived("numpy", entropy, _WIDE_BITS), **keywords)

        def grown(plain: Any) -> Callable[..., Any]:
            def bits(seed: Any = None, **keywords: Any) -> Any:
                whole = _ready(seed) or keywords.get("key") is not None
                return plain(seed if whole else sown(seed), **keywords)

            return bits

        def _ready(seed: Any) -> bool:
            return isinstance(seed, (sequence, module.BitGenerator, module.Generator, state))

        @functools.wraps(plain_seed)
        def seed(seed: Any = None) -> None:
            plain_seed(asked.derived("numpy.legacy", seed, _NUMPY_BITS))

        @functools.wraps(plain_rng)
        def default_rng(seed: Any = None) -> Any:
            return plain_rng(seed if _ready(seed) else sown(seed))

        _make_instead(sequence, sown, module)
        _stand_in(RandomState, state, module, sys.modules[state.__module__])
        for name in ("PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937"):
            plain: Any = getattr(module, name)
            _make_instead(plain, grown(plain), module)
        module.seed, module.default_rng = seed, default_rng
        plain_seed(self.derived("numpy.legacy", _NEVER, _NUMPY_BITS))

    def bind_torch(self) -> None:
        """Binds PyTorch, which has been imported."""
        import torch

        asked = self
        native: Any = torch._C.Generator

        class Generator(native, metaclass=_counting(native)):  # type: ignore[metaclass, misc]
            def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
                made = super().__new__(cls, *arguments, **keywords)
                native.manual_seed(made, asked.derived("torch", _NEVER, _TORCH_BITS))
                return made

            def manual_seed(self, seed: int) -> Any:
                super().manual_seed(asked.derived("torch", int(seed), _TORCH_BITS))
                return self

            def seed(self) -> int:
                chosen = asked.derived("torch", None, _TORCH_BITS)
                super().manual_seed(chosen)
                return chosen

        _stand_in(Generator, native, torch, named="Generator")
        plain: Callable[[int], Any] = torch.random.manual_seed

        def once(function: Callable[..., Any]) -> Callable[..., Any]:
            """Derives a seed where the program asks, not again where one of these calls another."""

            @functools.wraps(function)
            def asking(seed: int) -> Any:
                if asked._inside:
                    return function(seed)
                asked._inside = True
                try:
                    return function(asked.derived("torch", int(seed), _TORCH_BITS))
                finally:
                    asked._inside = False

            return asking

        @functools.wraps(torch.random.seed)
        def seed() -> int:
            chosen = asked.derived("torch", None, _TORCH_BITS)
            asked._inside = True
            try:
                plain(chosen)
            finally:
                asked._inside = False
            return chosen

        torch.manual_seed = torch.random.manual_seed = once(plain)
        torch.seed = torch.random.seed = seed
        for name in ("manual_seed", "manual_seed_all"):
            setattr(torch.cuda, name, once(getattr(torch.cuda, name)))
        torch.default_generator.manual_seed(self.derived("torch", _NEVER, _TORCH_BITS))


def _named(asked: Any) -> Any:
    """Returns what was asked for as plain data: equal seeds alike, whatever holds them."""
    if isinstance(asked, (bytes, bytearray)):
        return ["bytes", asked.hex()]
    if isinstance(asked, (str, float)):
        return [type(asked).__name__, str(asked)]
    if hasattr(asked, "tolist"):
        asked = asked.tolist()
    if isinstance(asked, (list, tuple, range)):
        return [_named(item) for item in asked]
    return ["whole", str(int(asked))]  # raises TypeError for what is no seed


def _counting(plain: Any) -> Any:
    """Returns a metaclass by which what was made before the binding counts as made by the bound class, too."""

    class Counting(type(plain)):  # type: ignore[misc]
        def __instancecheck__(cls, instance: Any) -> bool:
            return (
                isinstance(instance, plain) if cls.__name__ == plain.__name__ else super().__instancecheck__(instance)
            )

    return Counting


def _stand_in(bound: Any, plain: Any, *modules: Any, named: str | None = None) -> None:
    """Puts a bound class where the plain one was; pickled, it is the plain one to who loads it elsewhere."""
    bound.__qualname__ = bound.__name__ = named or plain.__name__
    bound.__module__, bound.__doc__ = plain.__module__, plain.__doc__
    for module in modules:
        setattr(module, bound.__name__, bound)


def _make_instead(plain: Any, make: Callable[..., Any], module: Any) -> None:
    """Puts a class where the plain one was that makes plain objects, bound: NumPy pickles them by their class."""

    class Made(plain, metaclass=_counting(plain)):  # type: ignore[metaclass, misc]
        def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
            return make(*arguments, **keywords) if cls is Made else super().__new__(cls)

    _stand_in(Made, plain, module)


def count_system_random(code: Path) -> Callable[[], int]:
    """Counts how often a program's own code asks the system for randomness; returns what tells the count.

    Args:
        code: folder of the program's own files.
    """
    standard = sysconfig.get_paths()["stdlib"]
    count = 0
    original = os.urandom

    def own() -> bool:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            name = frame.f_code.co_filename
            if not (name.startswith((standard, "<frozen")) and "site-packages" not in name):
                return Path(name).is_relative_to(code)
            frame = frame.f_back
        return False

    @functools.wraps(original)
    def urandom(size: int, /) -> bytes:
        nonlocal count
        count += own()
        return original(size)

    os.urandom = urandom
    random._urandom = urandom  # type: ignore[attr-defined]
    return lambda: count
