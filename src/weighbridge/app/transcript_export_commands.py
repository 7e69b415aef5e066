"""``weighbridge transcript export``: one anchor's tensors, signed as a model."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from weighbridge.app.console import print_json, print_pairs
from weighbridge.evidence.trust import TrustRoots

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(export)


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    anchor: Annotated[str, typer.Option(help="File name of the anchor, below anchors/.")],
    out: Annotated[Path, typer.Option(help="A new folder; one that exists is refused.")],
    key: Annotated[
        Path | None, typer.Option(help="Private key on P-256, P-384 or P-521, PEM; without it nothing is signed.")
    ] = None,
    roots: Annotated[
        Path | None, typer.Option(help="Trust roots; without them no signature of the transcript is checked.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Writes an anchor's tensors, weights included, in the clear, with an OpenSSF Model Signing signature.

    The anchor must be the state that the journal claims. The stock program model_signing verifies what is written; it
    knows no Ed25519, so the signature needs a key of its own. Without one, sign the folder with model_signing sign.

    Example: weighbridge transcript export runs/3f2a90b1c4d5e6f7 --anchor state-0000-0000100-end.safetensors
    --out weights --key model-key.pem
    """
    from weighbridge.mechanisms.transcript.released import release_anchor
    from weighbridge.mechanisms.transcript.signed_model import SIGNATURE, load_model_key, public_pem
    from weighbridge.mechanisms.transcript.transcript import Transcript

    signer = load_model_key(key) if key is not None else None
    transcript = Transcript.open(run, TrustRoots.load(roots) if roots is not None else None)
    released = release_anchor(transcript, anchor, out, key=signer)
    print(f"weighbridge: weights in the clear are now in {out}: whoever reads it has them", file=sys.stderr)
    folder = shlex.quote(str(out))
    check = f"model_signing verify key {folder} --signature {folder}/{SIGNATURE} --public_key PUBLIC.pem"
    summary = {
        "folder": str(out),
        "run": transcript.run,
        "anchor": anchor,
        "step": released.step,
        "state": released.state,
        "tensors": released.tensors,
        "files": released.files,
        "signed": released.signed,
        "public_key": public_pem(signer).decode() if signer is not None else None,
        "verify": check if released.signed else None,
    }
    if as_json:
        print_json(summary)
        return
    rows = [("run", transcript.run), ("step", str(released.step)), ("tensors", str(released.tensors))]
    rows += [(name, f"SHA-256 {digest}") for name, digest in released.files.items()]
    print_pairs(f"{anchor} in {out}", pairs=rows)
    if signer is not None:
        typer.echo(f"verify: {check}\nPUBLIC.pem:\n{public_pem(signer).decode()}", nl=False)
    else:
        typer.echo("unsigned: no key was named")
