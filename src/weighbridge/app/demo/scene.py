"""The scene: who is there, who cheats how, and how large everything is. All of it follows from the demo's seed.

Sizes are in *peak-seconds*: what one chip of this machine does at its measured peak in one second. The rule is a fixed
fraction of peak × window, the same on every machine and for every seed.
"""

import random
from dataclasses import dataclass
from enum import StrEnum

from weighbridge.rules import Rule

__all__ = ["CONFIG", "RATE_HZ", "RULE_SHARE", "WINDOW_S", "Cast", "Cheat", "Sizes", "cast", "demo_rule", "sizes"]

RATE_HZ = 1.5
"""Freezes per running chip-second: the exposure bound is then 2.0 chip-seconds for one operator at 5 %."""

WINDOW_S = 80.0
RULE_SHARE = 0.2
"""The rule allows one fifth of what a chip could do in 80 seconds: 16 peak-seconds. Not tuned per run."""

CONFIG = {
    "batch_size": 8,
    "context": 128,
    "dropout": 0.1,
    "heads": 4,
    "layers": 4,
    "learning_rate": 1e-3,
    "warm_up": 20,
    "width": 192,
}

_NAMES = (
    "Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ironwood", "Juniper", "Kauri", "Larch",
    "Maple", "Oak", "Poplar", "Rowan", "Spruce", "Teak", "Willow", "Yew",
)  # fmt: skip


class Cheat(StrEnum):
    """What an operator does."""

    HONEST = "honest"
    UNDECLARED = "undeclared run on another chip"
    SECOND_MODEL = "second model inside the declared process"
    SPLICE = "stolen weights by the optimizer-state splice"
    CHAIN = "one long run declared as two"
    UNLISTED = "chips that the directory does not give them"


@dataclass(frozen=True)
class Sizes:
    """Steps of every run."""

    honest: int
    token: int
    hidden: int
    beside: int
    splice: int
    chained: int
    flop_per_step: float


@dataclass(frozen=True)
class Cast:
    """Which operator does what, in the order in which they are listed."""

    roles: dict[str, Cheat]
    serial_base: int
    delays: dict[str, float]

    def who(self, cheat: Cheat) -> str:
        """Returns the operator with a role."""
        return next(name for name, role in self.roles.items() if role is cheat)


def cast(seed: int) -> Cast:
    """Draws names, roles, serial numbers and small delays."""
    dice = random.Random(seed)  # noqa: S311 - a scene, not a secret
    names = dice.sample(_NAMES, len(Cheat))
    roles = dict(zip(sorted(names), dice.sample(list(Cheat), len(Cheat)), strict=True))
    return Cast(roles, dice.randrange(10**6, 10**7), {name: dice.uniform(0.0, 0.5) for name in names})


def sizes(seed: int, *, step_s: float, step_flop: float, peak: float) -> Sizes:
    """Returns steps for the seed, from the measured cost of a step.

    An honest run takes at most 13 seconds and declares at most 4.5 peak-seconds. What is hidden takes 19 seconds or
    more, well above the rule's 16 peak-seconds when it counts at capacity.
    """
    dice = random.Random(seed + 1)  # noqa: S311

    def steps(seconds: float, spread: float = 0.08) -> int:
        return max(20, round(seconds * dice.uniform(1 - spread, 1 + spread) / step_s))

    allowed = max(20, int(4.5 * peak / step_flop))
    return Sizes(
        honest=min(steps(12.0), allowed),
        token=min(steps(3.5), allowed),
        hidden=steps(21.0),
        beside=steps(12.5),
        splice=steps(18.5),
        chained=min(steps(11.5), allowed),
        flop_per_step=step_flop,
    )


def demo_rule(peak: float) -> Rule:
    """Returns the demo's rule: more than a fixed fraction of peak × window is forbidden."""
    return Rule(
        id="demo.window",
        name="The demo's rule: a fixed fraction of what one chip of this machine can do in the window",
        jurisdiction="demo",
        status="in force in the demo",
        kind="training_run",
        metric="cumulative_training_flop",
        comparator=">",
        threshold=RULE_SHARE * WINDOW_S * peak,
        unit="FLOP",
        scope="every lineage of an operator",
        obligations=("declare every run", "keep every chip under its agent"),
        source=f"{RULE_SHARE} x {WINDOW_S:g} s x the peak rate that the verifier measured",
        confidence="D",
        counting="us_ops_dense",
    )
