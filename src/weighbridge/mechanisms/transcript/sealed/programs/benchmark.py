"""Score of one drawn checkpoint on a held test.

Beside it: ``evaluator.py`` with ``score(state, parameters) -> float``; the test may lie beside it too. The checkpoint
is drawn evenly from the committed states at hand by the query's seed, the initial one left out; parameter ``last``
(true) takes the last instead. Answer: ``score``.
"""

import random

from weighbridge.mechanisms.transcript.sealed.opened import Opened


def main() -> None:
    """Draws a checkpoint, has it scored, and answers."""
    opened = Opened.here()
    steps = sorted(step for step in opened.anchors() if step > 0)
    step = steps[-1] if opened.parameters.get("last") else random.Random(opened.seed).choice(steps)  # noqa: S311
    opened.answer(score=float(opened.part("evaluator").score(opened.state(step), opened.parameters)))


if __name__ == "__main__":
    main()
