"""An anchor taken out of its transcript: its tensors in a folder of their own, in the clear, to be handed on."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from weighbridge.errors import EvidenceError, InputError
from weighbridge.mechanisms.transcript.anchors import write_anchor
from weighbridge.mechanisms.transcript.signed_model import SIGNATURE, digests_of, sign_model
from weighbridge.mechanisms.transcript.transcript import Transcript, state_step

__all__ = ["Released", "release_anchor"]

_STATE = "state.safetensors"
_ORIGIN = "origin.json"


@dataclass(frozen=True, kw_only=True)
class Released:
    """What was written.

    Attributes:
        folder: where.
        step: the state's step.
        state: its salted digest, as the journal has it.
        tensors: how many tensors it holds.
        files: SHA-256 of each file that the manifest names.
        signed: whether there is a signature.
    """

    folder: Path
    step: int
    state: str
    tensors: int
    files: dict[str, str]
    signed: bool


def release_anchor(
    transcript: Transcript, anchor: str, folder: Path, *, key: ec.EllipticCurvePrivateKey | None
) -> Released:
    """Writes an anchor's tensors, where they come from, and a model signature over both.

    Args:
        transcript: the run.
        anchor: the anchor's file name.
        folder: a folder that does not exist yet; nothing is ever put into one that does.
        key: whose signature; None leaves the folder unsigned, for a signer of another kind.

    Raises:
        EvidenceError: the journal claims no such anchor, or its bytes are not the state that it claims.
        InputError: the folder exists, lies in the transcript, or cannot be written.
    """
    claims = [event for event in transcript.events if event.data.get("anchor") == anchor]
    if not claims:
        names = [str(event.data["anchor"]) for event in transcript.events if "anchor" in event.data]
        raise EvidenceError(
            f"names no anchor {anchor[:120]!r}",
            where=transcript.folder,
            field="journal",
            mend=f"choose from {', '.join(names[:20])}{' …' if len(names) > 20 else ''}",
        )
    claim = claims[-1]
    step, digest = state_step(claim), str(claim.data["state"])
    state = transcript.state(anchor)
    if state.plain["step"] != step or state.digest(transcript.salt(step)).hex() != digest:
        raise EvidenceError(
            "is not the state that the journal claims, and is not passed on",
            where=transcript.folder / "anchors" / anchor,
        )
    if folder.resolve().is_relative_to(transcript.folder.resolve()):
        raise InputError("lies in the transcript itself", where=folder, mend="name a folder outside of it")
    origin = {"anchor": anchor, "run": transcript.run, "state": digest, "step": step}
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError as error:
        raise InputError("exists already", where=folder, mend="name a new folder") from error
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", where=folder) from error
    try:
        write_anchor(folder / _STATE, state)
        (folder / _ORIGIN).write_text(json.dumps(origin, indent=1, sort_keys=True) + "\n")
        files = digests_of(folder)
        if key is not None:
            (folder / SIGNATURE).write_bytes(sign_model(files, key, name=folder.resolve().name))
    except BaseException as error:
        shutil.rmtree(folder)
        if isinstance(error, OSError):
            raise InputError(f"cannot be written to ({error.strerror}); nothing is left", where=folder) from error
        raise
    return Released(
        folder=folder, step=step, state=digest, tensors=len(state.tensors), files=files, signed=key is not None
    )
