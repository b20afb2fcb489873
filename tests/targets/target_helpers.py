"""What the tests of the target store share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from abbe.targets import Provenance, TargetStore, TargetWriter

SHA = "5" * 64


def provenance(**changes: Any) -> Provenance:
    facts: dict[str, Any] = {
        "teacher": "tutor",
        "weights_sha256": "a" * 64,
        "weights_licence": "CC-BY-4.0",
        "training_data_licence": "not stated",
        "channels": ("nucleus", "membrane"),
        "normalisation": "percentiles 1 and 99.8",
    }
    return Provenance(**{**facts, **changes})


def map_of(number: int, shape: tuple[int, ...] = (1, 24, 40)) -> np.ndarray:
    """Probabilities k / 255, different for each number, so that storing them is exact."""
    stored = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    return (stored / np.float32(255)).astype(np.float32)


def write(path: Path, numbers: range, shape: tuple[int, ...] = (1, 24, 40)) -> None:
    """Append images ``0``, ``1``, … that are not there yet."""
    with TargetWriter.open(path, provenance()) as writer:
        for number in numbers:
            if not writer.has(str(number), SHA):
                writer.append(str(number), {"probability": map_of(number, shape)}, image_sha256=SHA)


def check_store(path: Path, count: int, shape: tuple[int, ...] = (1, 24, 40)) -> None:
    """The store holds images ``0`` to ``count - 1``, as ``write`` has written them."""
    reader = TargetStore(path)
    assert reader.ids == tuple(map(str, range(count)))
    for id in reader.ids:
        np.testing.assert_array_equal(reader.read(id, "probability"), map_of(int(id), shape))


def edit_json(file: Path, change: Callable[[Any], object]) -> None:
    node = json.loads(file.read_text())
    change(node)
    file.write_text(json.dumps(node))
