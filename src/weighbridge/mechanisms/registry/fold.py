"""Who held a chip when: one chip's events, in any order of arrival, folded into one history. No I/O.

Rules, each broken one a :class:`~weighbridge.mechanisms.registry.custody.Mark`, never an exception:

1. A chip begins with one commissioning, signed by its maker. A registrar may enter stock that is older than the
   registry; that origin is the registrar's word.
2. Only the holder ships, installs or gives up for destruction; only the addressee receives. A shipment needs the
   sender's and the receiver's signature; until the receiver signs, the sender stays the holder.
3. Each party signs for itself. A registrar or inspectorate may write down what a party did: that is marked.
4. A destruction counts once an inspector signs it; before, the chip counts as working.
5. A correction voids the event that it repeats, if it is by the same party or by the registrar.

Events are taken in the order of the times they claim; within an hour (clocks differ, forms are filled in late) the
order that makes sense of them is preferred. Times are the signers' words; only a log receipt bounds them.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from weighbridge.evidence.certificates import Role
from weighbridge.mechanisms.registry.custody import (
    FOR_OTHERS,
    WITNESSES,
    Custody,
    CustodyEvent,
    History,
    Mark,
    Status,
)
from weighbridge.mechanisms.registry.epcis import Step

__all__ = ["CLOCK_SKEW", "fold"]

CLOCK_SKEW: Final = 3600.0
"""Seconds by which two honest parties' times of one handover may disagree."""
# Events considered ahead when clocks disagree: bounds the cost of a flood of events for one chip.
_LOOK_AHEAD: Final = 64
_RANK: Final = {step: rank for rank, step in enumerate(Step)}


def fold(chip: str, events: Iterable[CustodyEvent]) -> History:
    """Folds the events of one chip into its history; the order of ``events`` does not matter.

    Args:
        chip: the chip's id.
        events: verified events that name it, repeats allowed.
    """
    effective, voided, marks = _after_corrections(events)
    run = _Fold(marks)
    pending = sorted(effective, key=_key)
    taken = []
    while pending:
        horizon = pending[0].body.time + CLOCK_SKEW
        ahead = enumerate(islice(pending, _LOOK_AHEAD))
        place = next((i for i, e in ahead if e.body.time <= horizon and run.fits(e)), 0)
        taken.append(pending.pop(place))
        run.take(taken[-1])
    return run.history(chip, taken=taken, voided=voided)


def _key(event: CustodyEvent) -> tuple[float, int, bytes, str]:
    return event.body.time, _RANK[event.body.step], event.body.digest, event.issuer


def _after_corrections(
    events: Iterable[CustodyEvent],
) -> tuple[list[CustodyEvent], list[CustodyEvent], list[Mark]]:
    """Leaves one statement for each event that was said (the earliest), without what was corrected."""
    said: dict[tuple[bytes, str], CustodyEvent] = {}
    corrections: list[CustodyEvent] = []
    unique = {event.statement: event for event in events}
    for event in sorted(unique.values(), key=lambda e: (e.issued_at, e.statement)):
        if event.body.error is not None:
            corrections.append(event)
        else:
            said.setdefault((event.body.digest, event.issuer), event)
    marks: list[Mark] = []
    voided: dict[tuple[bytes, str], CustodyEvent] = {}
    for correction in corrections:
        same = {key: event for key, event in said.items() if key[0] == correction.body.digest}
        own = {
            key: event
            for key, event in same.items()
            if correction.issuer == event.issuer or correction.role in FOR_OTHERS
        }
        voided |= own
        foreign = [event for event in own.values() if event.issuer != correction.issuer]
        if foreign:
            marks.append(
                Mark(
                    check="correction",
                    reason=f"{correction.issuer} voided an event of {foreign[0].issuer}",
                    evidence=(correction.statement, *(event.statement for event in foreign)),
                    word_only=True,
                )
            )
        if same and not own:
            evidence = (correction.statement, *(event.statement for event in same.values()))
            by = " and ".join(sorted(event.issuer for event in same.values()))
            marks.append(
                Mark(
                    check="correction",
                    reason=f"{correction.issuer} declared an error in an event of {by}: it has no effect",
                    evidence=evidence,
                )
            )
    effective = [event for key, event in said.items() if key not in voided]
    return effective, [*voided.values(), *corrections], marks


