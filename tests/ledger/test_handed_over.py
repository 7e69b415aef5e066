"""What operators hand over, replayed again: whatever a folder holds, it costs its own run and stops nobody."""

import json
import os
import shutil

import pytest

from ledger.paper import NONCE_KEY
from ledger.real import Bundle, command
from ledger.relogged import at, operator_of, payload_of
from weighbridge.errors import EvidenceError
from weighbridge.evidence.findings import Outcome
from weighbridge.evidence.statement import statement_id, verify_statement
from weighbridge.ledger.assess import assess
from weighbridge.ledger.inspect import audit_all
from weighbridge.mechanisms.transcript.commitment import inspector_nonce
from weighbridge.mechanisms.transcript.transcript import Transcript

pytestmark = pytest.mark.real


def test_assess_replays_to_the_same_verdict(honest: Bundle) -> None:
    logged = operator_of(honest.body())
    ended = command("assess", honest.folder, "--roots", honest.roots, "--json")
    assert ended.status == 0, ended.err
    again = operator_of(json.loads(ended.out))
    assert again["verdict"] == logged["verdict"] == "compliant"
    for name in ("audited", "due", "unexplained", "declared_flop"):
        assert again[name] == logged[name]
    # CPU time of replay is measured anew, and nothing else is.
    assert again["hidden_flop"] == pytest.approx(logged["hidden_flop"], rel=0.5)
    assert "replaying" in ended.err


def test_a_run_that_begins_where_another_ended_is_found_whatever_it_says_of_itself(bundle: Bundle) -> None:
    """Chaining: one long run declared as two, the second with the first one's weights before its first step."""
    raws = bundle.statements()
    first = next((bundle.folder / "runs").iterdir())
    run = statement_id((first / "commitment.cose").read_bytes())
    commitment = bundle.sign(
        "run-commitment", payload_of(bundle, (first / "commitment.cose").read_bytes()), by=bundle.operator
    )
    name = statement_id(commitment)
    nonce = bundle.sign("run-nonce", {"run": name, "nonce": inspector_nonce(NONCE_KEY, name).hex()})
    close = at(bundle, raws, "inspection-close")[0]
    bundle.relog([*raws[:close], commitment, nonce, *raws[close:]])
    bundle.forget_checkpoint()
    second = first.with_name(name[:16])
    shutil.copytree(first, second)
    shutil.rmtree(second / "progress")
    (second / "commitment.cose").write_bytes(commitment)
    (second / "nonce.cose").write_bytes(nonce)
    anchors = {
        int(e.data["step"]): str(e.data["anchor"])
        for e in Transcript.open(first, bundle.people.roots).events
        if "anchor" in e.data
    }
    shutil.copyfile(first / "anchors" / anchors[max(anchors)], second / "anchors" / anchors[0])
    honest, chained = audit_all(bundle.open())
    assert honest.accepted and honest.begins_as == ()
    assert not chained.accepted and chained.begins_as == (run,)
    lineage = next(finding for finding in chained.findings if finding.check == "ledger.lineage")
    assert lineage.outcome is Outcome.FAIL and lineage.evidence == (name, run)


def test_a_swapped_transcript_explains_nothing(bundle: Bundle) -> None:
    """Each operator's folder is his own affair; what it holds is compared with the log."""
    folder = next((bundle.folder / "runs").iterdir())
    statement = next((folder / "progress").glob("*.cose"))
    statement.unlink()
    first = sorted((folder / "progress").glob("*.cose"))[0]
    payload = payload_of(bundle, first.read_bytes())
    first.write_bytes(bundle.sign("run-progress", {**payload, "step": 1}, by=bundle.operator))
    audit = audit_all(bundle.open())[0]
    assert not audit.accepted
    assert [f.check for f in audit.findings] == ["transcript.log"]
    assert "not in the log" in audit.findings[0].reason
    body = assess(bundle.open(), [audit.as_dict()])
    assert operator_of(body)["verdict"] != "compliant"


def test_a_transcript_withheld_is_a_failure_to_open_and_covers_nothing(bundle: Bundle) -> None:
    shutil.rmtree(next((bundle.folder / "runs").iterdir()))
    audit = audit_all(bundle.open())[0]
    assert not audit.accepted
    assert [(f.check, f.outcome) for f in audit.findings] == [("transcript.open", Outcome.FAIL)]
    operator = operator_of(assess(bundle.open(), [audit.as_dict()]))
    assert (operator["audited"], operator["declared_flop"], operator["attempts"]) == (0, 0.0, 1)
    assert operator["hidden_flop"] > operator_of(bundle.body())["hidden_flop"]
    assert operator["verdict"] != "compliant"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"key": 1}', b"{" * 10_000, b'{"key":"","nonce":"","contents":{}}'])
def test_an_opening_of_any_form_costs_only_its_own_run(bundle: Bundle, content: bytes) -> None:
    opening = next((bundle.folder / "runs").iterdir()) / "opening.json"
    opening.write_bytes(content)
    audit = audit_all(bundle.open())[0]
    assert not audit.accepted
    assert [f.check for f in audit.findings] == ["transcript.open"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"step","step":"x"}\n',
        b'{"type":"freeze"}\n',
        b'{"type":"freeze","sequences":[0,1e30],"chip":{},"boot":0,"step":0,"phase":"","anchor":"","state":"","layout":[],"data":[]}\n',
        b'{"type":"step","step":99999999999999999999999}\n',
        b'{"type":["step"]}\n',
        b'{"state":[],"step":3}\n',
    ],
)
def test_a_journal_of_any_form_costs_only_its_own_run(bundle: Bundle, line: bytes) -> None:
    journal = next((bundle.folder / "runs").iterdir()) / "journal-0000.jsonl"
    journal.write_bytes(journal.read_bytes() + line)
    audit = audit_all(bundle.open())[0]
    assert not audit.accepted
    payload = bundle.sign("run-audit", audit.as_dict())
    assert verify_statement(payload, bundle.people.roots).payload["accepted"] is False


def test_a_folder_with_a_pipe_is_refused_at_once(bundle: Bundle) -> None:
    os.mkfifo(bundle.folder / "chips" / bundle.chip / "salts" / "999999.salt")
    with pytest.raises(EvidenceError, match="neither a plain file nor a folder"):
        bundle.open()
