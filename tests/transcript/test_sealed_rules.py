"""Rules as programs, over a real run in the real room: what they answer, and what they cannot do."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from weighbridge.app.main import build
from weighbridge.errors import WeighbridgeError
from weighbridge.rules.counting import TRAINING_POLICIES
from weighbridge.statistics import clopper_pearson_upper

from .world import Ended, World

pytestmark = pytest.mark.real

HOSTILE = """
import json, socket, sys
from pathlib import Path
from weighbridge.mechanisms.transcript.sealed.opened import Opened

opened = Opened.here()
stopped = 0
for attempt in (
    lambda: socket.create_connection(("1.1.1.1", 53), timeout=2),
    lambda: (opened.folder / "run" / "opening.json").write_text("{}"),
    lambda: (opened.folder / "program" / "program.py").write_text(""),
    lambda: (opened.folder / "about.json").write_text(""),
    lambda: Path("/room/run/opening.json").read_text(),
    lambda: Path("/etc/passwd").read_text(),
):
    try:
        attempt()
    except OSError:
        stopped += 1
print(opened.transcript.contents, file=sys.stderr)
opened.answer(stopped=stopped)
"""


def asked(ended: Ended, folder: Path, definition: dict[str, Any], **files: str) -> Path:
    """Makes a query's folder."""
    folder.mkdir()
    (folder / "query.json").write_text(json.dumps(definition))
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def output(name: str, high: float, bits: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "low": 0, "high": high, "bits": bits, **more}


@dataclass
class Office:
    """What an inspector needs to ask, by the commands."""

    world: World
    ended: Ended
    folder: Path

    def command(self, *words: object) -> dict[str, Any]:
        result = CliRunner().invoke(build(), ["sealed", *map(str, words), "--json"])
        if isinstance(result.exception, WeighbridgeError):
            raise result.exception
        told: dict[str, Any] = json.loads(result.stdout)
        return told

    def ask(self, name: str) -> dict[str, Any]:
        log, world = self.folder / "log", self.world
        places = ["--log", log, "--roots", world.roots_folder, "--ledger", self.folder / "ledger"]
        key = world.folder / "keys" / "Inspector.pem"
        return self.command("query", self.ended.run, self.folder / name, *places, "--key", key)


ROWS = 60
DETECTOR = "def matches(row):\n    return bool(row['data'][0] < 16)\n"
EVALUATOR = """
def score(state, parameters):
    return float(state.tensors["model/parameter/head.weight"].double().square().sum()) + state.plain["step"] / 1e6
"""
SALT = bytes(range(32))


def queries(data: np.ndarray[Any, Any]) -> dict[str, tuple[str | None, dict[str, Any], dict[str, str]]]:
    """The queries by name: shipped rule, definition, files."""
    records = [row.tobytes() for row in data[:3]] + [b"\0" * 9]
    digests = [hashlib.sha256(SALT + record).hexdigest() for record in records]
    share = {"answers": [output(name, 1, 10) for name in ("share", "low", "high")]}
    listed = {"salt": SALT.hex(), "digests": digests}
    flop = [{"name": name, "low": 1, "high": 1e30, "bits": 16, "scale": "log10"} for name in TRAINING_POLICIES]
    counted = {"answers": [*flop, output("lineage_known", 1, 1)], "measures": ["flop_per_step"]}
    return {
        "whole": ("detector-share", share, {"detector": DETECTOR}),
        "drawn": ("detector-share", share | {"parameters": {"sample": 20}}, {"detector": DETECTOR}),
        "presence": ("presence", {"answers": [output("present", 7, 3)], "parameters": listed}, {}),
        "reinforcement": ("reinforcement-share", {"answers": [output("share", 1, 4)]}, {}),
        "benchmark": ("benchmark", {"answers": [output("score", 1000, 16)]}, {"evaluator": EVALUATOR}),
        "flop": ("training-flop", counted, {}),
        "hostile": (None, {"answers": [output("stopped", 15, 4)]}, {"program": HOSTILE}),
        "endless": (None, {"answers": [output("x", 1, 1)], "seconds": 3}, {"program": "while True:\n    pass\n"}),
    }


