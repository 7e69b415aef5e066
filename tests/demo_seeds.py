"""Runs the demo on fresh seeds in a row, without retries, and says whether each cheat was found by its evidence.

Not collected by pytest, because each seed takes minutes: ``make seeds N=10`` runs it.
"""

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXPECTED = {
    "undeclared run on another chip": {"match.record"},
    "second model inside the declared process": {"account.time-per-step", "match.unexplained-bytes"},
    "stolen weights by the optimizer-state splice": {"transcript.initial-state"},
    "one long run declared as two": {"transcript.initial-state", "ledger.lineage"},
    "chips that the directory does not give them": {"ledger.unlisted-chip", "registry.origin"},
}
"""Findings that must fail for each cheat: the evidence that the design says finds it."""


def faults_of(result: dict[str, Any]) -> list[str]:
    """Returns one sentence for each operator whose verdict or evidence is not the expected one."""
    faults = []
    for operator in result["operators"]:
        failing = {f["check"] for f in operator["findings"] if f["outcome"] == "fail"}
        where = f"{operator['name']} ({operator['truth']})"
        if operator["truth"] == "honest":
            if operator["verdict"] != "compliant":
                faults.append(f"{where}: {operator['verdict']}, {sorted(failing)}, X {operator['hidden_flop']:.3g}")
            if any(operator["verdict_by_level"][level] != "inconclusive" for level in "BC"):
                faults.append(f"{where}: cleared or accused without attested chips")
        else:
            if operator["verdict"] != "violation":
                faults.append(f"{where}: {operator['verdict']}")
            missing = EXPECTED[operator["truth"]] - failing
            if missing:
                faults.append(f"{where}: not found by {sorted(missing)}, but by {sorted(failing)}")
    return faults


def main() -> None:
    """Runs the seeds; exits with 1 at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    for number in range(1, arguments.count + 1):
        seed = secrets.randbelow(1 << 32)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="weighbridge-seeds-") as folder:
            command = [sys.executable, "-m", "weighbridge", "demo", "--seed", str(seed), "--json"]
            ended = subprocess.run(
                [*command, "--out", str(Path(folder) / "out")], capture_output=True, text=True, check=False
            )
        if ended.returncode != 0:
            sys.exit(f"seed {seed}: the demo did not run: {ended.stderr[-3000:]}")
        result = json.loads(ended.stdout)
        faults = faults_of(result)
        honest = next(o for o in result["operators"] if o["truth"] == "honest")
        used = (honest["declared_flop"] + honest["hidden_flop"]) / result["threshold_flop"]
        print(
            f"{number} of {arguments.count}: seed {seed}, {time.monotonic() - began:.0f} s, honest at {used:.0%} of the"
            f" rule with n = {honest['audited']}: {'as expected' if not faults else '; '.join(faults)}",
            flush=True,
        )
        if faults:
            sys.exit(1)


if __name__ == "__main__":
    main()
