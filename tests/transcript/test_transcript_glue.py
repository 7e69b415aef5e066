"""Two trainings joined in the middle of a run: each stretch replays from its own anchor, the joint does not."""

from dataclasses import dataclass

import pytest

from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript.plans import plan_segments, segments_of

from .judging import failing, initial, replayed
from .world import Project, World

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Joint:
    """What is forged between two steps, in the recording process alone."""

    code: str

    def train(self, project: Project) -> list[str]:
        """Writes the program that forges, and returns its command line."""
        other = project.folder.parent / f"glue-{project.folder.name}.py"
        other.write_text(
            "import runpy, sys\nimport torch\nimport weighbridge.mechanisms.transcript.recorder as recorder\n"
            "claim = recorder.Recorder._claim\n"
            "def claiming(self, sequence, step, phase, state):\n"
            "    subjects = self._subjects\n"
            "    with torch.no_grad():\n"
            f"        {self.code}\n"
            "    return claim(self, sequence, step, phase, self._capture())\n"
            "recorder.Recorder._claim = claiming\n"
            "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        return [str(other), str(project.folder / "train.py"), str(project.data), str(project.folder / "config.json")]


JOINTS = {
    "stolen weights": Joint("for p in subjects.modules['model'].parameters(): p.copy_(torch.ones_like(p))"),
    "the optimizer-state splice": Joint(
        "for s in subjects.optimizers['optimizer'].state.values(): s['exp_avg'] += 1; s['step'].fill_(1e6)"
    ),
    "another generator": Joint("torch.manual_seed(5)"),
}


@pytest.mark.parametrize("what", JOINTS)
def test_a_joint_in_the_middle(world: World, what: str) -> None:
    project = world.project(dropout=0.2)
    ended = project.train(*JOINTS[what].train(project), spool=True, faults={"freezes": [[5, "after"]]})
    assert ended.status == 0, ended.errors
    transcript = ended.open()
    assert failing(transcript) == []
    assert initial(ended).outcome is Outcome.PASS
    first, second = segments_of(transcript)
    assert (second.start, second.until) == (6, 12)
    # What follows the joint is trained honestly from what was joined: an audit of that stretch alone finds nothing.
    assert replayed(ended, [second]).outcome is Outcome.PASS
    # Stretches that meet are walked through, never begun again from what the operator supplies.
    both = list(plan_segments(transcript, [first, second]).legs)
    assert len(both) == 1
    for legs in ([first], both):
        finding = replayed(ended, legs)
        assert finding.outcome is Outcome.FAIL
        assert "replay leaves the committed run after step 5: the state at step 6 differs" in finding.reason


def test_without_a_joint_the_same_run_holds(world: World) -> None:
    project = world.project(dropout=0.2)
    ended = project.train(*Joint("pass").train(project), spool=True, faults={"freezes": [[5, "after"]]})
    assert ended.status == 0, ended.errors
    assert replayed(ended).outcome is Outcome.PASS