@pytest.fixture(scope="module")
def office(world: World, tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A run that was killed, asked about while it lay, and then resumed to its end; and the log of all that."""
    folder = tmp_path_factory.mktemp("rules")
    project = world.project(steps=12)
    killed = project.train(spool=True, faults={"kill": "before-line", "at": 6})
    office = Office(world, killed, folder)
    run = killed.open().run
    key, spool = world.folder / "keys", ["--spool", world.spool]
    for name, (rule, definition, files) in queries(np.load(project.data)).items():
        asked(killed, folder / name, definition, **files)
        chosen = ["--rule", rule] if rule else []
        office.command("register", folder / name, "--run", run, "--key", key / "Inspector.pem", *spool, *chosen)
    budget = ["--run", run, "--bits", 250, "--key", key / "Operator.pem"]
    office.command("allow", folder / "budget.cose", *budget, *spool)
    ended = project.train(spool=True, resume=killed.run)
    assert ended.status == 0, ended.errors
    world.log.export(folder / "log")
    return office


def test_a_share_is_exact_over_all_and_bounded_over_a_draw(office: Office) -> None:
    data = np.load(office.ended.project.data)
    truth = float(np.mean(data[:, 0] < 16))
    whole = office.ask("whole")["values"]
    assert whole == {name: pytest.approx(truth, abs=0.5 / 1023 + 1e-9) for name in ("share", "low", "high")}
    drawn = office.ask("drawn")["values"]
    matched = round(drawn["share"] * 20)
    assert drawn["share"] == pytest.approx(matched / 20, abs=1e-3)
    assert drawn["high"] == pytest.approx(clopper_pearson_upper(matched, 20, 0.025), abs=1e-3)
    assert drawn["low"] == pytest.approx(1 - clopper_pearson_upper(20 - matched, 20, 0.025), abs=1e-3)
    assert drawn["low"] <= truth <= drawn["high"] or matched in (0, 20)


def test_records_are_found_by_their_salted_digests(office: Office) -> None:
    assert office.ask("presence")["levels"] == [3]


def test_a_run_without_rollouts_has_no_share_of_reinforcement(office: Office) -> None:
    assert office.ask("reinforcement")["levels"] == [0]


def test_a_drawn_checkpoint_is_scored_by_the_partys_own_program(office: Office) -> None:
    transcript = office.ended.open()
    found = office.ask("benchmark")["values"]["score"]
    scores = []
    for event in transcript.events:
        if "anchor" in event.data and event.data["step"] > 0:
            state = transcript.state(event.data["anchor"])
            scores.append(float(state.tensors["model/parameter/head.weight"].double().square().sum()))
    assert min(abs(found - score) for score in scores) < 0.02


def test_training_is_counted_under_every_policy(office: Office) -> None:
    transcript = office.ended.open()
    told = office.ask("flop")["values"]
    taken = transcript.steps_taken
    assert taken > 12  # what the kill took back was trained again, and counts again
    # two products of 4 rows, 16 wide: 16 x 16 and 16 x 64; forward, and two backward; embedding has no product
    expected = taken * (2 * 4 * 16 * (16 + 64)) * 3
    assert told["us_ops_dense"] == pytest.approx(expected, rel=0.01)
    assert told["miri_2025"] == pytest.approx(2 * expected, rel=0.01)  # 32 bits count twice
    assert told["lineage_known"] == 1


def test_a_hostile_program_reaches_nothing(office: Office) -> None:
    assert office.ask("hostile")["levels"] == [6]


def test_an_endless_program_is_no_answer_and_was_paid(office: Office) -> None:
    told = office.ask("endless")
    assert told["answered"] is False and told["values"] is None
    assert office.ask("endless")["stored"] is True


def test_the_budget_ends_what_can_be_asked(office: Office) -> None:
    spent = [office.ask(name)["spent_bits"] for name in queries(np.zeros((3, 9), np.uint8))]
    assert spent[-1] == 31 + 31 + 4 + 5 + 17 + (16 * 4 + 1 + 1) + 5 + 2
