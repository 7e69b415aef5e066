"""What is found on site: each finding by the command that an inspector types, each lie by whoever tells it."""

import shutil
import time
from pathlib import Path

import pytest

from inspection.world import Site, failing, outcomes, sign
from weighbridge.app.visit_fields import fields_help
from weighbridge.errors import EvidenceError, InputError
from weighbridge.evidence.keys import FileSigner
from weighbridge.mechanisms.chip.challenge import answer_challenge
from weighbridge.mechanisms.inspection.judge_times import WRITE_UP
from weighbridge.mechanisms.inspection.plan import OPENING, PLAN
from weighbridge.mechanisms.inspection.record import FORMS


def item_outcome(printed: object, item: str) -> dict[str, object]:
    (found,) = (row for row in printed["items"] if row["item"] == item)  # type: ignore[index]
    assert isinstance(found, dict)
    return found


def test_what_was_drawn_and_not_verified_stays_so(site: Site) -> None:
    first, second, _ = site.drawn
    site.verify(first)
    site.see(second)
    printed = site.close()
    assert printed["summary"] == {"drawn": 3, "verified": 1, "failed": 0, "not_verified": 2}
    assert item_outcome(printed, second)["reason"] == "not shown: challenge, readout"
    assert ("inconclusive", "not verified: not shown: serial, challenge, readout") in outcomes(printed, "visit.item")


def test_a_replacement_never_removes_the_original(site: Site) -> None:
    away, reserve = site.drawn[0], site.reserves[0]
    site.record("replacement", away, "--set", f"by={reserve}", "--set", "reason=under repair")
    for item in (*site.drawn[1:], reserve):
        site.verify(item)
    printed = site.close()
    assert printed["summary"] == {"drawn": 3, "verified": 2, "failed": 0, "not_verified": 1}
    assert item_outcome(printed, away)["outcome"] == "not verified"
    assert item_outcome(printed, away)["replaced_by"] == reserve
    assert item_outcome(printed, reserve)["outcome"] == "verified"
    assert item_outcome(printed, reserve)["drawn"] is False


def test_replacements_go_in_order_and_for_a_reason(site: Site) -> None:
    away, (next_one, later) = site.drawn[0], site.reserves
    for by, reason, words in (
        (later, "under repair", "was next"),
        (next_one, "it is awkward", "is no reason"),
        (site.drawn[1], "under repair", "was next"),
    ):
        with pytest.raises(InputError, match=words):
            site.record("replacement", away, "--set", f"by={by}", "--set", f"reason={reason}")
    with pytest.raises(InputError, match="neither drawn nor stands in"):
        site.see(next_one)
    site.inject(what="replacement", item=away, details={"by": later, "reason": "under repair"})
    site.inject(what="serial", item=later, details={"physical": "x", "digital": "x", "photo": None})
    site.inject(what="replacement", item=away, details={"by": next_one, "reason": "it is awkward"})
    found = failing(site.check())
    assert "was next" in found["visit.replacement"]
    assert "neither drawn nor a replacement" in found["visit.scope"]
    reasons = [reason for _, reason in outcomes(site.check(), "visit.replacement")]
    assert any("no reason that the plan allows" in reason for reason in reasons)


@pytest.mark.parametrize(("place", "words"), [("physical", "on it is SN77"), ("digital", "told by it is SN77")])
def test_a_serial_mismatch_is_found(site: Site, place: str, words: str) -> None:
    site.see(site.drawn[0], **{place: "SN77"})
    printed = site.close()
    assert words in failing(printed)["visit.serial"]
    assert item_outcome(printed, site.drawn[0])["outcome"] == "failed"


def test_the_first_mismatch_counts_though_a_later_look_agrees(site: Site) -> None:
    item = site.drawn[0]
    site.see(item, physical="SN77")
    site.verify(item)
    assert item_outcome(site.close(), item)["outcome"] == "failed"


