"""Forging a transcript on disk: an operator with its keys rewrites what it recorded, logged before or not."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from weighbridge.evidence.keys import Signer
from weighbridge.evidence.spool import SpoolClient
from weighbridge.evidence.statement import sign_statement
from weighbridge.mechanisms.transcript.anchors import read_anchor, write_anchor
from weighbridge.mechanisms.transcript.commitment import PROGRESS, salt_for
from weighbridge.mechanisms.transcript.encoding import canonical
from weighbridge.mechanisms.transcript.state import TrainingState

__all__ = ["anchor_replaced", "events_of", "log_statements", "rewrite", "sign_again"]

Events = list[dict[str, Any]]


def events_of(run: Path, *, segment: int = 0) -> Events:
    """Returns a segment's events."""
    lines = (run / f"journal-{segment:04d}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def rewrite(run: Path, edit: Callable[[Events], None], *, segment: int = 0) -> None:
    """Edits a segment's events in place; its chain of heads holds again, by construction."""
    events = events_of(run, segment=segment)
    edit(events)
    (run / f"journal-{segment:04d}.jsonl").write_bytes(b"".join(canonical(event) + b"\n" for event in events))


def _heads(events: Sequence[Mapping[str, Any]]) -> list[str]:
    heads, head = [], bytes(32)
    for event in events:
        head = blake3(head + canonical(event) + b"\n").digest()
        heads.append(head.hex())
    return heads


def sign_again(run: Path, signer: Signer) -> None:
    """Replaces every statement about steps by one over the journals as they now are."""
    for old in (run / "progress").iterdir():
        old.unlink()
    number = 0
    for segment in range(len(list(run.glob("journal-*.jsonl")))):
        events = events_of(run, segment=segment)
        name = events[0]["run"]
        for event, head in zip(events, _heads(events), strict=True):
            if "state" not in event and event["type"] != "end":
                continue
            payload = {"step": event["step"] + (event["type"] == "step"), "run": name, "journal": head}
            payload |= {"state": event["state"]} if "state" in event else {}
            raw = sign_statement(signer, kind=PROGRESS, subject=name, payload=payload)
            (run / "progress" / f"{number:06d}.cose").write_bytes(raw)
            number += 1


def log_statements(run: Path, spool: Path) -> None:
    """Hands the statements about steps to the log and keeps their receipts."""
    client = SpoolClient(spool)
    names = {client.submit(path.read_bytes()): path for path in sorted((run / "progress").glob("*.cose"))}
    for identifier, path in names.items():
        path.with_suffix(".receipt").write_bytes(client.wait(identifier, timeout=30.0))


def anchor_replaced(
    run: Path, name: str, edit: Callable[[dict[str, Any], dict[str, Any]], None], *, segment: int = 0
) -> None:
    """Edits the tensors and plain data of an anchor, and every digest of that step in the journal to fit."""
    path = run / "anchors" / name
    state = read_anchor(path)
    tensors, plain = dict(state.tensors), dict(state.plain)
    edit(tensors, plain)
    forged = TrainingState(tensors, plain)
    write_anchor(path, forged)
    key = bytes.fromhex(json.loads((run / "opening.json").read_text())["key"])
    step = int(plain["step"])
    digest = forged.digest(salt_for(key, f"state/{step}")).hex()

    def fit(events: Events) -> None:
        for event in events:
            if "state" in event and event["step"] + (event["type"] == "step") == step:
                event["state"] = digest

    rewrite(run, fit, segment=segment)
