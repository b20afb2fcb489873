"""FAKE cellpose and cellSAM: tiny modules of the same interface, for the adapters' tests.

They find bright connected pixels. Nothing of the real programs is in them; the real cellpose is
tested where it is installed (test_cellpose_real.py).
"""

import logging
import types
import warnings
from pathlib import Path

import numpy as np
import torch
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


def fake_cellsam(fails: str = "") -> types.ModuleType:
    """The part of ``cellSAM`` that the adapter calls; ``fails`` by 'raising' or by 'logging'."""
    package = types.ModuleType("cellSAM")
    seen: list[np.ndarray] = []

    def segment_cellular_image(
        img,
        model=None,
        normalize=False,
        postprocess=False,
        remove_boundaries=False,
        bounding_boxes=None,
        bbox_threshold=0.4,
        fast=False,
        device="cpu",
    ):
        assert normalize is False
        seen.append(img)
        if fails == "raising":
            raise RuntimeError("out of memory")
        if fails == "logging":
            logging.error("Error segmenting chunk: out of memory")
            return np.zeros(img.shape[:2], np.int64), None, None
        labels = labelled(img.max(2) > 0.5)
        if not labels.any():
            warnings.warn("No cells detected in the image.", stacklevel=2)
        return labels, None, None

    names = {
        "segment_cellular_image": segment_cellular_image,
        "get_model": lambda model=None, version=None: FakeNet(),
        "get_local_model": lambda path: FakeNet(),
        "seen": seen,
    }
    for name, value in names.items():
        setattr(package, name, value)
    return package
