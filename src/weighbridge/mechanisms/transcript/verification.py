"""Verifying one transcript from its folder to its findings: reading, the initial state, and drawn segments replayed.

Cheap checks on everything, dear ones on a draw. The steps, in their order:

1. Open: signatures, the opening, the code tree; what does not open has failed, and nothing else is looked at.
2. Read: journal, environment, receipts, the log (:mod:`.reading`).
3. Rebuild the state before step 1 from the seed (:func:`.verify.check_initial_state`), and once more from a seed of the
   verifier's own (:mod:`.second_seed`).
4. Make the cheap checks on everything (:mod:`.light`), which raise suspicion where something looks odd.
5. Draw segments within a budget (:mod:`.selection`), and replay them in a sandbox (:mod:`.replay`).
6. Compare what the replay wrote out with what was committed (:func:`.verify.compare_replay`).
7. If nothing failed and no budget is set, replay a few steps without the rows that they were not given
   (:mod:`.given_rows`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.calibration import calibrate, evidence_file, judge_within
from weighbridge.mechanisms.transcript.chip_time import check_chip_time
from weighbridge.mechanisms.transcript.counted_flop import count_watched_flop
from weighbridge.mechanisms.transcript.declared_flop import check_declared_flop, declared_flop
from weighbridge.mechanisms.transcript.fan_out import replay_on
from weighbridge.mechanisms.transcript.given_rows import check_given_rows
from weighbridge.mechanisms.transcript.initial_weights import check_initial_weights
from weighbridge.mechanisms.transcript.light import LightCheck, LightChecks, light_checks
from weighbridge.mechanisms.transcript.light_costs import LIGHT_SHARE, reading_cost, sweep_cost
from weighbridge.mechanisms.transcript.merging import group_of
from weighbridge.mechanisms.transcript.movement import check_movement
from weighbridge.mechanisms.transcript.parents import parent_anchor
from weighbridge.mechanisms.transcript.plans import plan_segments, segments_of
from weighbridge.mechanisms.transcript.power import Standing
from weighbridge.mechanisms.transcript.replay import Replay, replay, walks
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.second_seed import check_second_seed
from weighbridge.mechanisms.transcript.selection import Selection, select_replays
from weighbridge.mechanisms.transcript.spending import Account, Budget
from weighbridge.mechanisms.transcript.start_costs import measure_start, recorded_start_s
from weighbridge.mechanisms.transcript.sweep import Sweep, Terms
from weighbridge.mechanisms.transcript.traces import check_traces
from weighbridge.mechanisms.transcript.transcript import Transcript
from weighbridge.mechanisms.transcript.verification_terms import Request, Verification
from weighbridge.mechanisms.transcript.verify import (
    AFTER_A_WALK,
    check_environment,
    check_initial_state,
    check_journal,
    check_log,
    check_receipts,
    compare_replay,
)

__all__ = ["Request", "Verification", "verify_run"]


def verify_run(folder: Path, request: Request, *, tell: Callable[[str], None] = lambda sentence: None) -> Verification:
    """Verifies the transcript in a folder.

    Args:
        folder: the run's folder.
        request: what is at hand, and what may be spent.
        tell: told, in a few words, what takes long.

    Raises:
        InputError: the request cannot be followed.
    """
    try:
        transcript = Transcript.open(folder, request.roots)
    except EvidenceError as error:
        fault = _fault("open", folder.name, Outcome.FAIL, f"the transcript cannot be opened: {error}")
        return Verification(run=folder.name, segments=0, drawn=(), findings=(fault,))
    if request.calibrate is not None:
        evidence_file(request.calibrate, transcript)  # before anything is spent
    return _Verifier(transcript, request, tell).verify()


class _Verifier:
    """One verification under way."""

    def __init__(self, transcript: Transcript, request: Request, tell: Callable[[str], None]) -> None:
        self._transcript, self._request, self._tell = transcript, request, tell
        self._findings: list[Finding] = []
        self._account = Account.of(transcript)
        if request.before_s:
            self._account.charge("the verifier's own start", request.before_s)
        self._selection: Selection | None = None
        self._rebuilt = True
        self._counted: float | None = None

    def verify(self) -> Verification:
        """Makes every check."""
        every: list[Leg] = []
        chosen: list[Leg] = []
        try:
            with self._account.timed("reading"):
                self._read()
            parent = self._parent()
            every = segments_of(self._transcript)
            with self._account.timed("initial state"):
                built = self._initial(parent)
            self._account.starts_s = max(self._account.starts_s, self._account.entries["initial state"])
            if built and self._affords("second-seed", lambda: self._account.starts_s):
                with self._account.timed("second seed"):
                    self._derive_again(parent)
            with self._account.timed("light checks"):
                light = self._light(every, parent)
            self._set_aside(every, parent)
            selection = self._selection = self._draw(every, light.suspicion)
            chosen = selection.draw.legs
            if chosen:
                with self._account.timed("replay", children=not self._spread):
                    self._replay(chosen, parent, every)
                with self._account.timed("rows not given"):
                    self._mask(parent)
            self._findings += light.findings
            if self._request.chips is not None:
                declared, chips = declared_flop(self._transcript), self._request.chips
                self._findings.append(
                    check_chip_time(self._transcript, chips, declared=declared, counted=self._counted)
                )
            if not selection.whole:
                self._findings += light.unreplayed
                self._findings.append(selection.finding(self._transcript))
        except EvidenceError as error:
            self._note("open", Outcome.FAIL, f"the transcript cannot be opened: {error}")
        return Verification(
            run=self._transcript.run,
            segments=len(every),
            drawn=tuple((leg.start, leg.until) for leg in chosen),
            findings=tuple(self._findings),
            selection=self._selection,
            account=self._account,
        )

    def _note(self, check: str, outcome: Outcome, reason: str) -> None:
        self._findings.append(_fault(check, self._transcript.run, outcome, reason))

    def _read(self) -> None:
        """Makes the checks that need no replay."""
        transcript, roots, logged = self._transcript, self._request.roots, self._request.logged
        self._findings += [*check_journal(transcript), check_environment(transcript)]
        if roots is not None:
            self._findings.append(check_receipts(transcript, roots.log_key))
        if logged is not None:
            self._findings.append(check_log(transcript, logged))

    def _parent(self) -> Path | None:
        """Returns the file of the parent's final state, and notes that the parent itself was not verified here."""
        named = self._transcript.contents.get("parent")
        if not named:
            return None
        run = named["run"][:16]
        if self._request.parent is None:
            reason = f"it begins with the weights of run {run}, which was not shown: name it with --parent"
            self._note("parent", Outcome.INCONCLUSIVE, reason)
            return None
        anchor = parent_anchor(self._transcript, Transcript.open(self._request.parent, self._request.roots))
        reason = f"it begins with the final state of run {run}, as both committed; that run has to be verified too"
        self._note("parent", Outcome.PASS, reason)
        return anchor

    def _initial(self, parent: Path | None) -> bool:
        """Rebuilds the initial state; returns whether it is the committed one."""
        budget = self._request.budget
        if isinstance(budget, Budget) and budget.share is not None and self._transcript.bound:
            left, needed = self._account.left_s(budget.share), recorded_start_s(self._transcript)
            if needed > left:
                reason = f"left out: starting the program would take about {needed:.3g} CPU seconds of the"
                reason += f" {max(left, 0.0):.3g} that the budget leaves"
                self._note("initial-state", Outcome.INCONCLUSIVE, reason)
                self._account.starts_s = needed
                self._rebuilt = False
                return False
        if self._transcript.bound:
            self._tell("rebuilding the initial state from the seed …")
        core, data = self._request.core, self._request.data
        found = check_initial_state(self._transcript, core=core, parent=parent, data=data)
        self._findings.append(found)
        return found.outcome is Outcome.PASS

    def _derive_again(self, parent: Path | None) -> None:
        self._tell("deriving it under a second seed …")
        core, data, draw = self._request.core, self._request.data, self._request.seed
        self._findings.append(check_second_seed(self._transcript, draw=draw, core=core, parent=parent, data=data))

    def _set_aside(self, every: Sequence[Leg], parent: Path | None) -> None:
        """Measures what beginning a replay costs where the budget counts it, and sets aside what follows the draw."""
        request, transcript, account = self._request, self._transcript, self._account
        budget = request.budget
        replays = Standing.of(transcript).apart is None
        if not (isinstance(budget, Budget) and budget.share is not None and transcript.observed and replays):
            return
        left = account.left_s(budget.share)
        measure_start(transcript, every, account, left_s=left, data=request.data, parent=parent, core=request.core)
        if self._counts_flop:  # in a replay for nothing else
            account.later_s = account.starts_s

    def _light(self, every: Sequence[Leg], parent: Path | None) -> LightChecks:
        request = self._request
        checks: list[LightCheck] = [check_initial_weights, check_traces]
        if self._affords("movement", lambda: reading_cost(self._transcript, every)):
            checks.append(check_movement)
        drawn = request.segments is not None or request.budget is not None
        if (
            request.sweep > 0
            and drawn
            and (
                self._transcript.observed
                or self._affords(
                    "sweep", lambda: sweep_cost(self._transcript, every, self._account, share=request.sweep)
                )
            )
        ):
            self._tell("sweeping over all segments with forward passes …")
            terms = Terms(share=request.sweep, seed=request.seed, data=request.data, parent=parent, core=request.core)
            checks.append(Sweep(terms))
        return light_checks(self._transcript, every, checks=checks)

    def _affords(self, check: str, cost: Callable[[], float]) -> bool:
        """Returns whether a cheap check leaves the draw most of a budgeted share; says so where it does not."""
        budget = self._request.budget
        if not isinstance(budget, Budget) or budget.share is None:
            return True
        left, needed = self._account.left_s(budget.share), cost()
        if needed <= left * LIGHT_SHARE:
            return True
        reason = f"left out: it would take about {needed:.3g} CPU seconds of the {max(left, 0.0):.3g} that the budget"
        self._note(check, Outcome.INCONCLUSIVE, f"{reason} leaves; say what to replay in steps or segments to have it")
        return False

    def _draw(self, every: Sequence[Leg], suspicion: Mapping[int, float]) -> Selection:
        request = self._request
        return select_replays(
            self._transcript,
            every,
            seed=request.seed,
            segments=request.segments,
            budget=request.budget,
            account=self._account,
            suspicion={**suspicion, **request.suspicion},
            from_the_beginning=request.from_the_beginning,
            rebuilt=self._rebuilt,
        )

    @property
    def _spread(self) -> bool:
        """Whether stretches are replayed each by itself: a program whose loop is its own has only one."""
        return self._request.workers is not None and not self._transcript.observed

    def _replay(self, legs: Sequence[Leg], parent: Path | None, every: Sequence[Leg]) -> None:
        if (group := group_of(self._transcript)) is not None:
            reason = (
                f"it is rank {group.rank} of {group.world}, which make one run and are replayed together: merge them"
            )
            self._note("replay", Outcome.INCONCLUSIVE, f"{reason} (transcript merge), and verify the merged run")
            return
        if "spawner" in self._transcript.contents["config"]:
            reason = (
                "the program started this process itself, and it is no rank of a group: nothing starts it in a replay"
            )
            self._note("replay", Outcome.INCONCLUSIVE, reason)
            return
        if self._request.from_the_beginning:
            legs = [Leg(0, legs[-1].until)]
        try:
            with self._replayed(legs, parent) as outcome:
                if self._spread:
                    self._account.charge("replay", outcome.result.cpu_seconds)
                walked = legs if self._spread else plan_segments(self._transcript, legs).legs
                self._findings += self._compare(outcome, legs, walked, parent, every)
                self._counted = outcome.flop_per_step or None
                if self._transcript.observed and self._counts_flop:
                    request = self._request
                    self._counted = count_watched_flop(
                        self._transcript, data=request.data, parent=parent, core=request.core
                    )
                self._findings += check_declared_flop(self._transcript, outcome, counted=self._counted)
        except EvidenceError as error:
            if walks(self._transcript, legs):
                self._note("replay", Outcome.INCONCLUSIVE, f"the run could not be replayed: {error}. {AFTER_A_WALK}")
            else:
                self._note("replay", Outcome.FAIL, f"the run could not be replayed: {error}")
        except WeighbridgeError as error:
            self._note("replay", Outcome.INCONCLUSIVE, f"the run cannot be replayed here: {error}")

    def _mask(self, parent: Path | None) -> None:
        """Tries whether steps use rows that they were not given, unless something failed or a budget is set."""
        request = self._request
        if request.budget is not None or any(f.outcome is Outcome.FAIL for f in self._findings):
            return
        found = check_given_rows(
            self._transcript, seed=request.seed, data=request.data, parent=parent, core=request.core
        )
        self._findings += [found] if found is not None else []

    @property
    def _counts_flop(self) -> bool:
        return self._request.chips is not None or declared_flop(self._transcript) is not None

    def _replayed(self, legs: Sequence[Leg], parent: Path | None) -> AbstractContextManager[Replay]:
        request, plan = self._request, plan_segments(self._transcript, legs)
        self._tell(f"replaying {plan.steps} steps in a sandbox …")
        if request.workers is not None and self._spread:
            return replay_on(
                request.workers,
                self._transcript,
                legs=legs,
                digests=plan.digests,
                roots=request.roots,
                tell=self._tell,
                data=request.data,
                parent=parent,
                threads=request.threads,
                count_flop=self._counts_flop,
            )
        return replay(
            self._transcript,
            legs=plan.legs,
            captures=plan.captures,
            digests=plan.digests,
            data=request.data,
            parent=parent,
            core=request.core,
            threads=request.threads,
            count_flop=self._counts_flop and not self._transcript.observed,
        )

    def _compare(
        self,
        outcome: Replay,
        drawn: Sequence[Leg],
        walked: Sequence[Leg],
        parent: Path | None,
        every: Sequence[Leg],
    ) -> list[Finding]:
        """Compares bit for bit; within a tolerance only where arithmetic differs and the verifier measured it."""
        transcript, request = self._transcript, self._request
        found = compare_replay(transcript, outcome)
        differs = any(f.check == "transcript.replay-threads" for f in found)
        differs = differs or check_environment(transcript).outcome is not Outcome.PASS
        failed = any(f.check == "transcript.replay" and f.outcome is Outcome.FAIL for f in found)
        if request.calibrate is None or not (differs and failed):
            return found
        self._tell("calibrating: replaying other segments in several configurations …")
        try:
            calibration = calibrate(
                transcript,
                every,
                drawn,
                threads=outcome.threads,
                seed=request.seed,
                evidence=request.calibrate,
                data=request.data,
                parent=parent,
                core=request.core,
            )
        except WeighbridgeError as error:
            self._note("calibration", Outcome.INCONCLUSIVE, f"no tolerance could be measured: {error}")
            return found
        found = [finding for finding in found if finding.check != "transcript.replay"]
        return found + judge_within(transcript, outcome, walked, calibration)


def _fault(check: str, subject: str, outcome: Outcome, reason: str) -> Finding:
    return Finding(check=f"transcript.{check}", subject=subject, outcome=outcome, reason=reason)