class _Fold:
    """The state of one chip while its events are taken one by one."""

    def __init__(self, marks: list[Mark]) -> None:
        self._marks = marks
        self._states: list[Custody] = []
        self._paper: dict[int, CustodyEvent] = {}  # states that rest on a registrar's word, by index
        self._shipped: dict[str, CustodyEvent] = {}  # the last shipment of each earlier holder
        self._receipt: CustodyEvent | None = None  # what made the present holder the holder
        self._made: list[CustodyEvent] = []
        self._destroyed: CustodyEvent | None = None

    @property
    def _state(self) -> Custody | None:
        return self._states[-1] if self._states else None

    def fits(self, event: CustodyEvent) -> bool:
        """Whether the event is what could happen next to the chip."""
        state, body = self._state, event.body
        if state is None or not event.speaks_for_party:
            return body.step is Step.MADE and event.speaks_for_party
        if body.step is Step.MADE:
            return False
        if body.step is Step.RECEIVED:
            return state.status is Status.IN_TRANSIT and body.party == state.addressee
        return state.holder == body.party and state.status in (Status.HELD, Status.INSTALLED)

    def take(self, event: CustodyEvent) -> None:
        """Takes the next event."""
        body = event.body
        if not event.speaks_for_party:
            self._mark("not-holder", f"{event.issuer} signed what {body.party} is said to have done", event)
        elif body.step is Step.MADE:
            self._take_made(event)
        elif self._state is None:
            self._adopt(event)
        else:
            state = self._state
            if state.status is Status.DESTROYED and body.step is not Step.DESTROYED and body.time > state.since:
                self._mark("destroyed", f"{body.step} by {body.party} after its destruction", event)
            act: dict[Step, Callable[[CustodyEvent, Custody], None]] = {
                Step.SHIPPED: self._take_shipped,
                Step.RECEIVED: self._take_received,
                Step.INSTALLED: self._take_installed,
                Step.DESTROYED: self._take_destroyed,
            }
            act[body.step](event, state)

    def _take_made(self, event: CustodyEvent) -> None:
        maker = event.body.party
        if event.role is not Role.MAKER and event.role not in FOR_OTHERS:
            self._mark("origin", f"commissioned by {event.issuer}, who is no maker but {event.role}", event)
            return
        if self._made:
            first = self._made[0]
            # The registrar writing down what the maker signed is one origin, said twice.
            if maker != first.body.party or event.issuer == first.issuer:
                self._mark("made-twice", f"commissioned by {first.body.party} and by {maker}", first, event)
                return
        elif self._states:
            self._mark("origin", f"{self._taken_before()} before it was made by {maker}", event)
        self._made.append(event)
        if not self._states:
            self._enter(event, holder=maker, status=Status.HELD)

    def _adopt(self, event: CustodyEvent) -> None:
        """Believes the first event of a chip from nowhere: the lack of an origin is marked at the end."""
        body = event.body
        if body.step is Step.SHIPPED:
            self._shipped[body.party] = event
            self._enter(event, holder=body.party, status=Status.IN_TRANSIT, addressee=body.other)
        elif body.step is Step.DESTROYED:
            self._enter(event, holder=body.party, status=Status.HELD)
            self._take_destroyed(event, self._states[-1])
        else:
            self._receipt = event if body.step is Step.RECEIVED else None
            status = Status.HELD if body.step is Step.RECEIVED else Status.INSTALLED
            self._enter(event, holder=body.party, status=status)

    def _take_shipped(self, event: CustodyEvent, state: Custody) -> None:
        body = event.body
        if state.holder != body.party:
            earlier = self._shipped.get(body.party)
            if earlier is not None and earlier.body.other != body.other:
                self._sold_twice(event, earlier)
            elif earlier is None:
                self._mark("not-holder", f"shipped by {body.party}, held by {state.holder}", event)
            return
        if state.status is Status.IN_TRANSIT:
            if state.addressee == body.other:
                self._confirm(event)
            else:
                self._sold_twice(event, self._shipped[body.party])
            return
        self._shipped[body.party] = event
        self._enter(event, holder=body.party, status=Status.IN_TRANSIT, addressee=body.other)

    def _take_received(self, event: CustodyEvent, state: Custody) -> None:
        body = event.body
        if state.status is Status.IN_TRANSIT:
            if body.party not in (state.addressee, state.holder):
                self._mark(
                    "addressee",
                    f"{state.holder} shipped it to {state.addressee}, {body.party} received it",
                    *self._behind(state),
                    event,
                )
            elif body.party == state.holder:
                reason = f"{body.party} says that it came back; {state.addressee} signed nothing"
                self._mark("returned", reason, *self._behind(state), event, word_only=True)
            elif body.other != state.holder:
                self._mark("sender", f"{body.party} had it from {body.other}, {state.holder} shipped it", event)
            self._receipt = event
            self._enter(event, holder=body.party, status=Status.HELD)
        elif state.holder == body.party:
            self._confirm(event)
        elif self._receipt is not None:
            self._mark("double-sold", f"received by {state.holder} and by {body.party}", self._receipt, event)
        else:
            self._mark("unshipped", f"received by {body.party}, never shipped by {state.holder}", event)

    def _take_installed(self, event: CustodyEvent, state: Custody) -> None:
        if self._has_it(event, state):
            self._enter(event, holder=event.body.party, status=Status.INSTALLED)

    def _has_it(self, event: CustodyEvent, state: Custody) -> bool:
        # While in transit nobody can do anything to it, the sender included: or a chip that was handed over
        # in secret could be written off.
        if state.holder == event.body.party and state.status is not Status.IN_TRANSIT:
            return True
        what = f"{event.body.step} by {event.body.party}, {_whereabouts(state)}"
        self._mark("not-holder", what, event, *self._behind(state))
        return False

    def _take_destroyed(self, event: CustodyEvent, state: Custody) -> None:
        party = event.body.party
        if not self._has_it(event, state):
            return
        certified = event.role in WITNESSES
        if state.status is Status.DESTROYED and (state.certified or not certified):
            self._confirm(event)
            return
        self._destroyed = self._destroyed or event
        self._enter(event, holder=party, status=Status.DESTROYED, certified=certified)

    def _sold_twice(self, event: CustodyEvent, earlier: CustodyEvent) -> None:
        self._mark(
            "double-sold",
            f"{event.body.party} shipped it to {earlier.body.other} and to {event.body.other}",
            earlier,
            event,
        )

    def _enter(
        self,
        event: CustodyEvent,
        *,
        holder: str,
        status: Status,
        addressee: str | None = None,
        certified: bool = False,
    ) -> None:
        before = self._state
        if event.issuer != event.body.party and event.role in FOR_OTHERS and event.body.step is not Step.MADE:
            self._paper[len(self._states)] = event
        moved = before is not None and before.holder != holder
        self._states.append(
            Custody(
                holder=holder,
                status=status,
                # Clocks may disagree, the order of states may not.
                since=event.body.time if before is None else max(before.since, event.body.time),
                addressee=addressee,
                location=event.body.location or (None if before is None or moved else before.location),
                certified=certified,
                evidence=(event.statement,),
            )
        )

    def _confirm(self, event: CustodyEvent) -> None:
        """The same thing said again: the party's own word replaces the registrar's."""
        if event.issuer == event.body.party:
            self._paper.pop(len(self._states) - 1, None)

    def _taken_before(self) -> str:
        return f"{self._states[0].status} by {self._states[0].holder}"

    def _behind(self, state: Custody) -> tuple[CustodyEvent, ...]:
        shipment = self._shipped.get(state.holder)
        return () if shipment is None else (shipment,)

    def _mark(self, check: str, reason: str, *events: CustodyEvent, word_only: bool = False) -> None:
        evidence = tuple(event.statement for event in events)
        self._marks.append(Mark(check=check, reason=reason, evidence=evidence, word_only=word_only))

    def history(self, chip: str, *, taken: list[CustodyEvent], voided: list[CustodyEvent]) -> History:
        """Returns what came of it, with the marks that only the whole story shows."""
        if not self._made and (taken or voided):
            retracted = "" if taken else "; all that was said of it was retracted"
            nowhere = f"comes from nowhere: no maker commissioned it{retracted}"
            self._mark("origin", nowhere, (taken or voided)[0])
        elif self._made and not any(event.role is Role.MAKER for event in self._made):
            by = f"its origin is the word of {self._made[0].issuer}, not of a maker"
            self._mark("origin", by, self._made[0], word_only=True)
        if self._paper:
            by = " and ".join(sorted({event.issuer for event in self._paper.values()}))
            steps = ", ".join(f"{event.body.step} by {event.body.party}" for event in self._paper.values())
            self._mark("unsigned", f"only {by} says: {steps}", *self._paper.values(), word_only=True)
        state = self._state
        if state is not None and state.status is Status.DESTROYED and not state.certified and self._destroyed:
            reason = "its destruction is not certified by an inspector: it counts as working"
            self._mark("destruction", reason, self._destroyed, word_only=True)
        return History(
            chip=chip,
            states=tuple(self._states),
            marks=tuple(self._marks),
            makers=tuple(sorted({event.body.party for event in self._made})),
            pre_registry=bool(self._made) and not any(event.role is Role.MAKER for event in self._made),
            serial=next((event.body.serial for event in self._made if event.body.serial), None),
            destroyed_at=None if self._destroyed is None else self._destroyed.body.time,
            events=tuple(taken),
            voided=tuple(voided),
        )


def _whereabouts(state: Custody) -> str:
    if state.status is Status.IN_TRANSIT:
        return f"in transit from {state.holder} to {state.addressee}"
    return f"held by {state.holder}"