def test_a_number_that_was_misread_convicts_nobody_and_verifies_nothing(site: Site) -> None:
    item = site.drawn[0]
    site.see(item, physical="SN77")
    assert failing(site.check())["visit.serial"]
    site.record("correction", None, "--set", "about=0", "--set", "text=a slip of the pen")
    site.verify(item)
    printed = site.close()
    assert "visit.serial" not in failing(printed) and "visit.item" not in failing(printed)
    told = "taken back by record 1 (a slip of the pen); it told: the serial number on it is SN77"
    assert [told in reason for _, reason in outcomes(printed, "visit.serial")] == [True, False]
    assert item_outcome(printed, item)["outcome"] == "not verified"


def test_nobody_takes_back_anothers_word_or_a_refusal(site: Site) -> None:
    sign(site, "plan.cose", PLAN, lambda plan: plan["team"].update({FileSigner.load(site.key("ivan")).key_id: "ivan"}))
    visit = site.bundle.visit(site.roots)
    sign(site, "opening.cose", OPENING, lambda opening: opening.update(visit=visit.id))
    site.see(site.drawn[0], physical="SN77")
    site.record("refusal", None, "--set", "of=entry", "--set", "by=host")
    for about, who, words in ((0, "ivan", "ines's to take back"), (1, "ines", "nothing else"), (9, "ines", "nothing")):
        with pytest.raises(InputError, match=words):
            site.record("correction", None, "--set", f"about={about}", "--set", "text=x", who=who)
    site.inject("ivan", what="correction", details={"about": 0, "text": "x"})
    site.inject(what="correction", details={"about": 1, "text": "x"})
    site.inject(what="correction", details={"about": 4, "text": "itself"})
    assert {"visit.serial", "visit.refusal"} <= set(failing(site.check()))


def test_a_serial_number_read_in_part_is_not_shown(site: Site) -> None:
    item = site.drawn[0]
    site.record("serial", item, "--set", f"physical={site.serial(item)}")
    site.challenge(item)
    site.read_out(item)
    assert item_outcome(site.close(), item)["reason"] == "not shown: serial"


def test_an_answer_of_another_visit_does_not_serve(site: Site) -> None:
    item = site.drawn[0]
    answer = answer_challenge(site.path(f"chips/{item}"), site.nonces[site.drawn[1]])
    site.record("challenge", item, "--file", f"answer={answer}")
    assert "another nonce" in failing(site.check())["inspection.challenge"]


def test_a_log_that_lacks_a_record_is_found(site: Site) -> None:
    item = site.drawn[0]
    for number in range(3):
        answer_challenge(site.path(f"chips/{item}"), f"{number:064x}")
    site.challenge(item)
    site.path(f"chips/{item}/records/1.cose").unlink()
    site.read_out(item)
    assert "record is missing" in failing(site.check())["inspection.readout"]


def test_a_log_that_ends_before_the_answer_is_found(site: Site) -> None:
    item = site.drawn[0]
    answer_challenge(site.path(f"chips/{item}"), "00" * 32)
    site.challenge(item)
    shutil.copytree(site.path(f"chips/{item}"), site.path("chips/kept"))
    site.path("chips/kept/records/1.cose").unlink()
    site.record("readout", item, "--file", f"chip={site.path('chips/kept')}")
    assert "known from elsewhere and missing" in failing(site.check())["inspection.readout"]


def test_a_log_that_was_read_before_the_challenge_has_to_reach_it(site: Site) -> None:
    """The operator hands over a log without its newest records, then lets the chip answer: the counter shows them."""
    item = site.drawn[0]
    for number in range(3):
        answer_challenge(site.path(f"chips/{item}"), f"{number:064x}")
    shutil.copytree(site.path(f"chips/{item}"), site.path("chips/kept"))
    site.path("chips/kept/records/2.cose").unlink()
    site.record("readout", item, "--file", f"chip={site.path('chips/kept')}")
    assert outcomes(site.check(), "inspection.readout")[0][0] == "pass"
    site.challenge(item)
    outcome, reason = outcomes(site.check(), "inspection.readout")[0]
    assert outcome == "inconclusive" and "its record 3, the log was read up to 1: 1 between were not seen" in reason
    site.read_out(item)
    assert [found for found, _ in outcomes(site.check(), "inspection.readout")] == ["inconclusive", "pass"]
    site.see(item)
    assert item_outcome(site.close(), item)["outcome"] == "not verified"


