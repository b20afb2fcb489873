"""Values that make an experiment, and what is said of those that do not."""

from typing import Any

import pytest

from abbe import config
from abbe.errors import ConfigError


def good(**sections: Any) -> dict[str, Any]:
    """Values that make an experiment, with whole sections replaced."""
    return {
        "recipe": "cmkd",
        "out": "runs/a",
        "data": {"path": "tissue"},
        "teacher": {"kind": "masks", "path": "masks"},
        "student": {"encoder_weights": "random"},
        **sections,
    }


KDSAM: dict[str, Any] = {
    "recipe": "kdsam",
    "teacher": {"kind": "sam", "path": "sam.pth"},
    "student": {"architecture": "promptable-resnet18", "encoder_weights": "random"},
}


def refusal(**sections: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config.parse(good(**sections), "mine.yaml")
    return str(caught.value)
