"""What a replay process is asked to walk: stretches of a run, states to write out, digests to compare."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.errors import EvidenceError
from weighbridge.evidence.files import read_plain

__all__ = ["Leg", "Probe", "ReplayPlan"]

_PLAN_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True)
class Leg:
    """One stretch of replay: from the state at ``start`` (``anchor`` None: built from the seed) to ``until``."""

    start: int
    until: int
    anchor: str | None = None


@dataclass(frozen=True)
class Probe:
    """Losses to find at the state at ``step``: of each list of rows, handed to the program as one batch."""

    step: int
    anchor: str | None
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ReplayPlan:
    """What one replay process walks. Steps of ``captures`` and ``digests`` are states at the start of that step."""

    seed: bytes
    key: bytes
    legs: tuple[Leg, ...]
    captures: frozenset[int]
    digests: frozenset[int]
    out: Path
    config: Mapping[str, Any]
    steps: int
    batch_size: int
    count_flop: bool = False
    data_root: str | None = None
    """Root of data that the program makes in memory: it must make the same again."""
    parent: Path | None = None
    """File of the parent's final state."""
    walked: Mapping[str, Any] = field(default_factory=dict)
    """What the journal says of steps that a program of its own loop walks through without training."""
    probes: tuple[Probe, ...] = ()
    """Walked after the stretches, with nothing trained."""

    def as_json(self) -> str:
        """Returns the plan as the sandboxed side reads it."""
        return json.dumps(
            {
                "seed": self.seed.hex(),
                "key": self.key.hex(),
                "legs": [[leg.start, leg.until, leg.anchor] for leg in self.legs],
                "captures": sorted(self.captures),
                "digests": sorted(self.digests),
                "out": str(self.out),
                "config": dict(self.config),
                "steps": self.steps,
                "batch_size": self.batch_size,
                "count_flop": self.count_flop,
                "data_root": self.data_root,
                "parent": str(self.parent) if self.parent else None,
                "walked": dict(self.walked),
                "probes": [[probe.step, probe.anchor, probe.rows] for probe in self.probes],
            }
        )

    @classmethod
    def read(cls, path: Path) -> "ReplayPlan":
        """Reads a plan file.

        Raises:
            EvidenceError: it is not readable, or no plan.
        """
        try:
            data = json.loads(read_plain(path, limit_bytes=_PLAN_LIMIT_BYTES))
            plan = cls(
                seed=bytes.fromhex(data["seed"]),
                key=bytes.fromhex(data["key"]),
                legs=tuple(Leg(int(a), int(b), None if c is None else str(c)) for a, b, c in data["legs"]),
                captures=frozenset(int(step) for step in data["captures"]),
                digests=frozenset(int(step) for step in data["digests"]),
                out=Path(data["out"]),
                config=dict(data["config"]),
                steps=int(data["steps"]),
                batch_size=int(data["batch_size"]),
                count_flop=bool(data["count_flop"]),
                data_root=data["data_root"],
                parent=Path(data["parent"]) if data["parent"] else None,
                walked=dict(data["walked"]),
                probes=tuple(
                    Probe(int(a), None if b is None else str(b), tuple(tuple(int(i) for i in rows) for rows in c))
                    for a, b, c in data["probes"]
                ),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise EvidenceError(f"is not a readable plan ({error})", where=path) from error
        ends = [step for leg in plan.legs for step in (leg.start, leg.until)]
        if not ends or ends != sorted(ends) or ends[0] < 0 or len(plan.key) != 32 or plan.batch_size < 1:
            raise EvidenceError("its stretches are not in ascending order, or its sizes are none", where=path)
        return plan
