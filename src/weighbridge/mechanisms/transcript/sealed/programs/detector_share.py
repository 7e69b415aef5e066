"""Share of the committed samples that a detector matches, with exact bounds if they are drawn.

Beside it: ``detector.py`` with ``matches(row: dict[str, numpy.ndarray]) -> bool``. Parameters: ``sample``, how many
samples to look at (0 or absent: all), ``confidence`` of the two-sided interval of Clopper and Pearson (1934), default
0.95. Answers: ``share``, ``low``, ``high``; the two bounds equal the share where all samples are looked at.
"""

import random

from weighbridge.mechanisms.transcript.sealed.opened import Opened
from weighbridge.statistics import clopper_pearson_upper


def main() -> None:
    """Looks at the samples and answers."""
    opened = Opened.here()
    detector = opened.part("detector")
    items = len(opened.data)
    sample = int(opened.parameters.get("sample", 0)) or items
    whole = sample >= items
    chosen = range(items) if whole else sorted(random.Random(opened.seed).sample(range(items), sample))  # noqa: S311
    arrays = opened.data.arrays
    matched = sum(bool(detector.matches({name: array[index] for name, array in arrays.items()})) for index in chosen)
    share = matched / len(chosen)
    low, high = share, share
    if not whole:
        alpha = (1 - float(opened.parameters.get("confidence", 0.95))) / 2
        low = 1 - clopper_pearson_upper(sample - matched, sample, alpha)
        high = clopper_pearson_upper(matched, sample, alpha)
    opened.answer(share=share, low=low, high=high)


if __name__ == "__main__":
    main()
