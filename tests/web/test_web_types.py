"""The page's types hold, by TypeScript's own compiler."""

import shutil
import subprocess

import pytest
from sites import KEPT
from twins import PAGE, node

TYPESCRIPT = "typescript@5.9.3"


def compiler():
    """The compiler, fetched once by npm, which checks what it fetches."""
    node()
    script = KEPT / "tests" / TYPESCRIPT / "node_modules" / "typescript" / "bin" / "tsc"
    npm = shutil.which("npm")
    if not script.exists() and npm is not None:
        command = [npm, "install", "--prefix", str(script.parents[3]), TYPESCRIPT, "--silent",
                   "--no-audit", "--no-fund", "--ignore-scripts"]  # fmt: skip
        subprocess.run(command, check=False, capture_output=True)
    if not script.exists():
        pytest.skip("TypeScript could not be fetched: the page's types were not checked")
    return script


@pytest.mark.slow
def test_types_hold():
    command = [node(), str(compiler()), "-p", str(PAGE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
