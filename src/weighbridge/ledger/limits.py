"""What the evidence of one inspection cannot show: each limit with its FLOP or "unbounded" (protocol section 6)."""

from collections.abc import Mapping, Sequence
from typing import Any

from weighbridge.ledger.policy import Policy

__all__ = ["known_limits"]


def _limit(name: str, flop: float | None, reason: str, closes: str) -> dict[str, Any]:
    return {
        "limit": name,
        "flop": "unbounded" if flop is None else flop,
        "reason": reason,
        "closed_by": closes,
    }


def known_limits(
    *,
    policy: Policy,
    declared_seconds: float,
    declared_flop: float,
    off_seconds: float,
    attempts: int,
    protections: Sequence[str],
    separated: bool,
    accounting: Sequence[str],
) -> list[dict[str, Any]]:
    """Returns the limits that a reader of the verdict must know.

    Args:
        policy: the logged plan.
        declared_seconds: chip-seconds covered by declared steps.
        declared_flop: FLOP declared in them.
        off_seconds: chip-seconds of the window in which no record says that the chip ran.
        attempts: runs committed, opened or not.
        protections: where the chips' keys live.
        separated: whether every command ran under another user than its agent.
        accounting: how CPU time was counted.
    """
    room = max(0.0, declared_seconds * policy.capacity.flop_per_s - declared_flop)
    found = [
        _limit(
            "adversarial code",
            room,
            "the committed program itself may train something else in its own steps; replay repeats that as honestly"
            " as the rest. The figure is what the chips could have done in the covered time beyond what was declared",
            "review of the code by inspectors; an allow-listed framework",
        ),
        _limit(
            "chips outside the register",
            None,
            "a chip that no maker certified and no directory lists leaves no record here",
            "supply-chain tracking, visits, power and network measures",
        ),
        _limit(
            "compute switched off",
            off_seconds * policy.capacity.flop_per_s,
            "before its first boot, and between a signed shutdown and the next boot, a chip is assumed to be off. The"
            " figure is what the chips could have done in that time, had they run without saying so",
            "tamper-evident power metering, or firmware that cannot be bypassed",
        ),
        _limit(
            "compute before the window",
            None,
            "what was trained before the plan was logged is not in this account",
            "coverage from the day that a chip leaves its maker",
        ),
        _limit(
            "unexplained memory",
            min(policy.unexplained_limit_flop, room),
            f"up to {policy.unexplained_limit_bytes / (1 << 20):.3g} MiB a record may stay unexplained beyond what an"
            " honest replay holds: room to train a model to"
            f" {policy.unexplained_limit_flop:.2e} FLOP, if it had the time. Time beyond what the declared steps need"
            " is in X, so only the time of the declared steps themselves is left for it: the figure is the lesser",
            "a lower limit; explaining libraries and activations by hash",
        ),
        _limit(
            "choice among seeds",
            0.0,
            f"{attempts} runs were committed, each a draw of its own: what has chance p in one draw has at most"
            f" 1 - (1 - p)^{attempts} in all of them. It hides no compute, which is charged whether or not a run was"
            " opened",
            "a limit on commitments that are not opened",
        ),
        _limit(
            "state outside process memory",
            None,
            "weights parked in files or in another machine's memory are not read at a freeze; training them still"
            " needs chip-time, which is counted",
            "freezes that reach storage and device memory",
        ),
        _limit(
            "data additions below replay's resolution",
            0.0,
            "replay here is bit-exact, so that none is; in tolerance mode the figure would not be zero",
            "bit-exact replay on the same class of hardware",
        ),
        _limit(
            "data chosen to steer",
            None,
            "synthetic points that force a wanted gradient in any order are not excluded (Baker et al. 2025, fn. 108)",
            "inspection of the data",
        ),
        _limit(
            "maker's collusion",
            None,
            "the maker certifies the chip's key and schedule; a dishonest one could issue both twice",
            "several makers' attestations, public certificate logs",
        ),
    ]
    if "file" in protections:
        found.append(
            _limit(
                "software agents",
                None,
                "chip keys lie in files and the agent is a program: whoever is root on the host can read both, so"
                " level A demonstrates the protocol and proves nothing against an operator with root",
                "an agent in the chip's firmware with a key that cannot leave it",
            )
        )
    if not separated:
        found.append(
            _limit(
                "no separation of users",
                None,
                "a command ran under its agent's user id and could read the agent's files",
                "run the agent as root or under a user of its own",
            )
        )
    if any(kind == "process-tree" for kind in accounting):
        found.append(
            _limit(
                "weak count of CPU time",
                None,
                "no control group was available, so CPU time of some children may be missing; active time was"
                " charged instead",
                "a kernel with writable control groups",
            )
        )
    return found


def summary_of_limits(limits: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line: how many limits are unbounded."""
    open_ended = sum(1 for limit in limits if limit["flop"] == "unbounded")
    return f"{len(limits)} known limits, {open_ended} of them unbounded"
