"""Share of the steps taken that were given rollouts of a generator: what the program said of itself (``run.rollout``).

A program that never calls it has a share of 0, whatever it does: code review shows that, not this. Answer: ``share``.
"""

from weighbridge.mechanisms.transcript.sealed.opened import Opened


def main() -> None:
    """Counts the journal's steps and answers."""
    steps = [event.data for event in Opened.here().transcript.events if event.type == "step"]
    Opened.here().answer(share=sum(bool(step.get("rollouts")) for step in steps) / max(1, len(steps)))


if __name__ == "__main__":
    main()
