"""Every attack and every honest control by its name."""

import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final, TypeVar

from weighbridge.attacks.trial import Attack, Control

__all__ = ["every_attack", "every_control"]

_MODULES: Final[tuple[str, ...]] = ("adversarial", "declarations", "honest", "joints", "paper", "published")
"""Modules of this package with ``ATTACKS`` or ``CONTROLS``, in alphabetical order."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_Entry = TypeVar("_Entry", Attack, Control)


def every_attack() -> dict[str, Attack]:
    """Returns all attacks by name, in alphabetical order."""
    return _by_name(attack for module in _MODULES for attack in _listed(module, "ATTACKS"))


def every_control() -> dict[str, Control]:
    """Returns all honest controls by name, in alphabetical order."""
    return _by_name(control for module in _MODULES for control in _listed(module, "CONTROLS"))


def _listed(module: str, attribute: str) -> Any:
    return getattr(import_module(f"weighbridge.attacks.{module}"), attribute, ())


def _by_name(entries: Iterable[_Entry]) -> dict[str, _Entry]:
    named: dict[str, _Entry] = {}
    for entry in entries:
        assert _NAME.fullmatch(entry.name), f"{entry.name!r} is no name in lower case with hyphens"
        assert entry.name not in named, f"two attacks or controls are called {entry.name}"
        named[entry.name] = entry
    return dict(sorted(named.items()))
