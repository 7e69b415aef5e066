"""Whether what a program did in a step depends on rows of the data that the step was not given.

A program may read the committed file by itself: it may copy weights out of it that were trained elsewhere, or take its
rows in an order of its own. Such a program repeats itself bit for bit, so replay agrees with it. Here a few steps are
replayed once more with all rows zero but those due in them by the seed's order, which nobody knew when the data were
committed: what comes out otherwise was not made of what the steps were given.

The first steps are always among them, and one segment drawn from the verifier's seed: a program that reads the file
once, later than that, is found with one chance in as many as the run has segments. A program that normalises with
statistics of the whole file comes out otherwise too, so this raises suspicion and accuses nobody. One that gathers what
it is given, batch by batch, and uses it later passes.
"""

from collections.abc import Sequence
from pathlib import Path

from weighbridge.errors import EvidenceError, WeighbridgeError
from weighbridge.evidence.draws import draw
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.data import Dataset
from weighbridge.mechanisms.transcript.masked_data import opened_data
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.reading import transcript_finding
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.transcript import Transcript

__all__ = ["check_given_rows", "stretches"]

_CHECK = "given-rows"
_DOMAIN = b"weighbridge/given-rows/1"


def stretches(transcript: Transcript, seed: bytes, *, whole: bool = True) -> list[Leg]:
    """Returns the first steps up to a committed digest, and one drawn segment.

    Args:
        transcript: the opened run.
        seed: of the draw.
        whole: take all of the drawn segment; else only its steps up to a committed digest.
    """
    every = segments_of(transcript)
    names = {f"{leg.start:020d}": leg for leg in every}
    drawn = names[draw(list(names), 1, seed=_DOMAIN + seed)[0]]
    drawn = drawn if whole else _shortened(transcript, drawn)
    return [drawn] if drawn.start == 0 else [_shortened(transcript, every[0]), drawn]


def _shortened(transcript: Transcript, leg: Leg) -> Leg:
    until = min((step for step in transcript.digests if leg.start < step <= leg.until), default=leg.until)
    return Leg(leg.start, until, leg.anchor)


def check_given_rows(
    transcript: Transcript,
    *,
    seed: bytes,
    data: Path | None = None,
    parent: Path | None = None,
    core: int | None = None,
) -> Finding | None:
    """Replays a few steps with every row zero that is not due in them.

    Args:
        transcript: the opened run, replayed before with the whole data and found to agree.
        seed: of the draw.
        data: training data as handed over, if not at its committed path.
        parent: file of the parent's final state.
        core: processor to replay on.

    Returns:
        A finding that never fails: inconclusive if a state comes out otherwise. None where nothing can be hidden: data
        made in memory, or all rows due; and for a program with a loop of its own, whose rows nobody can name.
    """
    if transcript.observed:
        return None
    legs = stretches(transcript, seed)
    if transcript.reached == 0:
        return None
    try:
        dataset = opened_data(transcript.contents["data"], data)
        if dataset is None:
            return None
        rows = _due(transcript, dataset, legs)
        if len(rows) == len(dataset):
            legs = stretches(transcript, seed, whole=False)
            rows = _due(transcript, dataset, legs)
        if len(rows) == len(dataset):
            return None
        with replay(transcript, legs=legs, data=data, parent=parent, core=core, only_rows=sorted(rows)) as outcome:
            wrong = [
                leg
                for leg in legs
                if outcome.captured(leg.until).digest(transcript.salt(leg.until)).hex()
                != transcript.digests.get(leg.until)
            ]
    except EvidenceError as error:
        return _doubt(transcript, legs, f"cannot be repeated ({error})", legs)
    except WeighbridgeError as error:
        reason = f"whether steps use rows that they were not given cannot be tried here: {error}"
        return transcript_finding(transcript, _CHECK, Outcome.INCONCLUSIVE, reason)
    if wrong:
        return _doubt(transcript, legs, "come out otherwise", wrong)
    return transcript_finding(
        transcript,
        _CHECK,
        Outcome.PASS,
        f"{_words(legs)} come out the same where all rows but the {len(rows)} of {len(dataset)} due in them are zeros",
        figure=0.0,
        unit="steps",
    )


def _due(transcript: Transcript, dataset: Dataset, legs: Sequence[Leg]) -> set[int]:
    """Returns the rows that these steps are given."""
    size = int(transcript.contents["loop"]["batch_size"])
    due = (dataset.indices(transcript.seed, batch_size=size, start=leg.start, stop=leg.until) for leg in legs)
    return {int(row) for batches in due for batch in batches for row in batch}


def _doubt(transcript: Transcript, legs: Sequence[Leg], how: str, wrong: Sequence[Leg]) -> Finding:
    return transcript_finding(
        transcript,
        _CHECK,
        Outcome.INCONCLUSIVE,
        f"{_words(wrong)} {how} where rows that were not due in them are zeros: the program uses rows that it was not"
        " given (statistics of the whole file, an order of its own, or weights that lie in the data): read its code",
        figure=float(sum(leg.until - leg.start for leg in wrong)),
        unit="steps",
    )


def _words(legs: Sequence[Leg]) -> str:
    return "steps " + " and ".join(f"{leg.start} to {leg.until}" for leg in legs)
