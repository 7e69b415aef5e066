"""The agent killed, started twice, out of room, set back: nothing is forgotten."""

import random
import resource
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from chip.agent_world import FAMILY, PYTHON, alive, content, failures, finish, gone, grown, judge, wait_for
from chip.chip_world import World
from chip.conftest import Starter
from weighbridge.evidence.findings import Outcome
from weighbridge.mechanisms.chip.challenge import answer_challenge
from weighbridge.mechanisms.chip.collect import collect
from weighbridge.mechanisms.chip.store import leaf_path, record_path, sequences
from weighbridge.mechanisms.chip.verify import verify

pytestmark = pytest.mark.real


def test_killing_the_agent_kills_everything_and_is_found(world: World, place: Path, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=2.0)
    agent = start_agent(chip.directory, [PYTHON, "-c", FAMILY, "60"], cwd=place)
    pids = [int(wait_for(partial(content, place / name))) for name in ("parent", "child", "daemon")]
    agent.kill()
    agent.wait()
    for pid in pids:
        wait_for(partial(gone, pid), timeout=3)
    finish(start_agent(chip.directory, ["/bin/true"]))
    found = judge(world, chip.directory)
    assert not failures(found)
    unclean = [f for f in found.findings if f.check == "chip.shutdown"]
    boot = next(r for r in found.records if r.boot == 2)
    assert [f.subject for f in unclean] == [boot.name] and unclean[0].outcome is Outcome.INCONCLUSIVE
    assert found.summary is not None and found.summary.unexplained_due == boot.lost
    # The longest reading: at least what was counted, and what may have passed after the last heartbeat.
    last = max(r.active_ns for r in found.records if r.boot == 1)
    assert boot.active_ns >= last + 200_000_000


def test_killed_at_any_moment_nothing_is_forgotten(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=25.0)
    rng = random.Random(4)
    for _ in range(7):
        agent = start_agent(chip.directory, ["/bin/sleep", "60"])
        present = len(sequences(chip.directory))
        wait_for(partial(grown, chip.directory, present, agent))
        time.sleep(rng.uniform(0.0, 0.25))
        agent.kill()
        agent.wait()
    finish(start_agent(chip.directory, ["/bin/sleep", "0.3"]))
    found = judge(world, chip.directory)
    assert not failures(found), failures(found)
    assert found.summary is not None and len(found.summary.boots) == 8
    lost = sum(r.lost for r in found.records)
    assert found.summary.unexplained_due == lost > 0


def test_two_agents_on_one_chip(world: World, start_agent: Starter) -> None:
    chip = world.chip()
    first = start_agent(chip.directory, ["/bin/sleep", "60"])
    wait_for(lambda: sequences(chip.directory))
    said = finish(start_agent(chip.directory, ["/bin/sleep", "60"]), 1)
    assert "another agent runs this chip" in said
    path = answer_challenge(chip.directory, "0123456789abcdef")
    first.terminate()
    finish(first, 128 + signal.SIGTERM)
    answer_challenge(chip.directory, "fedcba9876543210")
    found = judge(world, chip.directory)
    assert not failures(found)
    challenges = [r for r in found.records if r.reason == "challenge"]
    assert [c.nonce for c in challenges] == ["0123456789abcdef", "fedcba9876543210"]
    assert path == record_path(chip.directory, challenges[0].sequence)
    assert [c.accounting == "none" for c in challenges] == [False, True]


def test_a_full_disk_ends_the_command(world: World, place: Path, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=10.0)
    code = "import os,time; open('pid','w').write(str(os.getpid())); a = bytearray(os.urandom(1 << 26)); time.sleep(60)"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))  # leaf tables do not fit
    try:
        agent = start_agent(chip.directory, [PYTHON, "-c", code], cwd=place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = finish(agent, 1)
    assert "cannot be written" in said and "may not run unwatched" in said and str(chip.directory) in said
    assert not alive(int((place / "pid").read_text()))
    # The disk has room again: the chip goes on, and says that a boot ended uncleanly.
    finish(start_agent(chip.directory, ["/bin/true"]))
    found = judge(world, chip.directory)
    assert not failures(found)
    assert [f.outcome for f in found.findings if f.check == "chip.shutdown"] == [Outcome.INCONCLUSIVE]


def test_rolled_back_and_damaged_stores_are_refused(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=10.0)
    finish(start_agent(chip.directory, ["/bin/sleep", "0.5"]))
    count = len(sequences(chip.directory))
    last = record_path(chip.directory, count - 1)
    kept = last.read_bytes()
    last.unlink()
    said = finish(start_agent(chip.directory, ["/bin/true"]), 1)
    assert f"{chip.chip}#{count - 1}" in said and "restore" in said
    last.write_bytes(kept)
    middle = record_path(chip.directory, 1)
    middle.rename(middle.with_suffix(".away"))
    said = finish(start_agent(chip.directory, ["/bin/true"]), 1)
    assert f"{chip.chip}#1 is missing" in said
    middle.with_suffix(".away").rename(middle)
    spoiled = bytearray(kept)
    spoiled[-1] ^= 1
    last.write_bytes(spoiled)
    assert "not signed by this chip" in finish(start_agent(chip.directory, ["/bin/true"]), 1)
    last.write_bytes(kept)
    state = chip.directory / "state.json"
    held = state.read_bytes()
    state.write_bytes(b"{")
    assert "position in its schedule" in finish(start_agent(chip.directory, ["/bin/true"]), 1)
    state.write_bytes(held)
    assert len(sequences(chip.directory)) == count  # a refusal changes nothing
    finish(start_agent(chip.directory, ["/bin/true"]))
    assert not failures(judge(world, chip.directory))


def test_edits_of_the_directory_are_found_by_name(world: World, start_agent: Starter) -> None:
    chip = world.chip(rate_hz=10.0)
    finish(start_agent(chip.directory, ["/bin/sleep", "0.8"]))
    present = sequences(chip.directory)
    samples = [n for n in present if leaf_path(chip.directory, n).is_file()]
    assert len(samples) >= 2
    raw = bytearray(record_path(chip.directory, samples[0]).read_bytes())
    raw[-10] ^= 1
    record_path(chip.directory, samples[0]).write_bytes(raw)
    leaf = bytearray(leaf_path(chip.directory, samples[1]).read_bytes())
    leaf[-1] ^= 1
    leaf_path(chip.directory, samples[1]).write_bytes(leaf)
    found = collect(chip.directory, world.roots, chip=chip.chip)
    judged = verify(found.statements, chip=chip.chip, leaves=found.leaves, salts=found.salts)
    named = {(f.check, f.subject) for f in [*found.findings, *judged.findings] if f.outcome is Outcome.FAIL}
    assert ("chip.record", f"{chip.chip}#{samples[0]}") in named
    assert ("chip.sequence", f"{chip.chip}#{samples[0]}") in named
    assert ("chip.leaves", f"{chip.chip}#{samples[1]}") in named
    record_path(chip.directory, present[-1]).unlink()
    receiptless = collect(chip.directory, world.roots, chip=chip.chip)
    ends = verify(receiptless.statements, chip=chip.chip).findings
    assert any(f.check == "chip.end" and f.outcome is Outcome.INCONCLUSIVE for f in ends)
