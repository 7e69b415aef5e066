"""Nobody signs for a draw or visit what its readers would refuse: the key is named, and nothing is written."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weighbridge.app.institutions import Institutions
from weighbridge.app.main import build
from weighbridge.errors import InputError
from weighbridge.evidence.keys import FileSigner

AGREED = ("--purpose", "visit", "--period", "2026-11")


def run(*arguments: object) -> object:
    result = CliRunner().invoke(build(), ["inspect", *map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    made = Institutions.make(folder / "keys", origin="weighbridge.example/roles")
    made.operator(folder / "operator.pem", "Alder")
    made.roots.save(folder / "roots")
    Institutions.make(folder / "abroad", origin="weighbridge.example/abroad")
    FileSigner.create(folder / "bare.pem")
    (folder / "chips.csv").write_text("chip,rack\n" + "".join(f"c{n:02},R1\n" for n in range(8)))
    return folder


def frame(base: Path, folder: Path, key: str, *source: object) -> None:
    counts = ("--list", base / "chips.csv", "--count", 2, "--key", base / key, "--roots", base / "roots")
    run("frame", folder, *counts, *AGREED, "--source", *(source or ("drand",)))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("operator.pem", "is an operator's, not an inspector's"),
        ("keys/registrar.pem", "is a registrar's"),
        ("abroad/inspector.pem", "leads to none of the trusted roots"),
        ("bare.pem", "has no certificate"),
    ],
)
def test_only_an_inspector_freezes_draws_and_plans(base: Path, tmp_path: Path, key: str, words: str) -> None:
    who = ("--key", base / key, "--roots", base / "roots")
    with pytest.raises(InputError, match=words) as told:
        frame(base, tmp_path / "draw", key)
    assert str(base / key) in str(told.value) and "--key" in str(told.value) and told.value.mend
    assert not (tmp_path / "draw").exists()
    frame(base, tmp_path / "draw", "keys/inspector.pem")
    before = sorted((tmp_path / "draw").iterdir())
    with pytest.raises(InputError, match=words):
        run("draw", tmp_path / "draw", *who, "--signature", "ab" * 48)
    visit = ("--draw", tmp_path / "draw", "--site", "x", "--notified", "2026-11-20T08:00Z")
    with pytest.raises(InputError, match=words):
        run("plan", tmp_path / "visit", *visit, *who)
    assert not (tmp_path / "visit").exists() and sorted((tmp_path / "draw").iterdir()) == before


@pytest.mark.parametrize("key", ["keys/registrar.pem", "keys/maker.pem", "bare.pem"])
def test_a_commitment_is_an_inspectors_or_operators(base: Path, tmp_path: Path, key: str) -> None:
    secret = tmp_path / "share"
    with pytest.raises(InputError, match=r"--key.*an inspector or an operator"):
        run("commit", tmp_path / "draw", "--key", base / key, *AGREED, "--secret", secret)
    assert not (tmp_path / "draw").exists() and not secret.exists()


def test_a_challenger_or_member_whose_word_does_not_count_is_refused(base: Path, tmp_path: Path) -> None:
    vrf, registrar = tmp_path / "vrf.hex", base / "keys/registrar.pem.chain.pem"
    with pytest.raises(InputError, match=r"registrar.pem.chain.pem: --challenger: is a registrar's"):
        frame(base, tmp_path / "draw", "keys/inspector.pem", "ecvrf", "--vrf-key", vrf, "--challenger", registrar)
    assert not vrf.exists() and not (tmp_path / "draw").exists()
