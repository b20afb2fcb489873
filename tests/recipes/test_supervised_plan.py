"""What recipe supervised learns from where labels leave pixels open."""

from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from array_source import ArraySource

from abbe import config
from abbe.datasets import Dataset, Record
from abbe.recipes.supervised import Supervised
from abbe.runs.lost import Lost
from abbe.runs.session import Session


@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_crop_holds_a_known_pixel(tmp_path: Path, batch_size: int) -> None:
    """Half of each batch was drawn anywhere, by a key that this recipe refuses."""
    random = np.random.default_rng(0)
    in_a_corner = np.full((256, 256), -1, np.int32)
    in_a_corner[:4, :4] = 1
    records = [
        Record(
            str(number),
            ArraySource(random.integers(0, 255, (256, 256)).astype(np.uint8)),
            ArraySource(in_a_corner),
            split="train",
        )
        for number in range(2)
    ]
    experiment = config.parse(
        {
            "recipe": "supervised",
            "out": tmp_path / "run",
            "student": {
                "input_channels": ["nucleus"],
                "architecture": "unet-mobilenetv3",
                "depth": 3,
                "decoder_widths": [8, 8, 8],
                "encoder_weights": "random",
                "normalisation": "percentile",
            },
            "training": {
                "crop": 32,
                "batch_size": batch_size,
                "steps": 3,
                "workers": 0,
                "learning_rate": 1e-3,
            },
        },
        "test",
    )
    dataset, recipe = Dataset("set", tuple(records), ("nucleus",)), Supervised()
    session = Session(
        tmp_path, Accelerator(cpu=True), Lost(), experiment.seed, 0,
        resume=False, trust_code=False, progress=False,
    )  # fmt: skip
    material = recipe.prepare(experiment, dataset, None, session)
    ((_, plan),) = recipe.plans(experiment, dataset, material, session, {})
    for step in range(4):
        label = plan.stages[0].batches[step]["label"]
        assert (label >= 0).flatten(1).any(1).all()
