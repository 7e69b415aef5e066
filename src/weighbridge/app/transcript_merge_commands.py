"""``weighbridge transcript merge``: the transcripts of several ranks joined to one run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.app.output import exit_status, print_findings
from weighbridge.evidence.keys import FileSigner
from weighbridge.evidence.trust import TrustRoots

__all__ = ["mount", "show_merged"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(merge)


def merge(
    folders: Annotated[list[Path], typer.Argument(help="The ranks' folders, or a folder that holds them.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the merged record; default beside the first rank.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="First digits of the group's id, if there are several.")] = None,
    roots: Annotated[Path | None, typer.Option(help="Trust roots; without them no signature is checked.")] = None,
    key: Annotated[Path | None, typer.Option(help="The operator's key, to sign which runs are the ranks.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Joins the ranks of one run, checks them against each other, and writes a record for transcript verify.

    Refused: a rank that is missing, twice, of another run or of another program. Of several attempts by an elastic
    launcher, the last is joined and the earlier ones are named. Exits with 0 if all holds, 1 if a check failed, 3 if
    one could not be made, 2 if the ranks do not belong together; then nothing is written.

    Example: weighbridge transcript merge weighbridge-runs --out merged
    """
    from weighbridge.mechanisms.transcript.merging import folders_of, join

    found = folders_of(folders)
    signer = FileSigner.load(key) if key is not None else None
    place = out
    joined = join(
        found,
        TrustRoots.load(roots) if roots is not None else None,
        beside=place or found[0].parent / "group",
        only=group,
    )
    if place is None:
        attempt = f"-attempt-{joined.record.attempt}" if joined.record.attempt else ""
        place = found[0].parent / f"group-{joined.record.group[:16]}{attempt}"
    joined.record.write(place, signer)
    if as_json:
        findings = [finding.as_dict() for finding in joined.findings]
        print_json({"record": str(place), **joined.record.as_dict(), "findings": findings})
    else:
        print_findings(f"{joined.record.world} ranks merged in {place}", joined.findings)
    raise typer.Exit(exit_status(joined.findings))


def show_merged(folder: Path, roots: Path | None, *, as_json: bool) -> None:
    """Shows what a merged record says."""
    from weighbridge.mechanisms.transcript.group_record import GroupRecord

    record = GroupRecord.read(folder)
    if roots is not None:
        record.statement(folder, TrustRoots.load(roots))
    if as_json:
        print_json(record.as_dict())
        return
    rows: list[tuple[str, str]] = [
        ("group", record.group),
        ("ranks", str(record.world)),
        ("attempt", str(record.attempt)),
        ("kept alike by", record.wrapped),
    ]
    rows += [(f"rank {m.rank}", _told(m)) for m in record.members]
    rows += [("logical digests", f"at {len(record.logical)} steps")]
    rows += [
        ("earlier attempt", f"{attempt}, rank {rank}: {steps} steps") for attempt, rank, _, steps in record.abandoned
    ]
    print_pairs(f"merged run {folder}", pairs=rows)


def _told(member: Any) -> str:
    return f"run {member.run[:16]}, {member.steps} steps, {'finished' if member.finished else 'unfinished'}"
