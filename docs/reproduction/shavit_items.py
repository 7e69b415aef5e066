"""What Shavit 2023 says, computed again, as tables, figures and paragraphs."""

import math

from outputs import Item
from shavit import A_DAY, CHIPS, MODELS, SEEN, YEAR, eq_1, linear, print_rule, share, shorter, stretched
from slips import slips
from weighbridge.app.charts import Axis, Chart, Mark, Series

__all__ = ["shavit_items"]

_SHARES = (0.01, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
_TIMES = (2.0, 10.0, 100.0, math.inf)


def shavit_items() -> tuple[Item, ...]:
    """Returns Table 1, footnote 5, appendices B and C."""
    return (_table_1(), _footnote_5(), _appendix_b(), _appendix_c1(), _appendix_c2())


def _table_1() -> Item:
    rows: list[list[object]] = []
    agree = 0
    for model, flop, _, _, cells in MODELS:
        for chips, printed in zip(CHIPS, cells, strict=True):
            b = share(flop, chips)
            prints = print_rule(linear(b))
            agree += prints == printed
            exact = eq_1(b)
            verdict = "impossible run" if exact is None else "possible"
            rows.append([model, flop, chips, b, printed, linear(b), prints, exact, verdict])
    columns: list[list[object]] = []
    for model, flop, days, year, _ in MODELS:
        needed = math.ceil(flop / A_DAY), math.ceil(flop / A_DAY / YEAR)
        columns.append([model, flop, flop / A_DAY, days, print_rule(needed[0]), year, print_rule(needed[1])])
    palm = share(2.56e24, 10**3)
    return Item(
        name="table-1",
        title="Shavit, Table 1: samples a year",
        tables={
            "table-1.csv": (
                ["model", "flop", "chips", "b", "printed", "linear", "linear_as_printed", "eq_1", "run"],
                rows,
            ),
            "table-1-chips.csv": (
                ["model", "flop", "chip_days", "printed", "as_printed", "one_year_printed", "one_year_as_printed"],
                columns,
            ),
        },
        figure=_table_1_figure(),
        paragraphs=(
            f"""The table's samples are not those of Eq. 1 but of its linear form, s = −ln(1−p)/(b·p_w) with b =
            H/(a·T·C), p_w = 1−e^(−f·T_m), T = T_m = 30 days, f = 0.1 a day, p = 0.9, a = 8.64e19 FLOP a day, times
            365/30. With one print rule (take the floor; below 1,000 print it, from 1,000 on print three figures with
            ties to even; 0 is a dash) it gives all {agree} of {len(rows)} cells, the three dashes included. The
            linear form asks for more than Eq. 1: by 0.1 % for Chinchilla among 1e5 chips, threefold for PaLM among
            1e3 ({linear(palm):.1f} against {eq_1(palm):.1f}). One printed cell belongs to a run that cannot be done:
            Chinchilla-280B needs {share(9.9e24, 1e3):.3g} times the 1e3 chips, where the table prints 7. The table
            never tests b ≤ 1; Eq. 1 has no value there. Its two columns of chips are ceilings, printed by the same
            rule.""",
            f"""To check by hand, take Chinchilla, 5.76e23 FLOP, among 1,000 chips. b = 5.76e23/(8.64e19·30·1000) =
            {share(5.76e23, 1e3):.6f}; p_w = 1−e^(−3) = {SEEN:.6f}; linear:
            2.302585/({share(5.76e23, 1e3):.6f}·{SEEN:.6f}) = {linear(share(5.76e23, 1e3)) * 30 / YEAR:.4f} a period,
            times 12.1667 = {linear(share(5.76e23, 1e3)):.3f}, printed 132. Eq. 1:
            2.302585/−ln(1−{share(5.76e23, 1e3) * SEEN:.6f}) times 12.1667 = {eq_1(share(5.76e23, 1e3)):.3f}. The tie
            rule shows at PaLM: 2,985 prints as 2.98e3 and 298,511 as 2.99e5.""",
        ),
    )


def _table_1_figure() -> Chart:
    series = []
    printed: list[tuple[float, float]] = []
    for model, flop, _, _, cells in MODELS:
        least = max(1e3, share(flop, 1.0) * 1.0001)
        fleets = [least * (1e7 / least) ** (step / 60) for step in range(61)]
        values = [(fleet, eq_1(share(flop, fleet))) for fleet in fleets]
        points = tuple((fleet, value) for fleet, value in values if value is not None)
        series.append(Series(name=f"{model}, Eq. 1", points=points))
        printed += [(float(chips), float(cell)) for chips, cell in zip(CHIPS, cells, strict=True) if cell != "-"]
    series.append(Series(name="printed in Table 1", points=tuple(printed), dots=True))
    return Chart(
        title="Table 1 prints the linear form, which lies above Eq. 1 where runs need most chips",
        x=Axis(label="chips of the Prover", log=True),
        y=Axis(label="samples a year", log=True),
        series=tuple(series),
        marks=(Mark(x=1e3, y=7.0, label="7: an impossible run"),),
    )


def _footnote_5() -> Item:
    a_day, fleet = 3e15 * 86_400, 10**7
    rows: list[list[object]] = []
    for flop in (9.9e24, 1e25):
        b = share(flop, fleet, a_day=a_day)
        rows.append([flop, fleet, b, linear(b), eq_1(b), (eq_1(b) or 0) / 1000])
    sizes = [8e24 * (1.2e25 / 8e24) ** (step / 40) for step in range(41)]
    curve = tuple((flop, eq_1(share(flop, fleet, a_day=a_day)) or 0.0) for flop in sizes)
    exact, tenth = (float(str(row[4])) for row in rows)
    return Item(
        name="footnote-5",
        title="Shavit, footnote 5: inspectors",
        tables={"footnote-5.csv": (["flop", "chips", "b", "linear", "eq_1", "inspectors_at_1000"], rows)},
        figure=Chart(
            title="The footnote's 232,000 is the table's 9.9e24 FLOP; a round 1e25 needs fewer",
            x=Axis(label="FLOP of the run"),
            y=Axis(label="samples a year"),
            series=(
                Series(name="Eq. 1, 1e7 chips of 3e15 FLOP/s", points=curve),
                Series(name="stated: about 232,000", points=((sizes[0], 232_000.0), (sizes[-1], 232_000.0))),
            ),
            marks=(
                Mark(x=9.9e24, y=exact, label=f"{exact:,.0f}"),
                Mark(x=1e25, y=tenth, label=""),
            ),
        ),
        paragraphs=(
            f"""The footnote imagines 1e7 chips of 3e15 FLOP/s and states about 232,000 samples a year, 232 inspectors
            at a thousand chips each. With H = 9.9e24, the table's Chinchilla-280B, Eq. 1 gives {exact:,.0f} and the
            linear form {float(str(rows[0][3])):,.0f}; both round to 232,000. With a round 1e25 it would be
            {tenth:,.0f}. At this size b is small and the two forms agree to 0.01 %.""",
            f"""By hand: a = 3e15·86,400 = 2.592e20; b = 9.9e24/(2.592e20·30·1e7) =
            {share(9.9e24, fleet, a_day=a_day):.6e}; divide 2.302585 by b·{SEEN:.6f} and multiply by 12.1667. The
            count of inspectors is a division by 1,000; it assumes that an inspector reads a thousand chips a year,
            which the paper does not derive.""",
        ),
    )


def _appendix_b() -> Item:
    p_1 = share(5.76e23, 1e5, days=YEAR) * SEEN
    periods = math.ceil(YEAR / 30)

    def right(sample: float) -> float:
        return -math.expm1(periods * sample * math.log1p(-p_1))

    def slip(sample: float) -> float:
        return math.pow(1 - (1 - p_1) ** sample, periods)

    rows: list[list[object]] = [
        [sample, right(sample), slip(sample)] for sample in (100, 500, 1000, 2000, 5000, 10_000)
    ]
    found = slips()
    sizes = [100 * 100 ** (step / 40) for step in range(41)]
    return Item(
        name="appendix-b",
        title="Shavit, appendix B, and the slips of the whole paper",
        tables={
            "appendix-b.csv": (["sample_a_period", "right", "as_printed"], rows),
            "slips.csv": (["number", "place", "printed", "right", "witness"], [list(slip) for slip in found]),
        },
        figure=Chart(
            title="Appendix B's slip is the chance to catch the run in every period, not in one of them",
            x=Axis(label="chips drawn each period", log=True),
            y=Axis(label="probability of detection"),
            series=(
                Series(name="1 − p_n^13, as the next line has it", points=tuple((s, right(s)) for s in sizes)),
                Series(name="(1 − p_n)^13, as printed", points=tuple((s, slip(s)) for s in sizes)),
            ),
        ),
        paragraphs=(
            f"""Appendix B derives p = 1−(1−b·p_w)^(s·⌈T/T_m⌉), which is right, by way of a line that is not: it raises
            1−p_n to ⌈T/T_m⌉ where p_n itself, the chance to miss in one period, must be raised. The printed line is
            the chance that every period catches the run. For Chinchilla over 365 days among 1e5 chips with s = 1,000
            it gives {slip(1000):.0e} where {right(1000):.3f} is right. The final inequality is printed as s ≤;
            section 3.2 has s ≥. {len(found)} such places in the paper, one of them a limit that it states, are in
            slips.csv, each with a number that shows it. None changes a conclusion; three change what a program
            computes if it is written from the text: the impossible cell, the exponent ⌈T/T_m⌉ against the factor
            T_m/T, and e^(−fT) against e^(−f·T_m).""",
            f"""By hand: b = 5.76e23/(8.64e19·365·1e5) = {share(5.76e23, 1e5, days=YEAR):.5e}, p_1 = b·{SEEN:.6f} =
            {p_1:.5e}, p_n = (1−p_1)^1000 = {(1 - p_1) ** 1000:.4f}. Then 1−{(1 - p_1) ** 1000:.4f}^13 =
            {right(1000):.4f}, and (1−{(1 - p_1) ** 1000:.4f})^13 = {slip(1000):.2e}.""",
        ),
    )


def _appendix_c1() -> Item:
    rows: list[list[object]] = [
        [wanted, b, *(stretched(b, times=k, wanted=wanted) / wanted for k in _TIMES)]
        for wanted in (0.5, 0.9, 0.99)
        for b in _SHARES
    ]
    shares = [0.01 + 0.89 * step / 60 for step in range(61)]
    curves = tuple(
        Series(
            name="for ever" if math.isinf(k) else f"{k:.0f} times as long",
            points=tuple((b, 100 * (1 - stretched(b, times=k) / 0.9)) for b in shares),
        )
        for k in _TIMES
    )
    reach = _reach(0.05)
    loss = 100 * (1 - stretched(0.2, times=100) / 0.9)
    return Item(
        name="appendix-c1",
        title="Shavit, appendix C.1: fewer chips for longer",
        tables={"appendix-c1.csv": (["p", "b", "k_2", "k_10", "k_100", "k_infinite"], rows)},
        figure=Chart(
            title="Stretching a run costs the Verifier under 5 % only while the run needs few of the chips",
            x=Axis(label="b, share of the chips that the run needs"),
            y=Axis(label="detection lost, % of p = 0.9"),
            series=curves,
            marks=(Mark(x=reach, y=5.0, label=f"5 % at b = {reach:.3f}"), Mark(x=0.2, y=loss, label=f"{loss:.2f} %")),
        ),
        paragraphs=(
            f"""A run on 1/k of its chips for k times as long is caught with 1−(1−b/k)^(k·s), s being sized for k = 1.
            The paper claims a loss under 5 % for p = 0.9, b up to 0.2 and k up to 100. That holds: at b = 0.2 and
            k = 100 the loss is {loss:.2f} %. It holds up to b = {reach:.3f} and no further: at b = 0.4 it is
            {100 * (1 - stretched(0.4, times=100) / 0.9):.1f} %, at b = 0.9 it is
            {100 * (1 - stretched(0.9, times=100) / 0.9):.0f} %, and it depends on p (at p = 0.5 and b = 0.2 it is
            {100 * (1 - stretched(0.2, times=100, wanted=0.5) / 0.5):.1f} %). A Prover that owns just enough chips
            gains most by stretching; a plan should size s for the stretched case.""",
            f"""By hand for b = 0.2: s = ln 0.1/ln 0.8 = {math.log(0.1) / math.log(0.8):.4f}; k = 2 gives 1−0.9^(2s) =
            {stretched(0.2, times=2):.5f}, over 0.9 = {stretched(0.2, times=2) / 0.9:.4f}. The limit k → ∞ is
            1−e^(−b·s) = {stretched(0.2, times=math.inf):.5f}, over 0.9 =
            {stretched(0.2, times=math.inf) / 0.9:.4f}.""",
        ),
    )


def _reach(loss: float) -> float:
    low, high = 0.01, 0.99
    for _ in range(60):
        middle = (low + high) / 2
        small = 1 - stretched(middle, times=100) / 0.9 < loss
        low, high = (middle, high) if small else (low, middle)
    return low


def _appendix_c2() -> Item:
    days = (30.0, 15.0, 7.0, 1.0)
    rows: list[list[object]] = [
        [t, share(5.76e23, 1.0, days=t), shorter(5.76e23, chips=1e5, sample=1000, days=t)] for t in days
    ]
    times = [1 + 29 * step / 58 for step in range(59)]
    month, week = (shorter(5.76e23, chips=1e5, sample=1000, days=t) for t in (30.0, 7.0))
    return Item(
        name="appendix-c2",
        title="Shavit, appendix C.2, Theorem 1: more chips for less time",
        tables={"appendix-c2.csv": (["days", "chips_of_the_run", "detection"], rows)},
        figure=Chart(
            title="A shorter run on more chips is caught more often, as Theorem 1 says",
            x=Axis(label="length of the run, days"),
            y=Axis(label="chance to escape one draw of 1,000", log=True),
            series=(
                Series(
                    name="Chinchilla among 1e5 chips",
                    points=tuple((t, 1 - shorter(5.76e23, chips=1e5, sample=1000, days=t)) for t in times),
                ),
            ),
            marks=tuple(
                Mark(
                    x=t,
                    y=1 - shorter(5.76e23, chips=1e5, sample=1000, days=t),
                    label=f"{t:.0f} day{'s' if t > 1 else ''}",
                )
                for t in days[1:]
            ),
        ),
        paragraphs=(
            f"""Theorem 1 says that more chips for a shorter time t, and relays from chips to chips, never help the
            Prover: 1−(1−b(t)·(1−e^(−f·t)))^s grows as t falls. With s = 1,000 draws among 1e5 chips, Chinchilla is
            caught with {month:.4f} over 30 days and {week:.4f} over 7. The theorem stands. Its Lemma 1 has slips: it
            evaluates f at 0 where g = 1 is meant, drops ln b from the derivative, and uses the letter a twice. With x
            = −ln(b)/g the derivative of g(1−b^(1/g)) is 1−e^(−x)·(1+x), which is never negative, and that is all the
            proof needs; slips.csv has the numbers.""",
            f"""By hand at t = 7: the run needs {share(5.76e23, 1.0, days=7):.1f} chips, b =
            {share(5.76e23, 1e5, days=7):.6f}, 1−e^(−0.7) = {1 - math.exp(-0.7):.6f}, their product
            {share(5.76e23, 1e5, days=7) * (1 - math.exp(-0.7)):.6f}, and
            1−(1−{share(5.76e23, 1e5, days=7) * (1 - math.exp(-0.7)):.6f})^1000 = {week:.6f}. At t = 30 the product is
            {share(5.76e23, 1e5, days=30) * SEEN:.6f} and the detection {month:.6f}.""",
        ),
    )
