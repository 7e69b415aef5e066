"""The draw of replays: every stated chance against the real draw function, over thousands of seeds."""

import math
import random
from collections import Counter
from typing import Any

import pytest

from weighbridge.errors import InputError
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.drawn_segments import Draw, Population, draw_replays, population
from weighbridge.mechanisms.transcript.power import Standing, powers, smallest_budget
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.spending import Account, Budget

DRAWS = 3_000
SLACK = 4.0
"""Standard errors by which a frequency may miss its chance: 6 in 100,000 checks would, by luck alone."""


def segments(*lengths: int) -> list[Leg]:
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    return [Leg(start, start + length, f"a{start}") for start, length in zip(starts, lengths, strict=True)]


def people(every: list[Leg], stride: int = 1, **options: Any) -> Population:
    end = every[-1].until
    digests = sorted({*range(0, end + 1, stride), *(leg.until for leg in every)})
    return population(every, digests=digests, **options)


def draws(drawn_from: Population, count: int = DRAWS) -> list[Draw]:
    design = drawn_from.design
    return [draw_replays(drawn_from, seed=f"seed {n}".encode(), design=design) for n in range(count)]


def near(frequency: float, chance: float, count: int = DRAWS) -> bool:
    return abs(frequency - chance) <= SLACK * math.sqrt(max(chance * (1 - chance), 1 / count) / count)


LOTS = random.Random(11)
UNEQUAL = segments(*(1 + int(LOTS.expovariate(1 / 60)) for _ in range(60)))
"""Anchors where freezes fell: gaps without memory."""

CASES: dict[str, Population] = {
    "alike": people(segments(*[25] * 40), capacity=130),
    "alike, by number": people(segments(*[25] * 40), most=7),
    "one long": people(segments(100, *[10] * 10), capacity=100),
    "gaps without memory": people(UNEQUAL, capacity=500, stride=10),
    "dear starts": people(UNEQUAL, capacity=900, stride=10, overhead=70),
    "by number and cost": people(UNEQUAL, capacity=900, stride=10, most=6),
    "out of reach": people(segments(300, 40, 40, 40), capacity=90, stride=20),
}


@pytest.mark.parametrize("name", CASES)
def test_each_stretch_has_its_stated_chance(name: str) -> None:
    drawn_from = CASES[name]
    design = drawn_from.design
    found = draws(drawn_from)
    counts = Counter(number for draw in found for number in draw.uniform)
    assert all(near(counts[n] / DRAWS, design.inclusion) for n in range(len(drawn_from.stretches)))
    whole = Counter(leg for draw in found for leg in draw.legs)
    for leg in drawn_from.stretches:  # what else fits is replayed too, and adds to the chance only
        assert whole[leg] / DRAWS >= design.inclusion - SLACK * 0.5 / math.sqrt(DRAWS)
    for draw in found:
        assert len({*draw.uniform, *draw.suspected, *draw.remainder}) == len(draw.legs)
        assert drawn_from.capacity is None or draw.cost <= drawn_from.capacity
        assert drawn_from.most is None or len(draw.legs) <= drawn_from.most


@pytest.mark.parametrize("name", CASES)
def test_the_table_of_powers_holds_against_forgers_who_know_it(name: str) -> None:
    """One forged step at every place in turn; several segments, placed where they cost least, most, or anywhere."""
    drawn_from = CASES[name]
    table = {power.forgery: power for power in powers(drawn_from, drawn_from.design, standing=Standing())}
    found = [draw.legs for draw in draws(drawn_from)]

    def met(*steps: int) -> float:
        return sum(any(leg.start <= s < leg.until for leg in legs for s in steps) for legs in found) / DRAWS

    places = [step for leg in drawn_from.every for step in {leg.start, leg.until - 1}]
    one = table["one forged step"]
    rates = [met(step) for step in places]
    assert min(rates) >= one.chance - SLACK * 0.5 / math.sqrt(DRAWS)
    assert (min(rates) == 0) == (one.chance == 0)
    joints = [leg.until - 1 for leg in drawn_from.every[:-1]]  # a joint shows where the segment before it ends
    glued = table["one glued joint, or a splice at a later anchor"]
    assert min(met(step) for step in joints) >= glued.chance - SLACK * 0.5 / math.sqrt(DRAWS)
    ordered = sorted(drawn_from.every, key=lambda leg: leg.until - leg.start)
    for forgery, power in table.items():
        if "forged segments of" not in forgery:
            continue
        forged = int(forgery.split()[0])
        for chosen in (ordered[:forged], ordered[-forged:], random.Random(3).sample(ordered, forged)):
            rate = met(*(leg.until - 1 for leg in chosen))
            assert rate >= power.chance - SLACK * 0.5 / math.sqrt(DRAWS)
            if power.placed is not None:
                assert near(rate, power.chance) or draws_more(drawn_from)
    for share in (0.01, 0.1, 0.5):
        wanted, held = share * drawn_from.steps, 0
        chosen = []
        for leg in reversed(ordered):
            if held < wanted:
                chosen.append(leg)
                held += leg.until - leg.start
        power = table[f"{share:.0%} of all steps forged, or data added in them"]
        assert met(*(leg.start for leg in chosen)) >= power.chance - SLACK * 0.5 / math.sqrt(DRAWS)


