"""SAM's published weights, where a user has them, against segment-anything's answers.

    python benchmarks/sam_expectations.py WEIGHTS/sam_vit_h_4b8939.pth

writes WEIGHTS/sam_vit_h_4b8939.expected.npz with segment-anything's answers to a few prompts on a
picture made by a formula. `ABBE_WEIGHTS=WEIGHTS pytest tests/sam` then holds ours against them.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from abbe.sam import load_sam
from abbe.sam.predictor import PromptablePredictor

NAMES = ("sam_vit_h_4b8939.pth", "sam_vit_l_0b3195.pth", "sam_vit_b_01ec64.pth", "mobile_sam.pt")


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_answers_of_published_weights_are_as_expected(name):
    folder = os.environ.get("ABBE_WEIGHTS")
    if not folder or not (Path(folder) / name).is_file():
        pytest.skip(f"{name} not found: set ABBE_WEIGHTS to the folder that holds it")
    weights = Path(folder) / name
    expected_file = weights.with_suffix(".expected.npz")
    if not expected_file.is_file():
        pytest.skip(f"no expectations: run python benchmarks/sam_expectations.py {name}")
    network, facts = load_sam(weights)
    assert facts.weights_licence == "Apache-2.0"
    predictor = PromptablePredictor(network)
    with np.load(expected_file) as expected:
        predictor.set_image(expected["picture"])
        for kind in ("box", "point"):
            prompt = (
                {"box": expected["box"]}
                if kind == "box"
                else {"point_coords": expected["point"], "point_labels": np.array([1])}
            )
            with torch.inference_mode():
                masks, scores, _ = predictor.predict(**prompt, multimask_output=True)
            wanted = expected[f"{kind}_masks"]
            overlap = (masks & wanted).sum((1, 2)) / np.maximum((masks | wanted).sum((1, 2)), 1)
            assert (overlap > 0.999).all()
            assert np.allclose(scores, expected[f"{kind}_scores"], atol=1e-3)