def test_a_whole_log_may_be_read_before_the_challenge(site: Site) -> None:
    item = site.drawn[0]
    answer_challenge(site.path(f"chips/{item}"), "00" * 32)
    site.read_out(item)
    site.challenge(item)
    assert [found for found, _ in outcomes(site.check(), "inspection.readout")] == ["pass"]


def test_a_log_of_which_only_the_digest_is_noted_is_not_shown(site: Site) -> None:
    site.record("readout", site.drawn[0], "--set", f"digest={'ab' * 32}", "--set", "records=12")
    assert outcomes(site.close(), "inspection.readout")[0][0] == "inconclusive"


def test_what_a_record_shows_is_told_at_once(site: Site) -> None:
    item = site.drawn[0]
    told = site.record("serial", item, "--set", "physical=SN77", "--set", f"digital={site.serial(item)}")
    assert [finding["outcome"] for finding in told["findings"]] == ["fail"]
    assert told["alarms"] == []


def test_records_by_another_key_are_refused_or_found(site: Site) -> None:
    with pytest.raises(InputError, match="not the key of anybody of the team; the plan names ines"):
        site.record("note", None, "--set", "text=hello", who="ivan")
    with pytest.raises(InputError, match="of the team"):
        site.close(who="ivan")
    site.inject("ivan")
    assert "ivan, who is not of the team" in failing(site.check())["visit.team"]


def test_a_record_by_an_operator_is_refused(site: Site) -> None:
    """It is a failure of the visit, which is judged all the same; nobody signs what comes after it."""
    site.record("refusal", None, "--set", "of=entry", "--set", "by=host")
    site.inject("alder")
    found = failing(site.check())
    assert "records/0001.cose does not verify" in found["visit.chain"]
    assert "alder is operator, not inspector" in found["visit.chain"]
    assert found["visit.refusal"] == "host refused entry"
    with pytest.raises(EvidenceError, match=r"records/0001.cose: .*alder is operator, not inspector"):
        site.close()
    with pytest.raises(EvidenceError, match=r"records/0001.cose: .*alder is operator, not inspector"):
        site.record("access")


@pytest.mark.parametrize(
    ("at", "signed", "words"),
    [
        (-7200, -7200, "before the visit was opened"),
        (0, WRITE_UP + 60, "was signed"),
        (0, -3600, "was signed"),
        (86_400, 86_400, "after the present"),
    ],
)
def test_a_record_dated_outside_the_visit_is_found(site: Site, at: int, signed: int, words: str) -> None:
    opening = site.bundle.visit(site.roots).opening
    assert opening is not None
    site.inject(at=opening.at + at, signed=opening.at + signed)
    assert words in failing(site.check())["visit.time"]


def test_the_command_takes_no_such_date(site: Site) -> None:
    for at, words in (
        (str(int(time.time()) - 7200), "before the visit"),
        (str(int(time.time()) + 7200), "future"),
        ("2026-11-22 10:00", "no time zone"),
        ("yesterday", "is no time"),
    ):
        with pytest.raises(InputError, match=words):
            site.record("note", None, "--set", "text=x", "--at", at)
    assert not list(site.path("visit/records").iterdir())


def test_a_record_of_another_visit_or_place_in_the_chain_is_found(site: Site) -> None:
    site.inject()
    site.inject(previous="ab" * 32)
    assert "record 1 does not follow" in failing(site.check())["visit.chain"]