def draws_more(drawn_from: Population) -> bool:
    """Whether a remainder can be drawn besides the uniform part."""
    return any(draw.remainder for draw in draws(drawn_from, 50))


def test_the_exact_form_is_met_exactly() -> None:
    """Stretches alike leave no remainder: the hypergeometric form is the frequency itself, not a bound."""
    drawn_from = CASES["alike"]
    assert not draws_more(drawn_from)
    design, found = drawn_from.design, draws(drawn_from)
    for forged in (1, 2, 4, 20):
        hidden = set(random.Random(forged).sample(range(40), forged))
        rate = sum(bool(hidden & set(draw.uniform)) for draw in found) / DRAWS
        assert near(rate, design.detection(forged))


def test_a_forger_who_knows_the_old_way_of_cutting_short_gains_nothing() -> None:
    """The end of a long segment is met as often as its beginning, wherever anything is met at all."""
    drawn_from = CASES["gaps without memory"]
    longest = max(drawn_from.every, key=lambda leg: leg.until - leg.start)
    found = [draw.legs for draw in draws(drawn_from)]
    last, first = (
        sum(any(leg.start <= step < leg.until for leg in legs) for legs in found)
        for step in (longest.until - 1, longest.start)
    )
    assert last == first > 0


def test_suspicion_is_followed_and_takes_no_more_than_half() -> None:
    every = segments(*[20] * 50)
    calm, alert = people(every, capacity=200), people(every, capacity=200, suspicion={200: 8.0, 600: 1.0, 5: 3.0})
    assert (calm.design.inclusion, alert.design.inclusion) == (0.2, 0.1)
    found = draws(alert)
    rate = {start: sum(any(leg.start == start for leg in d.legs) for d in found) / DRAWS for start in (0, 200, 600)}
    assert rate[200] == rate[600] == 1.0 and rate[0] > 0.1
    tight = people(every, capacity=40, suspicion={200: 8.0, 600: 1.0})
    first = Counter(d.population.stretches[d.suspected[0]].start for d in draws(tight))
    beside = first[600] / (first[200] + first[600])
    assert 0.09 < beside < 0.15  # 1 of 9, and more where the uniform part took the other
    # A forger who raises suspicion everywhere else still meets the uniform half.
    loud = people(every, capacity=200, suspicion={leg.start: 1e6 for leg in every[1:]})
    assert sum(any(leg.start == 0 for leg in d.legs) for d in draws(loud)) / DRAWS >= 0.1 - 0.022
    for weight in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="suspicion"):
            people(every, suspicion={0: weight})


def test_a_long_segment_gets_what_it_needs_before_suspicion_does() -> None:
    alert = people(segments(100, *[10] * 10), capacity=100, suspicion={100: 1.0})
    assert alert.design.capacity == 100 and not alert.beyond and alert.design.inclusion == 0.5


def test_the_seed_alone_decides() -> None:
    drawn_from = CASES["gaps without memory"]
    assert draw_replays(drawn_from, seed=b"a") == draw_replays(drawn_from, seed=b"a")
    assert len({tuple(draw.legs) for draw in draws(drawn_from, 100)}) > 60


