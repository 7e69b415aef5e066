"""What cannot have been when it is said to have been, and seals that nobody had listed."""

import time
from collections.abc import Sequence

import pytest

from inspection.world import Site, failing, outcomes, run, sign
from weighbridge.errors import InputError
from weighbridge.mechanisms.inspection.plan import OPENING, PLAN

SEALED = ("--set", "seal=A7", "--set", "found=A7", "--set", "intact=yes")


def without_access(site: Site) -> None:
    sign(site, "opening.cose", OPENING, lambda opening: opening.update(access_at=None))


def changed_plan(site: Site, checks: Sequence[str], **facts: str) -> None:
    """Signs the plan again and the opening for it."""

    def change(plan: dict[str, object]) -> None:
        plan["checks"] = list(checks)
        for row in plan["items"]:  # type: ignore[attr-defined]
            row.update(facts)

    sign(site, "plan.cose", PLAN, change)
    identifier = site.bundle.visit(site.roots).id
    sign(site, "opening.cose", OPENING, lambda opening: opening.update(visit=identifier))


def test_a_seal_that_the_frozen_list_does_not_name_is_not_shown(site: Site) -> None:
    changed_plan(site, ["seal"])
    item = site.drawn[0]
    site.record("seal", item, *SEALED)
    printed = site.close()
    assert outcomes(printed, "visit.seal")[0][0] == "inconclusive"
    assert printed["summary"]["verified"] == 0 and not any(row["outcome"] == "verified" for row in printed["items"])


def test_a_seal_that_the_list_names_is_verified_or_another(site: Site) -> None:
    changed_plan(site, ["seal"], seal="A7")
    one, two = site.drawn[:2]
    site.record("seal", one, *SEALED)
    site.record("seal", two, "--set", "seal=B2", "--set", "found=B2", "--set", "intact=yes")
    printed = site.check()
    assert [outcome for outcome, _ in outcomes(printed, "visit.seal")] == ["pass", "fail"]
    assert {row["item"]: row["outcome"] for row in printed["items"]}[one] == "verified"


@pytest.mark.parametrize("ahead", [60, 3_951 * 60])
def test_no_answer_is_missed_to_what_will_be_asked(site: Site, ahead: int) -> None:
    asked = int(time.time()) + ahead
    with pytest.raises(InputError, match=r"--set asked_at.*give the time of the question"):
        site.record("silence", site.drawn[0], "--set", "asked=who", "--set", f"asked_at={asked}")
    assert not list(site.path("visit/records").iterdir())
    site.inject(what="silence", details={"asked": "who", "asked_at": asked})
    printed = site.check()
    assert "tells of what was asked" in failing(printed)["visit.time"]
    assert "minutes after this says so" in outcomes(printed, "visit.silence")[0][1]


def test_nothing_is_seen_of_an_item_before_access_is_given(site: Site) -> None:
    without_access(site)
    item = site.drawn[0]
    numbers = ("--set", f"physical={site.serial(item)}", "--set", f"digital={site.serial(item)}")
    for what, options in (("serial", numbers), ("seal", SEALED), ("tamper", ("--set", "sign=scratches"))):
        with pytest.raises(InputError, match=r"no access to the site is on record; put on record first"):
            site.record(what, item, *options)
    assert not list(site.path("visit/records").iterdir())
    site.record("tamper", None, "--set", "sign=a broken fence")
    site.record("access")
    site.record("serial", item, *numbers)
    printed = site.check()
    assert "visit.time" not in failing(printed)


def test_what_was_seen_without_access_is_found(site: Site) -> None:
    without_access(site)
    item = site.drawn[0]
    opening = site.bundle.visit(site.roots).opening
    assert opening is not None
    seen = {"physical": site.serial(item), "digital": site.serial(item), "photo": None}
    site.inject(what="serial", item=item, details=seen)
    assert "no access to the site is on record" in failing(site.check())["visit.time"]
    site.inject(what="access", details={}, at=opening.at + 400, signed=opening.at)
    sign(site, "opening.cose", OPENING, lambda told: None)
    assert "400 s before access to the site was given" in " ".join(r for _, r in outcomes(site.check(), "visit.time"))


def test_access_is_not_given_in_the_future(site: Site) -> None:
    site.path("visit/opening.cose").unlink()
    by_ines = ("--key", site.key("ines"), "--roots", site.path("roots"))
    for option in ("--access", "--arrived"):
        with pytest.raises(InputError, match="lies in the future"):
            run("open", site.path("visit"), "--place", "x", option, int(time.time()) + 60, *by_ines)
    assert not site.path("visit/opening.cose").exists()
