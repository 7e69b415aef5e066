"""A chip is not convicted by a file that it never signed, and a wrong file can be taken back."""

import shutil
import time
from pathlib import Path

import pytest

from inspection.world import Site, failing, outcomes
from weighbridge.errors import InputError
from weighbridge.evidence.jsontext import dump_json
from weighbridge.mechanisms.chip.challenge import answer_challenge


def item_outcome(printed: object, item: str) -> str:
    (found,) = (row for row in printed["items"] if row["item"] == item)  # type: ignore[index]
    return str(found["outcome"])


def smuggle(site: Site, what: str, item: str, *raws: bytes) -> None:
    """Puts a file on record past the command's own checks."""
    digests = [site.bundle.keep(raw) for raw in raws]
    now = int(time.time())  # the visit itself was opened when the tests began
    if what == "challenge":
        site.inject(what=what, item=item, at=now, details={"answer": digests[0]})
    else:
        listing = site.bundle.keep(dump_json({"records": digests}))
        site.inject(what=what, item=item, at=now, details={"digest": listing, "records": len(raws)})


def records(site: Site) -> list[Path]:
    return sorted(site.path("visit/records").iterdir())


def test_a_wrong_file_is_refused_before_it_is_signed_for(site: Site) -> None:
    one, two = site.drawn[:2]
    site.challenge(one)
    before = records(site)
    others = answer_challenge(site.path(f"chips/{two}"), site.nonces[one])
    for path, words in (
        (others, "is by chip"),
        (site.path("chips.csv"), "does not begin with"),
        (site.path("visit/plan.cose"), "is a visit-plan"),
    ):
        with pytest.raises(InputError, match=words) as told:
            site.record("challenge", one, "--file", f"answer={path}")
        assert str(path) in str(told.value) and "--file answer" in str(told.value)
    with pytest.raises(InputError, match="--file answer=RECORD"):
        site.record("challenge", one, "--set", f"answer={'ab' * 32}")
    with pytest.raises(InputError, match="is no log of this chip"):
        site.record("readout", one, "--file", f"chip={site.path(f'chips/{two}')}")
    assert records(site) == before
    site.see(one)
    site.read_out(one)
    assert item_outcome(site.close(), one) == "verified"


def test_a_file_that_the_chip_never_signed_shows_nothing(site: Site) -> None:
    one, two, three = site.drawn
    answer = answer_challenge(site.path(f"chips/{two}"), site.nonces[one])
    smuggle(site, "challenge", one, answer.read_bytes())
    smuggle(site, "challenge", two, site.path("chips.csv").read_bytes())
    smuggle(site, "readout", one, site.path(f"chips/{two}/records/0.cose").read_bytes())
    smuggle(site, "readout", two, b"id,rack")
    site.inject(what="challenge", item=three, at=int(time.time()), details={"answer": "ab" * 32})
    printed = site.close()
    assert [outcome for outcome, _ in outcomes(printed, "inspection.challenge")] == ["inconclusive"] * 3
    assert [outcome for outcome, _ in outcomes(printed, "inspection.readout")] == ["inconclusive"] * 2
    assert not failing(printed)
    assert {item_outcome(printed, item) for item in site.drawn} == {"not verified"}


def test_the_chips_own_answer_to_another_nonce_is_found(site: Site) -> None:
    item = site.drawn[0]
    site.challenge(item, nonce="00" * 32)
    printed = site.check()
    assert "another nonce" in failing(printed)["inspection.challenge"]
    assert item_outcome(printed, item) == "failed"


def test_a_log_with_one_spoilt_record_among_its_own_is_found(site: Site) -> None:
    item = site.drawn[0]
    answer_challenge(site.path(f"chips/{item}"), "00" * 32)
    own = sorted(site.path(f"chips/{item}/records").glob("*.cose"))[0].read_bytes()
    smuggle(site, "readout", item, own, b"spoilt")
    assert "does not begin with" in failing(site.check())["inspection.readout"]


def test_a_wrong_answer_is_taken_back_and_the_right_one_counts(site: Site) -> None:
    item, other = site.drawn[:2]
    others = answer_challenge(site.path(f"chips/{other}"), site.nonces[item]).read_bytes()
    smuggle(site, "challenge", item, others)
    site.challenge(item, nonce="00" * 32)
    smuggle(site, "readout", item, others)
    site.verify(item)
    assert item_outcome(site.check(), item) == "failed"
    for about in range(3):
        told = site.record("correction", None, "--set", f"about={about}", "--set", "text=the wrong file")
        assert "taken back by record" in told["findings"][0]["reason"]
    printed = site.close()
    assert item_outcome(printed, item) == "verified"
    told = [reason for _, reason in outcomes(printed, "visit.correction")]
    assert len(told) == 3 and any("it told: the chip signed an answer to another nonce" in reason for reason in told)
    assert not failing(printed)


def test_a_log_that_fails_by_the_chips_own_records_does_not_become_good(site: Site) -> None:
    """Who may read out until it fits has not read out: nobody is convicted, and the chip is not verified."""
    item = site.drawn[0]
    for number in range(3):
        answer_challenge(site.path(f"chips/{item}"), f"{number:064x}")
    shutil.copytree(site.path(f"chips/{item}"), site.path("chips/kept"))
    site.path("chips/kept/records/1.cose").unlink()
    site.record("readout", item, "--file", f"chip={site.path('chips/kept')}")
    site.record("correction", None, "--set", "about=0", "--set", "text=a bad copy")
    site.verify(item)
    printed = site.close()
    assert "inspection.readout" not in failing(printed)
    assert item_outcome(printed, item) == "not verified"


def test_taking_an_answer_back_does_not_shorten_the_log(site: Site) -> None:
    item = site.drawn[0]
    for number in range(2):
        answer_challenge(site.path(f"chips/{item}"), f"{number:064x}")
    shutil.copytree(site.path(f"chips/{item}"), site.path("chips/kept"))
    site.challenge(item)
    site.record("correction", None, "--set", "about=0", "--set", "text=it never was")
    site.path("chips/kept/records/1.cose").unlink()
    site.record("readout", item, "--file", f"chip={site.path('chips/kept')}")
    assert failing(site.check())["inspection.readout"]


def test_an_answer_that_was_changed_in_the_folder_is_the_visits_fault_not_the_chips(site: Site) -> None:
    item = site.drawn[0]
    site.challenge(item)
    visit = site.bundle.visit(site.roots)
    path = site.path("visit/files") / visit.records[0][0].details["answer"]
    path.write_bytes(path.read_bytes() + b"x")
    for printed in (site.check(), site.close(), site.check()):
        assert "was changed" in failing(printed)["visit.bundle"]
        assert outcomes(printed, "inspection.challenge")[0][0] == "inconclusive"