def test_what_no_budget_reaches_is_said() -> None:
    every = segments(300, 40)
    drawn_from = people(every, capacity=90, stride=20)
    assert drawn_from.beyond == (Leg(80, 300),) and drawn_from.reach == pytest.approx(120 / 340)
    assert smallest_budget(drawn_from, list(range(0, 340, 20))) == (20, 300)
    nothing = people(every, capacity=19, stride=20)
    assert nothing.stretches == () and nothing.reach == 0
    assert draw_replays(nothing, seed=b"x").legs == []
    table = {power.forgery: power.chance for power in powers(nothing, nothing.design, standing=Standing())}
    first, *others = table.items()
    assert first[1] == 1 and all(chance == 0 for name, chance in others if "initial" not in name)


def test_budgets_in_words() -> None:
    assert Budget.parse("200") == Budget(steps=200)
    assert Budget.parse("0.01") == Budget.parse("1%") == Budget.parse("1e-2") == Budget(share=0.01)
    assert Budget.parse("1.0") == Budget.parse("100%") == Budget(share=1.0)
    assert Budget.parse("0") == Budget(steps=0) and Budget.parse("0.0") == Budget(share=0.0)
    for text in ("", "%", ".", "1.5", "101%", "nan", "inf", "1,0", "ten", "1e", "٣", "0x10", " 5"):
        with pytest.raises(InputError, match="--budget"):
            Budget.parse(text)
    with pytest.raises(InputError, match="must not be negative"):
        Budget.parse("-1")


def test_a_share_counts_everything_spent() -> None:
    account = Account(run_cpu_s=1000.0, run_steps=500)
    assert account.step_cpu_s == 2.0
    account.charge("initial state", 3.0)
    account.charge("sweep", 1.5)
    assert account.left_steps(0.02) == 5  # 15.5 s at 3 s a replayed step
    assert account.left_steps(0.001) == 0 and account.in_steps(3.1) == 2
    silent = Account(run_cpu_s=0.0, run_steps=500)  # a journal that counts no time buys no replay
    assert silent.left_steps(1.0) == 0 and silent.in_steps(1.0) > 1 << 60


def test_what_a_met_forgery_comes_to_depends_on_how_the_run_is_replayed() -> None:
    drawn_from = people(segments(*[25] * 4), most=2)
    walked = Standing(start=None, walks=True)
    table = {power.forgery: power for power in powers(drawn_from, drawn_from.design, standing=walked)}
    start = table["stolen weights, or a splice, at the first boundary"]
    assert start.chance == 0 and start.form == "nothing binds the start of this run"
    one = table["one forged step"]
    assert (one.chance, one.outcome, one.as_dict()["outcome"]) == (0.5, Outcome.INCONCLUSIVE, "inconclusive")
    assert {power.outcome for power in table.values() if power.check == "transcript.replay"} == {Outcome.INCONCLUSIVE}
    whole = people(segments(100), most=1)  # no anchor: replayed from its beginning, and nothing is walked
    assert {power.outcome for power in powers(whole, whole.design, standing=walked)} == {Outcome.FAIL}
    apart = Standing(apart="verify the merged run")
    rank = [power for power in powers(drawn_from, drawn_from.design, standing=apart) if power.check != start.check]
    assert {(power.chance, power.form) for power in rank} == {(0.0, "verify the merged run")}


def test_walking_to_a_stretch_is_counted_as_its_start_is() -> None:
    every = segments(*[20] * 50)
    drawn_from = people(every, capacity=100, stride=10, overhead=30, walk=0.1)
    assert drawn_from.costs[0] == 50 and drawn_from.beside(every[10]) == 50
    # Later than step 700 walking alone leaves no room: out of reach, and said.
    assert drawn_from.beyond and all(leg.start >= 500 for leg in drawn_from.beyond)
    assert smallest_budget(drawn_from, list(range(0, 1001, 10)))[1] == 20 + 30 + 98
    for draw in draws(drawn_from, 200):
        assert sum(leg.until - leg.start + 30 + math.ceil(0.1 * leg.start) for leg in draw.legs) == draw.cost <= 100


def test_what_follows_the_draw_is_set_aside() -> None:
    account = Account(run_cpu_s=1000.0, run_steps=500, walk_s=0.3, later_s=4.5)
    assert account.left_steps(0.02) == 5 and account.walk == pytest.approx(0.1)
