"""The draft agreement arXiv 2511.10783, version 2, appendix D: how long clusters need, and when they register."""

__all__ = ["PRINTED", "RATE", "TIERS", "days_to", "printed_as"]

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


def days_to(flop: float, *, size: float) -> float:
    """Returns the days that a cluster of ``size`` H100 equivalents needs for ``flop``."""
    return flop / (RATE * size * 86_400)


def printed_as(days: float) -> str:
    """Returns a figure as the tables print it: whole from 1,000 on, one decimal, below 0.05 three."""
    if days >= 1000:
        return f"{days:,.0f}"
    return f"{days:.1f}" if days >= 0.05 else f"{days:.3f}"
