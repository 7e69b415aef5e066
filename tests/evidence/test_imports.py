import json
import subprocess
import sys

SCRIPT = """
import json, sys
import weighbridge.evidence.certificates, weighbridge.evidence.log, weighbridge.evidence.spool
import weighbridge.evidence.statement, weighbridge.evidence.trust
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
HEAVY = {"torch", "numpy", "scipy", "pydantic", "sqlalchemy", "typer", "rich", "scitt_cose", "tlog_scales", "requests"}


def test_evidence_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    loaded = set(json.loads(done.stdout))
    assert {"cryptography", "cbor2", "sqlite3"} <= loaded
    assert loaded & HEAVY == set()
