"""Damaged headers: refused in words or read, and never anything else. See ``header_fuzz.py``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import header_fuzz

# More for a long run: ABBE_FUZZ_CASES=100000 pytest tests/imaging/test_header_fuzz.py; every
# hundred thousand cases take about seven minutes.
CASES = int(os.environ.get("ABBE_FUZZ_CASES", "1000"))
SEED = os.environ.get("ABBE_FUZZ_SEED", "0")
# What a sound PNG, TIFF or Zarr of some kB may need beyond what is loaded, MiB.
MOST_MEMORY = 256


def test_damaged_headers(tmp_path: Path) -> None:
    command = [sys.executable, header_fuzz.__file__, str(tmp_path / "images")]
    done = subprocess.run(
        [*command, "--cases", str(CASES), "--seed", SEED],
        capture_output=True, text=True, check=False, timeout=120 + CASES / 10,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary.pop("grown_mib") < MOST_MEMORY
    assert sum(summary.values()) == CASES
    refused = sum(count for name, count in summary.items() if name.endswith("refused"))
    assert 0.3 * CASES < refused < 0.95 * CASES  # the cases are neither harmless nor all hopeless
