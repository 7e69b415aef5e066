"""What watches a program is no part of it: a compiler that meets it calls it as it is, and looks no further.

Hooks on optimizers and around backward passes may run inside a function that ``torch.compile`` traces. Traced with it
they would be compiled code, and reading a state is more than a compiler can follow.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from torch._compile import _disable_dynamo

__all__ = ["untraced"]

P = ParamSpec("P")
R = TypeVar("R")


def untraced(function: Callable[P, R]) -> Callable[P, R]:
    """Returns a function that is called, and never traced, wherever a compiler meets it."""

    @functools.wraps(function)
    def calling(*arguments: P.args, **keywords: P.kwargs) -> R:
        return function(*arguments, **keywords)

    # As PyTorch marks its own: what torch.compiler.disable needs is imported with the first call, not before.
    marked: Callable[P, R] = _disable_dynamo(calling)
    return marked
