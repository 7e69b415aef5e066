"""Tolerance on real runs: another thread count passes, the smallest cheats on a small GPT do not."""

import json
from pathlib import Path

import numpy as np
import pytest

from weighbridge.errors import InputError
from weighbridge.evidence.findings import Finding, Outcome
from weighbridge.mechanisms.transcript.calibration import Calibration, calibrate, configurations, judge_within
from weighbridge.mechanisms.transcript.plans import segments_of
from weighbridge.mechanisms.transcript.replay import replay
from weighbridge.mechanisms.transcript.replay_plan import Leg
from weighbridge.mechanisms.transcript.verification import Request, verify_run

from .judging import worst
from .world import Ended, World, without_sandbox

pytestmark = pytest.mark.real

STOPS = [[3, "fetching"], [6, "fetching"], [9, "fetching"]]
UNDER_TEST = 1
"""The second of four segments; two of the others are calibrated on."""


def trained(world: World, *, forged: str = "", pictures: bool = False) -> Ended:
    """Trains with two threads, which a replay does not."""
    config = {"steps": 12, "threads": 2, "rate": 1e-3, "at": 4, "pictures": pictures, "batch_size": 8}
    project = world.project(programs=("rounding.py",), width=16 if pictures else 64, **config)
    columns = 257 if pictures else 65
    np.save(project.data, np.random.default_rng(7).integers(0, 64, (200, columns)).astype(np.uint8))
    ended = project.train(
        "rounding.py", faults={"freezes": STOPS}, environment={"FORGED": forged, "OMP_NUM_THREADS": "2"}
    )
    assert ended.status == 0, ended.errors
    return ended


def calibrated(ended: Ended, evidence: Path) -> Calibration:
    transcript = ended.open()
    every = segments_of(transcript)
    with without_sandbox(ended.project.world):
        return calibrate(transcript, every, [every[UNDER_TEST]], threads=1, seed=bytes(32), evidence=evidence)


def judged(ended: Ended, calibration: Calibration) -> Finding:
    transcript = ended.open()
    leg = segments_of(transcript)[UNDER_TEST]
    with (
        without_sandbox(ended.project.world),
        replay(transcript, legs=[leg], digests=[leg.until], threads=1) as outcome,
    ):
        assert outcome.digests[leg.until] != transcript.digests[leg.until], "the arithmetic is the same"
        return judge_within(transcript, outcome, [leg], calibration)[0]


@pytest.fixture(scope="module")
def honest(world: World) -> Ended:
    return trained(world)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calibration")


@pytest.fixture(scope="module")
def calibration(honest: Ended, evidence: Path) -> Calibration:
    return calibrated(honest, evidence)


def test_another_thread_count_lies_within_the_tolerance(
    honest: Ended, calibration: Calibration, evidence: Path
) -> None:
    finding = judged(honest, calibration)
    assert finding.outcome is Outcome.PASS, finding
    assert 0 < (finding.figure or 0) < 5e-4 and "an adversary could move them by" in finding.reason
    (path,) = evidence.iterdir()
    kept = json.loads(path.read_text())
    assert {repeat["start"] for repeat in kept["repeats"]}.isdisjoint({3}) and len(kept["states"]) >= 8
    weights = next(t for t in kept["tolerances"] if t["group"] == "weights")
    assert weights["repeats"] >= 3 and weights["bound_per_root_step"] > weights["largest_per_root_step"]
    with pytest.raises(InputError, match="there already"):
        calibrated(honest, evidence)


@pytest.mark.parametrize("forged", ["rate", "token"])
def test_the_smallest_cheats_lie_beyond_it(world: World, calibration: Calibration, forged: str) -> None:
    """A learning rate 0.1 % higher than declared, and one token of one sample changed, under the verifier's digests."""
    finding = judged(trained(world, forged=forged), calibration)
    assert finding.outcome is Outcome.FAIL and "beyond" in finding.reason, finding


def test_another_workload_has_a_tolerance_of_its_own(world: World, tmp_path: Path, calibration: Calibration) -> None:
    ended = trained(world, pictures=True)
    own = calibrated(ended, tmp_path)
    bounds = [c.tolerances["weights"].bound(3) for c in (own, calibration)]
    assert not 1 / 1.5 < bounds[0] / bounds[1] < 1.5, bounds
    finding = judged(ended, own)
    assert finding.outcome is not Outcome.FAIL and "buffers" in own.tolerances


def test_without_the_anchor_at_its_end_a_stretch_cannot_be_compared(honest: Ended, calibration: Calibration) -> None:
    transcript = honest.open()
    with without_sandbox(honest.project.world), replay(transcript, legs=[Leg(0, 2)], threads=1) as outcome:
        finding = judge_within(transcript, outcome, [Leg(0, 2)], calibration)[0]
    assert finding.outcome is Outcome.INCONCLUSIVE and "digest alone" in finding.reason


def test_nothing_is_calibrated_on_the_segment_under_test(honest: Ended, tmp_path: Path) -> None:
    transcript = honest.open()
    every = segments_of(transcript)
    with pytest.raises(InputError, match="no segment outside"):
        calibrate(transcript, every, every, threads=1, seed=bytes(32), evidence=tmp_path)
    assert not list(tmp_path.iterdir())
    assert all(one.threads != 3 or one.variables for one in configurations(3)) and len(configurations(1)) == 5


def test_a_verifier_with_other_threads_calibrates_and_passes(honest: Ended, tmp_path: Path) -> None:
    request = Request(seed=bytes(32), segments=1, threads=1, calibrate=tmp_path, sweep=0.0)
    with without_sandbox(honest.project.world):
        found = worst(verify_run(honest.run, request).findings)
    assert found["replay"].outcome is Outcome.PASS and "of their update" in found["replay"].reason, found["replay"]
    assert found["replay-threads"].outcome is Outcome.INCONCLUSIVE and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="there already"):
        verify_run(honest.run, request)


def test_with_the_recorded_threads_there_is_no_tolerance(honest: Ended, tmp_path: Path) -> None:
    request = Request(seed=bytes(32), segments=1, threads=2, calibrate=tmp_path, sweep=0.0)
    with without_sandbox(honest.project.world):
        found = worst(verify_run(honest.run, request).findings)
    assert found["replay"].outcome is Outcome.PASS and "bit for bit" in found["replay"].reason
    assert not list(tmp_path.iterdir())
