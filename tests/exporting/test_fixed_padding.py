"""TensorFlow's padding "same" with free sides: a fixed number where strides divide them."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from abbe import students
from abbe.exporting.networks.graphs import segmentation_graphs
from abbe.exporting.networks.onnx_files import write_onnx


@pytest.mark.slow
def test_a_student_with_padding_same_is_exported_as_it_answers(tmp_path):
    student = students.build(
        "unet-timm-tf_efficientnet_lite0", in_channels=1, outputs=("foreground",),
        encoder_weights="random",
    ).eval()  # fmt: skip
    write_onnx(segmentation_graphs(student)[0], tmp_path / "model.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert not kinds & {"Ceil", "Max"}  # no padding is computed while it runs
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for height, width in ((64, 96), (160, 32)):
        image = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(height))
        with torch.inference_mode():
            expected = student(image).numpy()
        (found,) = session.run(None, {"image": image.numpy()})
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-4)
