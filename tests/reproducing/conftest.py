"""Weights that published tables ask for, tiny."""

from pathlib import Path

import pytest
from upstream_sets import sam_file


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAM's and MobileSAM's places taken by tiny networks with random weights."""
    root = tmp_path_factory.mktemp("weights")
    sam_file(root / "sam_vit_tiny.safetensors", 2)
    sam_file(root / "mobile_sam.safetensors", 3)
    return root
