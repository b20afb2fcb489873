"""The adapter on the real cellpose, where it is installed, with a small network of random weights.

Only the depth and width of the encoder are reduced, so that cellpose's own loading, normalising,
patching and flow code runs.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from abbe.imaging import Image

models = pytest.importorskip("cellpose.models", reason="cellpose is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cellpose import vit  # pyright: ignore[reportMissingImports]
    from segment_anything.build_sam import _build_sam

    small = partial(
        _build_sam,
        encoder_embed_dim=32,
        encoder_depth=2,
        encoder_num_heads=2,
        encoder_global_attn_indexes=[0, 1],
    )
    vit.sam_model_registry["vit_l"] = lambda checkpoint: small(checkpoint=checkpoint)
    torch.manual_seed(0)
    network = vit.CPSAM()
    torch.nn.init.normal_(network.out.weight, std=0.3)  # flows and logits of both signs
    path = tmp_path_factory.mktemp("cellpose") / "random_cpsam"
    network.save_model(path)
    return path


def blobs() -> np.ndarray:
    from scipy import ndimage

    random = np.random.default_rng(0)
    spots = ndimage.gaussian_filter(random.random((2, 150, 170)), (0, 4, 4))
    return ((spots - spots.min()) / np.ptp(spots) * 4000).astype(np.uint16)


def test_the_answer_is_what_cellpose_itself_gives(weights: Path):
    from abbe.teachers import cellpose

    pixels = blobs()
    image = Image.from_array(pixels, ["nucleus", "membrane"])
    teacher = cellpose(
        weights, ["nucleus", "membrane"], device="cpu", precision="fp32", flow_threshold=0
    )
    found = teacher.predict(image, "a").maps
    own = models.CellposeModel(pretrained_model=str(weights), use_bfloat16=False)
    masks, flows, _ = own.eval(pixels.transpose(1, 2, 0), channel_axis=2, flow_threshold=0)
    np.testing.assert_allclose(found["probability"][0], 1 / (1 + np.exp(-flows[2])), atol=1e-4)
    assert 0.02 < (found["probability"] > 0.5).mean() < 0.98
    assert masks.any()
    assert np.mean((found["instances"] > 0) == (masks > 0)) > 0.999


def test_weights_that_lack_a_part_are_refused_where_cellpose_takes_them(weights: Path):
    from abbe.errors import InputError
    from abbe.teachers import cellpose

    half = {
        key: value
        for key, value in torch.load(weights, weights_only=True).items()
        if not key.startswith("out.")
    }
    path = weights.with_name("half")
    torch.save(half, path)
    models.CellposeModel(pretrained_model=str(path), use_bfloat16=False)  # says nothing
    with pytest.raises(InputError, match=r"half: not the weights.*out\.weight"):
        cellpose(path, ["nucleus"], device="cpu")
