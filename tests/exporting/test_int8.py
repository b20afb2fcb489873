"""What is rounded to int8, and what is joined before."""

from collections import Counter
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from abbe.exporting.networks.int8 import PRESETS, join_swish, quantise
from abbe.exporting.networks.upsampled import join_upsampling

SIDE = 16


def silu(x: Any) -> Any:
    """As ONNX has it: two operations."""
    return ops.multiply(ops.sigmoid(x), x)


@pytest.fixture(scope="module")
def block() -> openvino.Model:
    """An EfficientNet's: widen, depthwise convolution, squeeze-and-excitation, narrow."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> Any:
        return ops.constant(rng.normal(0, 0.5, shape).astype(np.float32))

    def convolution(x: Any, into: int, outof: int) -> Any:
        return ops.convolution(x, weights(into, outof, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])

    image = ops.parameter([1, 4, SIDE, SIDE], name="image")
    x = silu(convolution(image, 8, 4))
    x = ops.group_convolution(x, weights(8, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
    x = silu(x)
    gate = silu(convolution(ops.reduce_mean(x, np.array([2, 3]), keep_dims=True), 2, 8))
    x = ops.multiply(x, ops.sigmoid(convolution(gate, 8, 2)))
    made: Any = openvino.Model  # its stubs know another class of the same name
    return made([convolution(x, 4, 8)], [image])


def kinds(model: openvino.Model) -> Counter[str]:
    return Counter(each.get_type_name() for each in model.get_ordered_ops())


def answer(model: openvino.Model, image: np.ndarray) -> np.ndarray:
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(image)[0]


IMAGE = np.random.default_rng(1).normal(size=(1, 4, SIDE, SIDE)).astype(np.float32)


def test_a_product_with_its_own_sigmoid_becomes_one_operation_and_other_gates_stay(block):
    joined = block.clone()
    join_swish(joined)
    assert (kinds(block)["Swish"], kinds(block)["Sigmoid"]) == (0, 4)
    assert (kinds(joined)["Swish"], kinds(joined)["Sigmoid"]) == (3, 1)
    np.testing.assert_allclose(answer(joined, IMAGE), answer(block, IMAGE), atol=1e-5)


@pytest.mark.parametrize("preset", [PRESETS[0], PRESETS[-1]], ids=lambda preset: preset.name)
def test_gates_and_means_are_not_rounded_and_convolutions_are(block, preset):
    rounded = quantise(block, [IMAGE], preset)
    assert kinds(block)["Swish"] == 0, "the model that was given has changed"
    by_kind: dict[str, list[str]] = {}
    for each in rounded.get_ordered_ops():
        before = [each.input_value(place).get_node() for place in range(each.get_input_size())]
        by_kind.setdefault(each.get_type_name(), []).extend(one.get_type_name() for one in before)
    assert "FakeQuantize" not in by_kind["ReduceMean"] + by_kind["Sigmoid"] + by_kind["Swish"]
    assert "FakeQuantize" in by_kind["Convolution"]
    far = np.abs(answer(rounded, IMAGE) - answer(block, IMAGE)).mean()
    assert 0 < far < 0.05 * np.abs(answer(block, IMAGE)).mean()


def test_depthwise_weights_behind_a_reshape_are_rounded_a_channel_at_a_time():
    rng = np.random.default_rng(2)
    image = ops.parameter([1, 8, SIDE, SIDE], name="image")
    kernels = ops.constant(rng.normal(0, 0.5, (8, 1, 3, 3)).astype(np.float32))
    # As OpenVINO's ONNX reader writes it: the shape is computed from constants.
    shape = ops.concat([ops.constant(np.array(part)) for part in ([8, 1], [1, 3, 3])], 0)
    x = ops.group_convolution(
        ops.relu(image), ops.reshape(kernels, shape, False), [1, 1], [1, 1], [1, 1], [1, 1]
    )
    made: Any = openvino.Model
    batch = rng.normal(size=(1, 8, SIDE, SIDE)).astype(np.float32)
    rounded = quantise(made([x], [image]), [batch], PRESETS[0])
    (convolution,) = (
        each for each in rounded.get_ordered_ops() if each.get_type_name() == "GroupConvolution"
    )
    scales = convolution.input_value(1).get_node().input_value(1).get_partial_shape()
    assert list(scales.to_shape()) == [8, 1, 1, 1, 1]


def enlarged(x: Any, factor: int, mode: str) -> Any:
    scales = ops.constant(np.array([1, 1, factor, factor], np.float32))
    return ops.interpolate(
        x, scales, mode, "scales", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("factor", "mode", "skip", "joined"),
    [(2, "nearest", True, 1), (2, "nearest", False, 1), (3, "nearest", False, 0),
     (2, "linear_onnx", False, 0)],
)  # fmt: skip
def test_doubling_and_convolving_becomes_one_operation_with_the_same_answer(
    factor, mode, skip, joined
):
    rng = np.random.default_rng(3)
    image = ops.parameter([-1, 4, -1, -1], name="image")
    x = enlarged(image, factor, mode)
    if skip:
        full = ops.constant(rng.normal(size=(4, 4, 2, 2)).astype(np.float32))
        other = ops.convolution_backprop_data(image, full, [2, 2])
        x = ops.concat([x, other], 1)
    kernel = ops.constant(rng.normal(size=(5, 8 if skip else 4, 3, 3)).astype(np.float32))
    x = ops.convolution(x, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    made: Any = openvino.Model
    plain = made([ops.relu(x)], [image])
    before = kinds(plain)["ConvolutionBackpropData"]
    short = plain.clone()
    join_upsampling(short, IMAGE.shape)
    assert kinds(short)["ConvolutionBackpropData"] - before == joined
    assert kinds(short)["Interpolate"] == 1 - joined
    for each in (IMAGE, IMAGE[:, :, :, 2:14]):
        np.testing.assert_allclose(answer(short, each), answer(plain, each), atol=1e-4)
