"""Several processes that train one model (``torch.distributed``): which of them this is, taken from what is there.

No collective is ever called here, nothing is sent and nobody is waited for. The ranks share one secret, drawn before
any of them began: it came with the environment from whoever launched them. From it follow the group's id, which all
of them commit to, and the salts of what must be compared between ranks.
"""

import hashlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from blake3 import blake3
from torch import nn

from weighbridge.errors import EvidenceError, InputError

__all__ = ["GROUP_VARIABLE", "LAUNCHER_VARIABLES", "Group", "is_late", "wrapped_as"]

GROUP_VARIABLE: Final = "WEIGHBRIDGE_GROUP"
"""64 hexadecimal digits, the same for all ranks of one run; drawn by ``weighbridge record`` unless it is set."""

LAUNCHER_VARIABLES: Final = (
    "GROUP_RANK",
    "GROUP_WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "ROLE_NAME",
    "ROLE_RANK",
    "ROLE_WORLD_SIZE",
    "TORCHELASTIC_MAX_RESTARTS",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_RUN_ID",
)
"""What launchers tell each rank besides its rank, the number of ranks and the address at which they meet."""

_PREFIXES: Final = ("ACCELERATE_", "FSDP_")
_MOST: Final = 1 << 20
_SECRET: Final = re.compile(r"[0-9a-f]{64}")
_KINDS: Final = ("none", "ddp", "ddp-hook", "fsdp2", "other")


@dataclass(frozen=True, kw_only=True)
class Group:
    """One rank's place among those that train together.

    Attributes:
        secret: what all ranks share (hex, 32 bytes); opened like the rest of a run, never published.
        rank: number of this rank.
        world: number of ranks.
        attempt: how often the launcher had restarted all ranks before.
        variables: what the launcher told this rank besides.
    """

    secret: str
    rank: int
    world: int
    attempt: int = 0
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls, secret: str | None) -> "Group | None":
        """Returns the group that this process is in, or None for a process on its own.

        Rank and size are those of ``torch.distributed`` where it is initialised, else those that the launcher set.

        Args:
            secret: what the ranks share.

        Raises:
            InputError: there are several ranks and nothing that they share, or the environment's numbers are none.
        """
        told = _initialised() or _launched()
        if told is None or (told[1] < 2 and "TORCHELASTIC_RUN_ID" not in os.environ):
            return None
        if secret is None:
            mend = f"start it with weighbridge record, or set {GROUP_VARIABLE} to the same 64 hex digits for all"
            raise InputError("ranks share no secret, so nobody could join them", where=GROUP_VARIABLE, mend=mend)
        names = [name for name in os.environ if name in LAUNCHER_VARIABLES or name.startswith(_PREFIXES)]
        count = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return cls(
            secret=secret,
            rank=told[0],
            world=told[1],
            attempt=int(count) if count.isdecimal() else 0,
            variables={name: os.environ[name] for name in sorted(names)},
        )

    @property
    def id(self) -> str:
        """Name of the run that the ranks make together (hex, 32 bytes): it gives nothing of the secret away."""
        return hashlib.sha256(b"weighbridge/group/1" + bytes.fromhex(self.secret)).hexdigest()

    def salt(self, label: str) -> bytes:
        """Returns a salt that all ranks of this attempt share (32 bytes)."""
        text = f"weighbridge/group-salt/1/{self.attempt}/{label}"
        return blake3(text.encode(), key=bytes.fromhex(self.secret)).digest()

    def describe(self) -> dict[str, Any]:
        """Returns what a rank commits to."""
        return {
            "id": self.id,
            "secret": self.secret,
            "rank": self.rank,
            "world": self.world,
            "attempt": self.attempt,
            "variables": dict(self.variables),
        }

    @classmethod
    def of(cls, config: Mapping[str, Any], where: object) -> "Group | None":
        """Returns the group that a run committed to, or None for a run on its own.

        Raises:
            EvidenceError: it is malformed.
        """
        told = config.get("group")
        if told is None:
            return None
        try:
            group = cls(
                secret=told["secret"],
                rank=told["rank"],
                world=told["world"],
                attempt=told["attempt"],
                variables=told["variables"],
            )
            numbers = (group.rank, group.world, group.attempt)
            holds = (
                _SECRET.fullmatch(group.secret) is not None
                and all(type(number) is int and 0 <= number < _MOST for number in numbers)
                and group.rank < group.world
                and isinstance(group.variables, dict)
                and all(
                    isinstance(value, str)
                    and "\0" not in value
                    and (name in LAUNCHER_VARIABLES or name.startswith(_PREFIXES))
                    for name, value in group.variables.items()
                )
                and told["id"] == group.id
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise EvidenceError(f"is malformed ({error})", where=where, field="config.group") from error
        if not holds:
            raise EvidenceError("is malformed", where=where, field="config.group")
        return group


def _initialised() -> tuple[int, int] | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return int(distributed.get_rank()), int(distributed.get_world_size())


def _launched() -> tuple[int, int] | None:
    rank, world = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None or world is None:
        return None
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise InputError(f"{rank!r} of {world!r} is no rank of a group", where="RANK and WORLD_SIZE")
    return int(rank), int(world)


def is_late() -> bool:
    """Returns whether this process is one of several by now."""
    told = _initialised()
    return told is not None and told[1] > 1


def wrapped_as(modules: Mapping[str, nn.Module]) -> str:
    """Returns how the ranks keep their models alike, as far as it can be seen.

    ``ddp`` and ``fsdp2`` promise the same weights on all ranks after each step. ``ddp-hook`` (gradients joined by the
    program's own hook), ``other`` (FSDP's first version, mixtures) and ``none`` promise nothing.
    """
    parallel = sys.modules.get("torch.nn.parallel")
    fully = sys.modules.get("torch.distributed.fsdp")
    wrapper, sharder, old = (
        getattr(parallel, "DistributedDataParallel", ()),
        getattr(fully, "FSDPModule", ()),
        getattr(fully, "FullyShardedDataParallel", ()),
    )
    found: set[str] = set()
    for root in modules.values():
        children = list(root.modules())
        if any(isinstance(child, old) for child in children):
            found.add("other")
        elif any(isinstance(child, sharder) for child in children):
            found.add("fsdp2" if not any(isinstance(child, wrapper) for child in children) else "other")
        elif isinstance(root, wrapper):
            found.add("ddp-hook" if getattr(root, "_comm_hooks", None) else "ddp")
        elif any(True for _ in root.parameters()):
            found.add("none")
    return found.pop() if len(found) == 1 else "other"
