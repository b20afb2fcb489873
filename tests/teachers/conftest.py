"""A bioimage.io package, whole until a test damages it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers_of_teachers import make_onnx
from packages_of_bioimageio import FORMATS, KERNEL, Package, expected

from abbe.files import sha256_of_file


@pytest.fixture
def package(tmp_path: Path, rng: np.random.Generator) -> Package:
    """A whole package of either format; ``change`` edits its description."""

    def make(
        version: str = "0.5.4", change: Callable[[dict], None] = lambda values: None, **model: Any
    ) -> Path:
        folder = tmp_path / "package"
        folder.mkdir()
        options = {"kernel": KERNEL, "activation": "Identity", **model}
        make_onnx(folder / "weights.onnx", **options)
        image = rng.integers(0, 255, (1, 2, 32, 32)).astype(np.uint8)
        np.save(folder / "in.npy", image)
        np.save(folder / "out.npy", expected(image[0])[None].astype(np.float32))
        values = copy.deepcopy(FORMATS[version[:3]])
        values["format_version"] = version
        values["weights"]["onnx"]["sha256"] = sha256_of_file(folder / "weights.onnx")
        change(values)
        (folder / "rdf.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        return folder

    return make
