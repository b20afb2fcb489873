"""FAKE cellpose and cellSAM: tiny modules of the same interface, for the adapters' tests.

They find bright connected pixels. Nothing of the real programs is in them; the real cellpose is
tested where it is installed (test_cellpose_real.py).
"""

import logging
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage.exposure import equalize_adapthist
from skimage.measure import label
from torch import nn


class FakeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(2, 2)
        self.diam_mean = nn.Parameter(torch.tensor([30.0]), requires_grad=False)


def labelled(bright: np.ndarray) -> np.ndarray:
    return np.asarray(label(bright, connectivity=1))


def fake_cellpose(cache: Path) -> types.ModuleType:
    """The part of ``cellpose.models`` that the adapter calls; the model's file is in ``cache``."""
    models = types.ModuleType("cellpose.models")
    torch.save(FakeNet().state_dict(), cache / "cpsam_v2")

    class CellposeModel:
        calls: list[dict] = []  # noqa: RUF012

        def __init__(self, gpu=False, pretrained_model="cpsam_v2", device=None, use_bfloat16=True):
            known = pretrained_model if Path(pretrained_model).is_file() else cache / "cpsam_v2"
            self.pretrained_model = str(known)
            self.use_bfloat16 = use_bfloat16
            self.net = FakeNet()
            self.net.load_state_dict(
                torch.load(known, weights_only=True), strict=False
            )  # as cellpose does: what is missing stays random

        def eval(self, x, *, channel_axis, normalize, compute_masks=True, **settings):
            assert channel_axis == 2
            assert normalize is False
            self.calls.append({"shape": x.shape, **settings})
            bright = x.max(2) > 0.5
            masks = labelled(bright) if compute_masks else np.zeros(0)
            logits = np.where(bright, 4.0, -4.0).astype(np.float32)
            return masks, [None, None, logits], np.zeros(256)

    models.CellposeModel = CellposeModel  # pyright: ignore[reportAttributeAccessIssue]
    models.MODEL_NAMES = ["cpsam_v2", "cpsam"]  # pyright: ignore[reportAttributeAccessIssue]
    models.get_user_models = lambda: []  # pyright: ignore[reportAttributeAccessIssue]
    return models


class FakeSam(nn.Module):
    """CellSAM's ``model``: of a SAM, what the adapter listens to."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = nn.Linear(2, 2)

    def postprocess_masks(self, masks, input_size, original_size):
        """Logits (1, 1, h, w) at the image's size."""
        assert masks.shape[-2:] == tuple(original_size)
        return masks


class FakeCellSAM(nn.Module):
    """The class CellSAM: a detector, SAM, and the copy of SAM that was trained further."""

    def __init__(self) -> None:
        super().__init__()
        self.model = FakeSam()
        self.cellfinder = nn.Linear(3, 3)
        self.adv_mode = True
        self.model_cp = FakeSam()
        self.bbox_threshold = 0.4
        self.answers_none = False

    def predict(self, images, coords_per_heatmap=None, boxes_per_heatmap=None):
        """Four things, or four times None where no mask is left; earlier versions: None."""
        assert images.ndim == 4
        assert images.shape[1] == 3
        if not images.any():  # PercentileThreshold gives a pair here, which no tensor is made of
            raise TypeError("expected Tensor as element 0 in argument 0, but got tuple")
        bright = labelled(images[0].numpy().max(0) > 0.5)
        masks = []
        for number in range(1, bright.max() + 1):
            # A soft mask: 0.9 in the object, 0.2 around it.
            inside = torch.from_numpy(bright == number)
            soft = torch.where(inside, 0.9, 0.2).logit()[None, None]
            logits = self.model.postprocess_masks(soft, torch.tensor([1024, 1024]), soft.shape[-2:])
            masks.append((torch.sigmoid(logits[0, 0]) > 0.4).numpy().astype(np.uint8))
        if not masks:
            return None if self.answers_none else (None, None, None, None)
        stacked = np.stack(masks)
        summed = np.max(stacked * np.arange(1, len(masks) + 1)[:, None, None], axis=0)
        return summed, stacked, torch.zeros(1, 256, 64, 64), np.zeros((len(masks), 4))

    def load_state_dict(self, state_dict, strict=True, assign=False):
        nested = "state_dict" in state_dict and not any(k.startswith("model.") for k in state_dict)
        state_dict = state_dict["state_dict"] if nested else state_dict
        result = super().load_state_dict(state_dict, strict=strict)
        if not any(key.startswith("model_cp.") for key in state_dict):
            self.adv_mode = False
            self.model_cp.load_state_dict(self.model.state_dict(), strict=False)
        return result


def fake_cellsam(fails: str = "", answers_none: bool = False) -> types.ModuleType:
    """The part of ``cellSAM`` that the adapter calls, as at commit 35bc6e0.

    Args:
        fails: by 'raising' or by 'logging'.
        answers_none: ``predict`` says that there are no cells by None, which the package turns into
            zeros of shape (3, H, W); by default by (None, None, None, None), on which it fails.
    """
    package, utils = types.ModuleType("cellSAM"), types.ModuleType("cellSAM.utils")
    seen: list[np.ndarray] = []

    def segment_cellular_image(
        img,
        model: FakeCellSAM,
        normalize=True,
        postprocess=False,
        remove_boundaries=False,
        bounding_boxes=None,
        bbox_threshold=0.4,
        fast=False,
        device="cpu",
    ):
        seen.append(img)
        if fails == "raising":
            raise RuntimeError("out of memory")
        if fails == "logging":
            logging.error("Error segmenting chunk: out of memory")
            return np.zeros(img.shape[:2], np.int64), None, None
        assert img.shape[2] == 3
        img = utils.normalize_image(img) if normalize else img
        batch = torch.from_numpy(img.transpose(2, 0, 1)).float().unsqueeze(0)
        preds: Any = model.predict(batch, boxes_per_heatmap=bounding_boxes)
        if preds is None:
            warnings.warn("No cells detected in the image.", stacklevel=2)
            return np.zeros(batch.shape[1:], np.int32), None, None
        masks, _, embedding, boxes = preds
        assert masks.ndim == 2  # an AttributeError where it is None
        return masks, embedding.numpy(), boxes

    def normalize_image(image):
        """Each channel to percentile 99.9 of what is not 0, to 0…1, then CLAHE; a flat one to 0."""
        done = np.zeros(image.shape)
        for channel in range(3):
            values = image[..., channel].astype(float)
            if values.any():
                values = np.minimum(values, np.percentile(values[values != 0], 99.9))
            if (values == values[0, 0]).all():
                continue
            scaled = (values - values.min()) / np.ptp(values)
            done[..., channel] = equalize_adapthist(scaled, kernel_size=128)
        return done

    def get_model(model="cellsam_general", version=None):
        network = FakeCellSAM()
        network.answers_none = answers_none
        return network

    def get_local_model(path):
        network = FakeCellSAM()
        network.load_state_dict(torch.load(path, map_location="cpu"), strict=False)
        return network

    utils.normalize_image = normalize_image  # pyright: ignore[reportAttributeAccessIssue]
    for value in (segment_cellular_image, get_model, get_local_model):
        setattr(package, value.__name__, value)
    package.seen, package.utils = seen, utils  # pyright: ignore[reportAttributeAccessIssue]
    return package
