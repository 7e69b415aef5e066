"""How much a replay may write: enough for an honest run, nothing for one that claims to be large."""

import os

import pytest

from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.transcript import allowance
from weighbridge.mechanisms.transcript.allowance import Allowance
from weighbridge.mechanisms.transcript.plans import plan_segments, segments_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.verify import compare_replay

from .world import Ended, World, copied

pytestmark = pytest.mark.real

KIB = 1 << 10


def allowed(ended: Ended, states: int = 1) -> Allowance:
    first = "state-0000-0000000.safetensors"
    return Allowance.of(ended.run / "anchors", first=first, states=states, data_bytes=0)


def test_a_first_state_without_an_optimizer_s_does_not_starve_the_later_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AdamW's moments are twice its weights, and are not there before the first step."""
    ended = world.project(width=256).train()
    sizes = [
        (ended.run / "anchors" / f"state-0000-00000{name}.safetensors").stat().st_size for name in ("00", "12-end")
    ]
    assert sizes[1] > 2.5 * sizes[0]
    monkeypatch.setattr(allowance, "LOG_BYTES", 64 * KIB)  # that what states take decides
    transcript = ended.open()
    plan = plan_segments(transcript, segments_of(transcript))
    with replay(transcript, legs=plan.legs, captures=range(1, 13), digests=plan.digests) as outcome:
        assert sum(path.stat().st_size for path in outcome.folder.iterdir()) > 2 * 12 * sizes[0]
        finding = next(f for f in compare_replay(transcript, outcome) if f.check == "transcript.replay")
    assert finding.outcome is Outcome.PASS


@pytest.mark.parametrize("name", ["state-0000-0000000", "state-0000-0000012-end", "freeze-0000-000099"])
def test_an_anchor_that_only_says_that_it_is_large_allows_nothing_more(plain: Ended, name: str) -> None:
    before = allowed(plain)
    with copied(plain.run) as folder:
        path = folder / "anchors" / f"{name}.safetensors"
        with path.open("ab") as file:
            os.truncate(file.fileno(), 1 << 40)
        sparse = allowed(Ended(0, "", "", plain.project, folder))
    assert sparse.written_bytes - before.written_bytes < 1 << 20
    assert sparse.memory_bytes - before.memory_bytes < 1 << 20


def test_more_states_may_take_more(plain: Ended) -> None:
    one, ten = allowed(plain, 1), allowed(plain, 10)
    assert one.file_bytes == ten.file_bytes
    assert ten.written_bytes > one.written_bytes > one.file_bytes - 1
    assert ten.written_files - one.written_files == 9
