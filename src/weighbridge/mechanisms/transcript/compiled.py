"""Programs compiled by ``torch.compile``: still seen from outside, and no hook in what the compiler traces.

A hook inside a traced module becomes part of the compiled code, breaks its graph, and with it changes the last digits
of the training. So what is compiled is watched where it is called, and while it runs its modules have no hook of ours.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import torch
from torch import nn
from torch._guards import detect_fake_mode
from torch.nn.modules import module as module_hooks

__all__ = ["CompiledCalls", "compiling"]

Told = Callable[[nn.Module | None, tuple[Any, ...], dict[str, Any]], None]


def compiling() -> bool:
    """Returns whether what runs is a compiler's tracing and not the program: its tensors hold nothing."""
    return torch.compiler.is_compiling() or detect_fake_mode() is not None


class CompiledCalls:
    """Tells of calls of compiled modules and functions, from its making until :meth:`stop`.

    Args:
        told: told of each call that does not come from compiled code itself: the module (None for a function), what it
            was given by position and by name.
        ours: tells whether a hook is one of ours.
    """

    def __init__(self, told: Told, *, ours: Callable[[Any], bool]) -> None:
        self._told, self._ours = told, ours
        self._hooks: MutableMapping[int, Any] = module_hooks._global_forward_pre_hooks
        self._undo: list[Callable[[], None]] = []
        self._watched: set[type] = set()
        self._over = False
        self._replace(torch, "compile", self._compile(torch.compile))
        self._replace(nn.Module, "compile", self._compile_in_place(nn.Module.compile))

    def _replace(self, owner: Any, name: str, replacement: Any) -> None:
        original = owner.__dict__[name]
        setattr(owner, name, replacement)

        def undo() -> None:
            # Somebody may have wrapped it again since: then ours stays below theirs and passes everything through.
            if owner.__dict__.get(name) is replacement:
                setattr(owner, name, original)

        self._undo.append(undo)

    def _compile(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def compile(*arguments: Any, **keywords: Any) -> Any:
            made = original(*arguments, **keywords)
            if self._over or not (arguments or keywords.get("model")):  # a decorator with options: it calls this again
                return made
            if isinstance(made, nn.Module):
                self._watch_kind(type(made))
                return made
            return self._calling(None, made)

        return compile

    def _compile_in_place(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def compile(module: nn.Module, *arguments: Any, **keywords: Any) -> Any:
            made = original(module, *arguments, **keywords)
            if not self._over:
                inner: Any = module._compiled_call_impl
                module._compiled_call_impl = self._calling(module, getattr(inner, "_weighbridge_inner", inner))
            return made

        return compile

    def _watch_kind(self, kind: type) -> None:
        """Watches calls of the modules into which modules are compiled."""
        if kind in self._watched:
            return
        self._watched.add(kind)
        original: Any = kind.__call__

        @functools.wraps(original)
        def call(module: nn.Module, *arguments: Any, **keywords: Any) -> Any:
            if self._over or torch.compiler.is_compiling():
                return original(module, *arguments, **keywords)
            self._told(module, arguments, keywords)
            with self._hidden(module) as own:
                for hook in own:
                    hook(module, arguments, keywords)
                return original(module, *arguments, **keywords)

        self._replace(kind, "__call__", call)

    def _calling(self, module: nn.Module | None, inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        def call(*arguments: Any, **keywords: Any) -> Any:
            if self._over or torch.compiler.is_compiling():
                return inner(*arguments, **keywords)
            self._told(module, arguments, keywords)
            with self._hidden(module) as own:
                for hook in own:
                    hook(module, arguments, keywords)
                return inner(*arguments, **keywords)

        call._weighbridge_inner = inner  # type: ignore[attr-defined]
        return call

    @contextlib.contextmanager
    def _hidden(self, module: nn.Module | None) -> Iterator[list[Callable[..., Any]]]:
        """Takes our hooks away while compiled code runs, which may be traced now; yields those of the module itself."""
        own = [] if module is None else [hook for hook in module._forward_pre_hooks.values() if self._ours(hook)]
        places: list[tuple[MutableMapping[int, Any], ...]] = [(self._hooks,)]
        if module is not None:
            # What is called with keywords is listed beside the hooks, and a compiler looks there too.
            places += [(part._forward_pre_hooks, part._forward_pre_hooks_with_kwargs) for part in module.modules()]
        kept: list[tuple[MutableMapping[int, Any], dict[int, Any], set[int]]] = []
        for hooks, *beside in places:
            ours = {key for key, hook in hooks.items() if self._ours(hook)}
            if ours:
                kept += [(place, dict(place), ours) for place in (hooks, *beside)]
        for place, before, ours in kept:
            for key in ours & before.keys():
                del place[key]
        try:
            yield own
        finally:
            for place, before, ours in kept:
                gone = before.keys() - place.keys() - ours
                added = {key: place[key] for key in place.keys() - before.keys()}
                place.clear()  # their order is the order in which they are called
                place.update({key: hook for key, hook in before.items() if key not in gone} | added)

    def stop(self) -> None:
        """Stops telling; what was compiled goes on as it is."""
        self._over = True
        while self._undo:
            self._undo.pop()()
