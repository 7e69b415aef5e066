"""The draft agreement arXiv 2511.10783, version 2, appendix D: how long clusters need, and when they register."""

__all__ = ["CLOCKS", "PRINTED", "RATE", "TIERS", "days_to", "printed_as", "size_for"]

RATE = 990e12
"""FLOP/s of one H100 equivalent: FP8 at 50 % (appendix D)."""

# H100 equivalents, and the printed days to 1e22 and to 1e24 FLOP (appendix D, Tables 1 and 2).
PRINTED = (
    (1, "116.9", "11,691"),
    (16, "7.3", "730.7"),
    (100, "1.2", "116.9"),
    (1_000, "0.1", "11.7"),
    (10_000, "0.012", "1.2"),
    (100_000, "0.001", "0.1"),
)

# Clusters above so many H100 equivalents register by this day (appendix D).
TIERS = ((10_000, 1), (1_000, 10), (100, 100), (16, 730))

# What the articles give time for, where, and how many hours.
CLOCKS = (
    ("verification teams reach a site from an international airport", "V(1)(b)", 12),
    ("access for a challenge inspection", "X(3)", 24),
    ("a dispute is acknowledged", "XI(1)", 36),
    ("a dispute is clarified", "XI(1)", 5 * 24),
    ("notice before chips are moved", "V(6)", 14 * 24),
    ("an emergency change of thresholds lapses unless approved", "III(4)(d)", 30 * 24),
    ("the register is refreshed", "V(5)", 90 * 24),
    ("covered clusters are located, listed and consolidated", "V(3)", 120 * 24),
)


def size_for(flop: float, *, days: float) -> float:
    """Returns the H100 equivalents that do ``flop`` in so many days."""
    return flop / (RATE * days * 86_400)


def days_to(flop: float, *, size: float) -> float:
    """Returns the days that a cluster of ``size`` H100 equivalents needs for ``flop``."""
    return flop / (RATE * size * 86_400)


def printed_as(days: float) -> str:
    """Returns a figure as the tables print it: whole from 1,000 on, one decimal, below 0.05 three."""
    if days >= 1000:
        return f"{days:,.0f}"
    return f"{days:.1f}" if days >= 0.05 else f"{days:.3f}"