def test_refusals_and_silences_are_on_record(site: Site) -> None:
    item = site.drawn[0]
    site.record("refusal", item, "--set", "of=the serial number", "--set", "by=A. Host", "--set", "reason=secret")
    asked = int(time.time()) - 600
    site.record("silence", None, "--set", "asked=who has the key", "--set", f"asked_at={asked}")
    printed = site.close()
    assert failing(printed)["visit.refusal"] == "A. Host refused the serial number: secret"
    assert outcomes(printed, "visit.silence") == [("inconclusive", "no answer to 'who has the key' within 10 minutes")]
    assert item_outcome(printed, item)["outcome"] == "not verified"
    assert "A. Host refused" in str(item_outcome(printed, item)["reason"])
    clocks = {clock["name"]: clock["state"] for clock in printed["clocks"]}
    assert clocks["acknowledgement of record 0 (refusal)"] == "running"
    assert clocks["access to the site"] == "kept"


def test_seals_and_signs_of_tampering(site: Site) -> None:
    one, two, three = site.drawn
    site.record("seal", one, "--set", "seal=A7", "--set", "found=A7", "--set", "intact=yes")
    site.record("seal", two, "--set", "seal=A8", "--set", "found=A9", "--set", "intact=yes")
    site.record("seal", three, "--set", "seal=B1", "--set", "intact=no")
    site.record("seal", one, "--set", "seal=A7", "--set", "found=A7", "--set", "intact=no")
    site.record("tamper", one, "--set", "sign=scratches at the lid")
    printed = site.close()
    assert [reason for _, reason in outcomes(printed, "visit.seal")] == [
        "seal A7 is there and whole; the frozen list has no seal number for it",
        "bears seal A9, expected A8", "seal B1 is not there", "seal A7 is not whole",
    ]  # fmt: skip
    assert failing(printed)["visit.tamper"] == "sign of tampering: scratches at the lid"
    assert item_outcome(printed, one)["outcome"] == "failed"


def test_a_table_is_on_record_whole_or_not_at_all(site: Site, tmp_path: Path) -> None:
    """An inspector with hundreds of chips types a table, not hundreds of commands."""
    table = tmp_path / "serials.csv"
    rows = [f"{item},{site.serial(item)},{site.serial(item)}" for item in site.drawn]
    table.write_text("\n".join(["item,physical,digital", *rows, "nobody's,SN1,SN1"]) + "\n")
    with pytest.raises(InputError, match=r"serials.csv: line 5: nobody's.*neither drawn"):
        site.record("serial", None, "--table", table)
    assert not list(site.path("visit/records").iterdir())
    table.write_text("\n".join(["item,physical,digital", *rows]) + "\n")
    told = site.record("serial", None, "--table", table)
    assert [r["sequence"] for r in told["records"]] == [0, 1, 2]
    assert {f["outcome"] for f in told["findings"]} == {"pass"}
    with pytest.raises(InputError, match="stands alone"):
        site.record("serial", site.drawn[0], "--table", table)
    table.write_text(f"item,physical,digital,photo\n{site.drawn[0]},SN1,SN1,../secret.jpg\n")
    with pytest.raises(InputError, match="outside the table's folder"):
        site.record("serial", None, "--table", table)


def test_the_help_names_every_field() -> None:
    told = f"{fields_help(files=False)} {fields_help(files=True)}"
    for what, form in FORMS.items():
        for name in form:
            assert not form or what in told
            assert name in told or (what, name) in {("readout", "digest"), ("readout", "records")}


@pytest.mark.parametrize(
    ("what", "options", "words"),
    [
        ("gossip", (), "is none of"),
        ("serial", (), "about an item"),
        ("note", ("--set", "text"), "NAME=VALUE"),
        ("note", ("--set", "words=x"), r"words: --set: is no --set of note; it takes --set text="),
        ("seal", ("--set", "intact=maybe"), "yes or no"),
        ("acknowledgement", ("--set", "about=4"), "no dispute"),
        ("camera", ("--set", "camera=x", "--set", "from=5", "--set", "to=3"), "footage"),
    ],
)
def test_meaningless_records_are_refused_in_words(site: Site, what: str, options: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        site.record(what, None, *options)
    assert not list(site.path("visit/records").iterdir())
