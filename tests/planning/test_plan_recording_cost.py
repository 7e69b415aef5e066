"""What recording costs on paper, against figures computed by hand."""

import json

import pytest
from typer.testing import CliRunner

from weighbridge.app.main import build
from weighbridge.errors import InputError
from weighbridge.planning.recording_cost import bytes_per_parameter, recording_cost


def asked(*words: str) -> dict[str, float]:
    ended = CliRunner().invoke(build(), ["transcript", "cost", *words, "--json"])
    assert ended.exit_code == 0, ended.output
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def test_the_state_of_a_large_model() -> None:
    assert bytes_per_parameter("adamw", "bf16") == 2 + 2 + 4 + 4 + 4  # ZeRO, section 3.1
    assert bytes_per_parameter("adamw", "fp32") == 4 + 4 + 8
    assert bytes_per_parameter("sgd", "fp32") == 8
    words = "--parameters 405e9 --optimizer adamw --dtype bf16 --stride 10 --step-seconds 10 --anchors-per-day 4"
    found = asked(*words.split(), "--chips", "16384", "--hash-rate", "5GB", "--tensors", "5000")
    assert found["state_bytes"] == 6.48e12
    assert found["digests_a_day"] == 864.0 and found["digest_rate"] == pytest.approx(64.8e9)
    assert found["digest_seconds"] == pytest.approx(6.48e12 / 16384 / 5e9)  # 79 ms every 100 s
    assert found["stall_share"] == pytest.approx(0.0791 / 100.0791, rel=1e-3)
    assert found["anchor_bytes_a_day"] == 4 * 6.48e12
    assert found["leaf_bytes_a_day"] == 864 * (16 + 5000 * 32)
    assert found["journal_bytes_a_day"] == 8640 * 400
    assert found["over_checkpoints"] == pytest.approx(4 / 864, rel=1e-4)


def test_the_table_says_the_same() -> None:
    ended = CliRunner().invoke(build(), ["transcript", "cost", "--parameters", "405e9"])
    assert ended.exit_code == 0 and "6.48 TB (16 bytes a parameter)" in ended.stdout and "64.8 GB/s" in ended.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--parameters", "0"], "--parameters"),
        (["--parameters", "1e9", "--optimizer", "adams"], "'adams' is not known; choose from adamw"),
        (["--parameters", "1e9", "--dtype", "int3"], "'int3' is not known"),
        (["--parameters", "1e9", "--stride", "0"], "--stride"),
        (["--parameters", "1e9", "--step-seconds", "-1"], "--step-seconds"),
        (["--parameters", "1e9", "--hash-rate", "0"], "hash-rate"),
        (["--parameters", "nan"], "--parameters"),
    ],
)
def test_what_cannot_be_reckoned_with_is_refused(words: list[str], said: str) -> None:
    ended = CliRunner().invoke(build(), ["transcript", "cost", *words])
    assert ended.exit_code != 0
    assert said in f"{ended.output} {ended.exception}"


def test_no_infinite_model() -> None:
    with pytest.raises(InputError, match="parameters"):
        recording_cost(
            float("inf"),
            state_bytes_each=16,
            stride=10,
            step_seconds=1.0,
            anchors_per_day=1,
            tensors=1,
            chips=1,
            hash_rate=1e9,
        )
