"""The slips in arXiv 2303.11341, each with a number that shows it. None changes a conclusion of the paper."""

import math

from shavit import A_DAY, RATE, SEEN, YEAR, linear, share, stretched

__all__ = ["slips"]


def slips() -> tuple[tuple[int, str, str, str, str], ...]:
    """Returns number, place, what is printed, what is right, and the witness."""
    month = share(5.76e23, 1e5) * SEEN
    year = share(5.76e23, 1e5, days=YEAR) * SEEN
    periods, s = math.ceil(YEAR / 30), 100
    detect = {count: -math.expm1(count * s * math.log1p(-year)) for count in (12, 12 + 5 / 30, periods)}
    return (
        (
            1, "appendix B", "p = (1-p_n)^ceil(T/T_m)", "p = 1-p_n^ceil(T/T_m), as the next line has it",
            f"Chinchilla, 1e5 chips, 365 days, s = 1000: {(1 - (1 - year) ** 1000) ** periods:.3g}"
            f" against {1 - (1 - year) ** (1000 * periods):.6f}",
        ),
        (
            2, "appendix B", "s <= ...", "s >= ..., as section 3.2 has it",
            f"Chinchilla, 1e5 chips, 30 days: s = 1089 detects {1 - (1 - month) ** 1089:.6f},"
            f" s = 1090 detects {1 - (1 - month) ** 1090:.6f}; wanted 0.9",
        ),
        (
            3, "appendix B", "p_w = 1-e^(-fT)", "p_w = 1-e^(-f T_m), as in Eq. 1: the weaker and safe form",
            f"f = 0.1, T = 365, T_m = 30: {1 - math.exp(-RATE * YEAR):.6f} against {SEEN:.6f}",
        ),
        (
            4, "appendix C.2, Lemma 1", "evaluates f(0); derivative without ln b; a for T/t and for FLOP a day",
            "g = 1 is meant; d/dg g(1-b^(1/g)) = 1-e^(-x)(1+x) with x = -ln(b)/g",
            f"b = 0.2, g = 3: formula {_derivative(0.2, 3):.6f}, difference quotient {_quotient(0.2, 3):.6f}",
        ),
        (
            5, "appendix D", "with probability at least 1-p-delta_2", "p-delta_2, for p is the detection probability",
            "p = 0.9, delta_2 = 0.01: 0.09 against 0.89",
        ),
        (
            6, "appendix C.1", "loss under 5 %",
            "holds as stated, b up to 0.2 at p = 0.9 (in fact to 0.307); not for larger runs",
            f"k = 100: {100 * (1 - stretched(0.2, times=100) / 0.9):.2f} % at b = 0.2,"
            f" {100 * (1 - stretched(0.4, times=100) / 0.9):.2f} % at b = 0.4",
        ),
        (
            7, "Table 1", "the linear form, and 7 for Chinchilla-280B among 1e3 chips",
            "Eq. 1; no value where b > 1",
            f"b = {share(9.9e24, 1e3):.5f}, linear {linear(share(9.9e24, 1e3)):.5f};"
            f" the run needs {math.ceil(9.9e24 / (A_DAY * 30)):,} chips",
        ),
        (
            8, "Eq. 1", "the factor T_m/T", "ceil(T/T_m) draws in appendix B; state which is used",
            "Chinchilla, 1e5 chips, 365 days, s = 100: "
            + ", ".join(f"{count:.4g} draws {value:.6f}" for count, value in detect.items()),
        ),
    )  # fmt: skip


def _derivative(b: float, g: float) -> float:
    x = -math.log(b) / g
    return 1 - math.exp(-x) * (1 + x)


def _quotient(b: float, g: float, step: float = 1e-4) -> float:
    def curve(value: float) -> float:
        return value * -math.expm1(math.log(b) / value)

    return (curve(g + step) - curve(g - step)) / (2 * step)
