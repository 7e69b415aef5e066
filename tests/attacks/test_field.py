"""The field itself: what tampering leaves when it changes nothing is accepted, so what is caught is the cheat."""

import numpy as np
import pytest

from transcript.forked import forked
from weighbridge.attacks.attempts import FROZEN, distance, end_anchor
from weighbridge.attacks.field import Field, Tampering, images
from weighbridge.attacks.forgery import events_of, log_statements, rewrite, sign_again
from weighbridge.mechanisms.transcript.commitment import COMMITMENT

pytestmark = pytest.mark.real

OTHER = "weighbridge.attacks.tampering_data:other_rows"
NOTHING: dict[str, Tampering] = {
    "rows exchanged in no step": (OTHER, {"how": "exchanged", "steps": [], "rows": 4}),
    "a batch exchanged for itself": (OTHER, {"how": "repeated", "steps": [3, 4], "rows": 0}),
    "a learning rate times one": ("hyperparameter_smuggled", {"step": 20, "name": "lr", "value": None, "times": 1.0}),
    "no steps besides": ("steps_besides", {"step": 15, "times": 0, "rate": 0.1}),
    "an optimizer's default said aloud": ("hyperparameter_smuggled", {"step": 20, "name": "foreach", "value": True}),
}


@pytest.mark.parametrize("what", NOTHING)
def test_tampering_that_changes_nothing_is_accepted(field: Field, what: str) -> None:
    run = field.project(seed=1).train(tampering=[FROZEN, NOTHING[what]]).run
    with forked(field.folder):
        assert field.judge(run).caught_by == ()


def test_the_same_run_in_a_sandbox(field: Field) -> None:
    judgement = field.judge(field.project(seed=1, model="convolution").train(tampering=[FROZEN]).run)
    assert (judgement.caught_by, judgement.doubts, judgement.steps) == ((), (), 40)


def test_statements_signed_at_leisure_over_an_honest_journal_hold(field: Field) -> None:
    run = field.project(seed=1).train(tampering=[FROZEN, ("statements_withheld", {})]).run
    assert not list((run / "progress").iterdir())
    with forked(field.folder):
        assert field.judge(run).caught_by == ("transcript.journal",)
        rewrite(run, lambda events: None)
        sign_again(run, field.operator)
        log_statements(run, field.spool)
        assert field.judge(run).caught_by == ()


def test_a_caught_joint_is_caught_in_its_step_for_its_state(field: Field) -> None:
    """Not for a slip of the forger's bookkeeping: batches, hyperparameters and numbers of updates agree."""
    changed = ("hyperparameter_smuggled", {"step": 20, "name": "lr", "value": None, "times": 1.000001})
    for tampering, step in ((changed, 25), (("last_digit", {"step": 17}), 20), ((OTHER, ADDED), 30)):
        run = field.project(seed=1).train(tampering=[FROZEN, tampering]).run
        with forked(field.folder):
            reason = field.judge(run).reason("transcript.replay")
        assert f"the state at step {step} differs" in reason
        for slip in ("the data of", "place where", "updates", "hyperparameters"):
            assert slip not in reason


ADDED = {"how": "added", "steps": [29], "rows": 1}


def test_one_segment_of_four_finds_a_joint_in_one_draw_of_four(field: Field) -> None:
    """All four draws: the segment with the joint fails, and each of the others passes, replayed from its own anchor."""
    run = field.project(seed=1).train(tampering=[FROZEN, ("last_digit", {"step": 17})]).run
    found: dict[tuple[int, int], tuple[str, ...]] = {}
    with forked(field.folder):
        for number in range(64):
            judgement = field.judge(run, segments=1, seed=number.to_bytes(32, "big"))
            found[judgement.verification.drawn[0]] = judgement.caught_by
            if len(found) == 4:
                break
    assert found == {(0, 10): (), (10, 20): ("transcript.replay",), (20, 30): (), (30, 40): ()}


def test_a_program_that_ends_badly_is_told(field: Field) -> None:
    ended = field.project(seed=1, model="nothing").train()
    assert ended.status == 1
    with pytest.raises(ValueError, match="KeyError: 'nothing'"):
        _ = ended.run


def test_models_learn_their_data(field: Field) -> None:
    """Runs on which nothing is learnt would make stolen weights worth nothing."""
    for model, rate in (("perceptron", 0.01), ("convolution", 0.01), ("transformer", 0.01)):
        run = field.project(seed=1, model=model, rate=rate, steps=120).train().run
        losses = [float.fromhex(e["loss"][0]) for e in events_of(run) if e["type"] == "step"]
        assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10]), (model, np.mean(losses[:10]), np.mean(losses[-10:]))
        assert distance(end_anchor(run), end_anchor(run)) == 0.0


def test_data_follow_from_the_seed() -> None:
    assert (images(1, 50) == images(1, 50)).all()
    assert (images(1, 50) != images(2, 50)).any()
    assert set(images(1, 200)[:, -1]) == set(range(10))


def test_every_try_is_in_the_log(field: Field) -> None:
    project = field.project(seed=1, steps=5)
    before = sum(statement.kind == COMMITMENT for statement in field.logged())
    for _ in range(2):
        assert project.train().status == 0
    assert sum(statement.kind == COMMITMENT for statement in field.logged()) == before + 2
