"""Packages made by hand are those of the tests of running."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "runtime"))
