"""Batches that were not trained on, with nearly the gradient of those that were: Thudi et al. 2022 (arXiv 2110.11891).

A row is to have had no part in a run. Wherever it was in a batch, another row is claimed in its place: of many, the
one after whose step the weights differ least. A proof with a checkpoint every step then holds without the row.
"""

from typing import Final

from weighbridge.attacks.original import GENTLE, Reproduction, Stopwatch, honest_run
from weighbridge.attacks.proof_of_learning import (
    Checkpoint,
    Proof,
    Recipe,
    checkpoint_of,
    distances,
    run_segment,
    vector,
    verify,
)

__all__ = ["forged_batches"]

_TRIED: Final = 24


def forged_batches(seed: int) -> Reproduction:
    """Takes one row out of the log of a proof with a checkpoint every step."""
    honest = honest_run(GENTLE, seed)
    images, order = honest.images, honest.proof.order
    row = order[0][0]
    steps = [step for step, rows in enumerate(order) if row in rows]
    recipe = Recipe(**{**vars(GENTLE), "interval": 1, "steps": 1})
    reached = _states(seed)
    spent, worst, random_worst, accepted = 0.0, 0.0, 0.0, True
    for step in steps:
        begin, end = reached[step], reached[step + 1]
        wanted, moved = vector(end.network), distances(vector(begin.network), vector(end.network))[1]
        watch = Stopwatch()
        candidates = [one for one in range(len(images)) if one not in order[step]][:_TRIED]
        missed = []
        for other in candidates:
            rows = tuple(other if one == row else one for one in order[step])
            network, _ = run_segment(recipe, images, [rows], begin)
            missed.append((distances(wanted, vector(network.state_dict()))[1] / moved, rows))
        spent += watch.seconds
        best = min(missed)
        worst, random_worst = max(worst, best[0]), max(random_worst, missed[0][0])
        proof = Proof(recipe=recipe, order=(best[1],), checkpoints={0: begin, 1: end}, hash=honest.proof.hash)
        verdict = verify(proof, images)
        accepted = accepted and verdict.data and all(all(four) for four in verdict.passed)
    words = f"row {row} taken out of {len(steps)} batches, the proof is {'accepted' if accepted else 'rejected'};"
    words += f" steps end {worst:.1%} of their length away (another row unsought: {random_worst:.1%})"
    return Reproduction(succeeded=accepted and worst < random_worst, words=words, cost=spent / honest.cpu_s)


def _states(seed: int) -> list[Checkpoint]:
    """Returns every state of the honest run, as a prover that saves each step has them."""
    honest = honest_run(GENTLE, seed)
    state = honest.proof.checkpoints[0]
    states = [state]
    for rows in honest.proof.order:
        state = checkpoint_of(*run_segment(GENTLE, honest.images, [rows], state))
        states.append(state)
    return states
