"""Settings of a small run, and a table's cells as its files hold them."""

import json
import shlex
from pathlib import Path
from typing import Any

SMALL_SAM = shlex.split(
    "--set promptable.side=64 promptable.perceptual_mode=decoder training.precision=fp32"
)


def cells_of(out: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """The cells of table.json by row and column."""
    values = json.loads((out / "table.json").read_text("utf-8"))
    return {(*cell["row"], cell["column"]): cell for cell in values["cells"]}


def here(out: Path) -> dict[tuple[str, ...], Any]:
    """Our numbers, or None, by row and column."""
    found = cells_of(out)
    return {
        key: None if each["here"] is None else each["here"]["mean"] for key, each in found.items()
    }
