"""What one boot of a chip was used for, in processor-seconds: signed time against what the declared steps need."""

from collections.abc import Callable, Sequence

from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.ledger.account import BootUse
from weighbridge.ledger.policy import Policy
from weighbridge.ledger.windows import Window
from weighbridge.ledger.workspace import Logged
from weighbridge.mechanisms.chip.record import ChipRecord

__all__ = ["beyond_ticks", "boot_use", "gap_after", "silent"]

_Members = Sequence[tuple[ChipRecord, Logged]]


def boot_use(
    chip: str,
    members: _Members,
    windows: Sequence[Window],
    *,
    tail_s: float,
    policy: Policy,
) -> tuple[BootUse, list[Finding]]:
    """Returns the use of one boot and what its CPU time gives rise to.

    Args:
        chip: chip id.
        members: the boot's records in order, challenges aside.
        windows: the boot's declared windows.
        tail_s: seconds after the last record that nothing bounds.
        policy: the logged plan.
    """
    first, last = members[0][0], members[-1][0]
    cores = max(1, *(record.cores for record, _ in members))
    counted = all(record.accounting == "cgroup2" for record, _ in members)

    def reading(record: ChipRecord) -> float:
        """CPU seconds; where children may be missing from the count, as if every processor had been busy."""
        return record.cpu_ns / 1e9 if counted else (record.active_ns - first.active_ns) / 1e9 * cores

    active = (last.active_ns - first.active_ns) / 1e9 * cores
    spent = _together(windows, reading)
    covered = min(sum(min(w.needed_s, reading(w.last) - reading(w.first)) for w in windows), spent)
    steps, needed = sum(w.steps for w in windows), sum(w.needed_s for w in windows)
    names = ", ".join(sorted({w.owner[0][:16] for w in windows}))
    use = BootUse(
        chip=chip,
        boot=first.boot,
        active_s=active,
        compute_s=reading(last),
        needed_s=max(0.0, covered),
        declared_active_s=_together(windows, lambda record: record.active_ns / 1e9) * cores,
        tail_s=tail_s * cores,
        use="declared run" if windows else "uncovered",
        cores=cores,
        evidence=tuple(item.statement.id for _, item in members),
        reason=f"{steps} declared steps of run {names}, which need {needed:.1f} s in replay, between the first and the"
        f" last freeze that it claims"
        if windows
        else f"nothing declared explains this boot; {last.cpu_ns / 1e9:.1f} s of CPU time were used",
    )
    signed = _together(windows, lambda record: record.cpu_ns / 1e9)
    return use, [*_processors(use), *_time_per_step(use, windows, signed, policy, counted=counted)]


def gap_after(members: _Members, boots: _Members, closed: float) -> float:
    """Returns seconds after a boot's last record in which the chip may have run, by its own ticks and by the log.

    After a signed shutdown that is what the next boot's ticks say beyond it; else at least all until that boot or
    the close.

    Args:
        members: the boot's records.
        boots: the boot records of later boots.
        closed: when the inspection closed, by the log's clock.
    """
    last, logged = members[-1]
    ticks = max(0.0, (boots[0][0].active_ns - last.active_ns) / 1e9) if boots else 0.0
    if last.reason == "shutdown":
        return ticks
    return max(ticks, min([*(item.time for _, item in boots), closed]) - logged.time)


def beyond_ticks(members: _Members) -> float:
    """Returns seconds by which the log's clock says that a boot took longer than its ticks do; 0 if it took less.

    Clocks are the operator's, so the longest reading counts (protocol section 2). A record logged late reads long too.
    """
    (first, first_logged), (last, last_logged) = members[0], members[-1]
    ticks = (last.monotonic_ns - first.monotonic_ns) / 1e9
    return max(0.0, last_logged.time - first_logged.time - max(0.0, ticks))


def silent(chip: str, seconds: float, reason: str) -> BootUse:
    """Returns a stretch of time of which nothing is known."""
    return BootUse(
        chip=chip,
        boot=-1,
        active_s=seconds,
        compute_s=seconds,
        needed_s=0.0,
        declared_active_s=0.0,
        tail_s=0.0,
        use="silent",
        reason=reason,
    )


def _together(windows: Sequence[Window], reading: Callable[[ChipRecord], float]) -> float:
    """Returns the reading's growth over the windows, time that several of them share counted once."""
    total, reached = 0.0, float("-inf")
    for window in sorted(windows, key=lambda w: w.first.sequence):
        start, end = reading(window.first), reading(window.last)
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _processors(use: BootUse) -> list[Finding]:
    if use.cores == 1:
        return []
    return [
        Finding(
            check="account.processors",
            subject=use.chip,
            outcome=Outcome.INCONCLUSIVE,
            reason=f"in boot {use.boot} the command could use {use.cores} processors, and the plan's capacity is of"
            " one: its time counts so many times",
            figure=float(use.cores),
            unit="processors",
            evidence=use.evidence[-1:],
        )
    ]


def _time_per_step(
    use: BootUse, windows: Sequence[Window], spent: float, policy: Policy, *, counted: bool
) -> list[Finding]:
    """Compares signed CPU time in the windows with what replay needs for their steps; it may miss some of children."""
    steps, needed = sum(w.steps for w in windows), sum(w.needed_s for w in windows)
    if steps == 0 or needed <= 0:
        return []
    ratio = spent / needed
    # Freezes fall inside steps: each window may hold up to one step more or less than it counts.
    slack = len(windows) * needed / steps
    if spent > policy.cpu_ratio_limit * needed + slack:
        outcome = Outcome.FAIL
        reason = (
            f"signed CPU time a step is {ratio:.2f} times what replay needs"
            f" ({spent / steps:.3f} s against {needed / steps:.3f} s): the chip did more than it declared"
        )
    elif spent < needed / policy.cpu_ratio_limit - slack:
        outcome = Outcome.FAIL if counted else Outcome.INCONCLUSIVE
        reason = (
            f"signed CPU time a step is {ratio:.2f} times what replay needs: the declared steps cannot all have"
            " run here, or the program works harder when it is replayed"
        )
    else:
        outcome, reason = Outcome.PASS, f"signed CPU time a step is {ratio:.2f} times what replay needs"
    return [
        Finding(
            check="account.time-per-step",
            subject=use.chip,
            outcome=outcome,
            reason=reason,
            figure=ratio,
            unit="ratio",
            evidence=use.evidence[-1:],
        )
    ]
