"""ONNX files as teachers: numbers against plain numpy, and every way a file can be wrong."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx as library
import pytest
from helpers_of_teachers import SeededImage, dataset_of, make_onnx
from scipy.ndimage import correlate
from scipy.special import expit

from abbe.errors import ConfigError, InputError, StoreError
from abbe.files import sha256_of_file
from abbe.imaging import Image, normalise, percentile_limits
from abbe.machine.threads import cores
from abbe.teachers import onnx, teach
from abbe.teachers.networks.onnx_network import OnnxNetwork

CHANNELS = ("nucleus", "membrane")
KERNEL = np.array([[[[1.0]], [[-0.5]]]])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_onnx(tmp_path / "plain.onnx", kernel=KERNEL)


def test_probabilities_are_the_networks(model: Path):
    image = SeededImage(3).open()
    found = onnx(model, CHANNELS).predict(image, "a")
    pixels = image.read(channels=CHANNELS)
    values = normalise(pixels, percentile_limits(pixels))
    expected = expit(values[0] - 0.5 * values[1])
    np.testing.assert_allclose(found.maps["probability"][0], expected, atol=1e-6)
    assert not found.empty


def test_it_computes_with_the_threads_that_it_is_given(model: Path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = OnnxNetwork(model, str(model))._session.get_session_options()
    assert options.intra_op_num_threads == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    options = OnnxNetwork(model, str(model))._session.get_session_options()
    assert options.intra_op_num_threads == cores()


def test_channels_come_in_the_teachers_order(model: Path):
    image = SeededImage(3).open()
    swapped = onnx(model, CHANNELS[::-1]).predict(image, "a").maps["probability"]
    pixels = image.read(channels=CHANNELS[::-1])
    values = normalise(pixels, percentile_limits(pixels))
    np.testing.assert_allclose(swapped[0], expit(values[0] - 0.5 * values[1]), atol=1e-6)


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        ("scale_255", lambda x: x / 255),
        ("none", lambda x: x),
        (
            "zero_mean_unit_variance",
            lambda x: (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True),
        ),
    ],
)
def test_preprocessings(tmp_path: Path, preprocessing: str, expected):
    path = make_onnx(tmp_path / "m.onnx", kernel=KERNEL, activation="Identity")
    image = SeededImage(3).open()
    teacher = onnx(path, CHANNELS, preprocessing=preprocessing, activation="sigmoid")
    values = expected(image.read().astype(np.float64))
    np.testing.assert_allclose(
        teacher.predict(image, "a").maps["probability"][0],
        expit(values[0] - 0.5 * values[1]),
        atol=1e-5,
    )


def test_imagenet_preprocessing(tmp_path: Path, rng: np.random.Generator):
    kernel = np.ones((1, 3, 1, 1))
    path = make_onnx(tmp_path / "m.onnx", kernel=kernel, channels=3)
    pixels = rng.integers(0, 255, (3, 8, 8)).astype(np.uint8)
    teacher = onnx(path, ("red", "green", "blue"), preprocessing="imagenet")
    image = Image.from_array(pixels, ("red", "green", "blue"))
    mean = np.array([0.485, 0.456, 0.406])[:, None, None]
    deviation = np.array([0.229, 0.224, 0.225])[:, None, None]
    expected = expit(((pixels / 255 - mean) / deviation).sum(0))
    found = teacher.predict(image, "a").maps["probability"][0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_larger_image_in_tiles_is_the_same(tmp_path: Path):
    kernel = np.random.default_rng(0).normal(size=(1, 2, 5, 5))
    path = make_onnx(tmp_path / "m.onnx", kernel=kernel)
    image = SeededImage(1, shape=(90, 70)).open()
    whole = onnx(path, CHANNELS).predict(image, "a").maps["probability"]
    tiled = onnx(path, CHANNELS, tile=32, halo=4).predict(image, "a").maps["probability"]
    np.testing.assert_allclose(tiled, whole, atol=1e-6)
    pixels = image.read()
    values = normalise(pixels, percentile_limits(pixels))
    raw = sum(correlate(v, k, mode="constant") for v, k in zip(values, kernel[0], strict=True))
    np.testing.assert_allclose(whole[0], expit(raw), atol=1e-5)


def test_a_fixed_size_in_the_file_is_kept_to(tmp_path: Path):
    path = make_onnx(tmp_path / "m.onnx", kernel=KERNEL, side=32)
    free = onnx(make_onnx(tmp_path / "free.onnx", kernel=KERNEL), CHANNELS)
    for shape in ((20, 32), (70, 45)):
        image = SeededImage(1, shape=shape).open()
        fixed = onnx(path, CHANNELS, halo=4).predict(image, "a").maps["probability"]
        np.testing.assert_allclose(fixed, free.predict(image, "a").maps["probability"], atol=1e-6)


def test_a_divisor_pads_and_without_it_the_message_names_it(tmp_path: Path):
    path = make_onnx(tmp_path / "m.onnx", kernel=KERNEL, pool=8)
    image = SeededImage(1, shape=(50, 41)).open()
    maps = onnx(path, CHANNELS, divisor=8).predict(image, "a").maps["probability"]
    assert maps.shape == (1, 50, 41)
    with pytest.raises(InputError, match=r"m\.onnx: fails on an input.*divisor="):
        onnx(path, CHANNELS).predict(image, "a")


def test_logits_are_refused_with_the_cure(tmp_path: Path):
    path = make_onnx(tmp_path / "m.onnx", kernel=10 * KERNEL, activation="Identity")
    with pytest.raises(InputError, match=r"m\.onnx gave values from .*activation='sigmoid'"):
        onnx(path, CHANNELS).predict(SeededImage(1).open(), "a")


def test_softmax_with_an_output_that_is_not_stored(tmp_path: Path):
    kernel = np.array([[[[0.0]], [[0.0]]], [[[2.0]], [[1.0]]]])
    path = make_onnx(tmp_path / "m.onnx", kernel=kernel, activation="Identity")
    teacher = onnx(path, CHANNELS, activation="softmax", outputs="-, foreground")
    image = SeededImage(1).open()
    pixels = image.read()
    values = normalise(pixels, percentile_limits(pixels))
    found = teacher.predict(image, "a").maps["probability"]
    assert teacher.provenance.outputs == ("foreground",)
    np.testing.assert_allclose(found, expit(2 * values[:1] + values[1:]), atol=1e-6)


def test_several_output_tensors_are_joined(tmp_path: Path):
    path = make_onnx(tmp_path / "m.onnx", kernel=KERNEL, repeats=2)
    teacher = onnx(path, CHANNELS, outputs=["foreground", "boundary"])
    maps = teacher.predict(SeededImage(1).open(), "a").maps["probability"]
    assert maps.shape == (2, 48, 40)
    np.testing.assert_array_equal(maps[0], maps[1])


def test_nothing_found_is_marked_as_empty(tmp_path: Path):
    path = make_onnx(tmp_path / "m.onnx", kernel=-100 * np.ones((1, 2, 1, 1)))
    image = Image.from_array(np.full((2, 8, 8), 200, np.uint8), CHANNELS)
    assert onnx(path, CHANNELS, preprocessing="scale_255").predict(image, "a").empty


def test_provenance(model: Path):
    found = onnx(model, CHANNELS, weights_licence="MIT", stand_in=True).provenance
    assert found.teacher == "plain"
    assert found.weights_sha256 == sha256_of_file(model)
    assert (found.weights_licence, found.training_data_licence) == ("MIT", "not stated")
    assert (found.channels, found.normalisation) == (CHANNELS, "percentile")
    assert (found.outputs, found.stand_in) == (("foreground",), True)


def split(model: Path, place: str) -> bytes:
    """Say that all weights lie in another file; its contents."""
    loaded = library.load(model)
    contents = b""
    for tensor in loaded.graph.initializer:
        values = library.numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("float_data")
        tensor.ClearField("raw_data")
        tensor.data_location = library.TensorProto.EXTERNAL
        for key, value in (("location", place), ("offset", len(contents)), ("length", len(values))):
            tensor.external_data.add(key=key, value=str(value))
        contents += values
    model.write_bytes(loaded.SerializeToString())
    return contents


def test_weights_in_a_second_file_count(model: Path):
    image = SeededImage(3).open()
    whole = onnx(model, CHANNELS).predict(image, "a").maps["probability"]
    weights = model.with_name("weights.bin")
    weights.write_bytes(split(model, "weights.bin"))
    teacher = onnx(model, CHANNELS)
    np.testing.assert_array_equal(teacher.predict(image, "a").maps["probability"], whole)
    before = teacher.provenance.weights_sha256
    assert before != sha256_of_file(model)
    weights.write_bytes(weights.read_bytes()[::-1])
    assert onnx(model, CHANNELS).provenance.weights_sha256 != before


@pytest.mark.parametrize("place", ["../secret", "/etc/hostname", "", "sub/w", "link", "..", "C:w"])
def test_weights_outside_of_the_folder_are_not_read(tmp_path: Path, place: str):
    (tmp_path / "inner").mkdir()
    model = make_onnx(tmp_path / "inner" / "plain.onnx", kernel=KERNEL)
    contents = split(model, place)
    (tmp_path / "secret").write_bytes(contents)
    (tmp_path / "inner" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="which is no file beside it"):
        onnx(model, CHANNELS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": ("nucleus",)}, r"plain\.onnx reads 2 channels but 1 are named: nucleus"),
        ({"channels": None}, r"plain\.onnx: say which of the image's channels"),
        ({"preprocessing": "magic"}, "no preprocessing 'magic'; allowed are percentile"),
        ({"activation": "relu"}, "no activation 'relu'; allowed are none"),
        ({"outputs": "a,b"}, r"plain\.onnx gives 1 maps but 2 outputs are named"),
        ({"outputs": "-"}, "must be different names"),
    ],
)
def test_wrong_options_are_named(model: Path, options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        onnx(model, **{"channels": CHANNELS, **options})


def test_several_maps_must_be_named(tmp_path: Path):
    path = make_onnx(tmp_path / "m.onnx", kernel=np.ones((3, 2, 1, 1)))
    with pytest.raises(ConfigError, match=r"m\.onnx gives 3 maps: name them"):
        onnx(path, CHANNELS)


def test_no_model(tmp_path: Path):
    with pytest.raises(InputError, match=r"gone\.onnx: there is no such ONNX file"):
        onnx(tmp_path / "gone.onnx", CHANNELS)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(InputError, match=r"text\.onnx: cannot be read as an ONNX model"):
        onnx(tmp_path / "text.onnx", CHANNELS)


def test_a_missing_channel_is_named(model: Path):
    image = SeededImage(1, channels=("nucleus", "actin")).open()
    with pytest.raises(InputError, match=r"membrane.*nucleus, actin"):
        onnx(model, CHANNELS).predict(image, "a")


def test_scale_255_refuses_16_bits(model: Path):
    image = Image.from_array(np.full((2, 8, 8), 4000, np.uint16), CHANNELS)
    with pytest.raises(InputError, match="8-bit images but the pixels go from 4000 to 4000"):
        onnx(model, CHANNELS, preprocessing="scale_255").predict(image, "a")


def test_an_all_zero_image_gives_an_answer(model: Path):
    image = Image.from_array(np.zeros((2, 8, 8), np.uint8), CHANNELS)
    for preprocessing in ("percentile", "zero_mean_unit_variance"):
        found = onnx(model, CHANNELS, preprocessing=preprocessing).predict(image, "a")
        np.testing.assert_allclose(found.maps["probability"], 0.5, atol=1e-6)


def test_onnx_teaches_without_torch(model: Path):
    code = (
        "import sys, numpy as np\n"
        "from abbe.imaging import Image\n"
        "import abbe.teachers\n"
        "assert not {'torch', 'onnxruntime'} & set(sys.modules)\n"
        "teacher = abbe.teachers.onnx(sys.argv[1], ['a', 'b'])\n"
        "teacher.predict(Image.from_array(np.ones((2, 8, 8), np.uint8), ['a', 'b']), 'x')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(model)], check=True, timeout=60)


def make_typed(path: Path, kind: Any, *, last: bool, side: int | str = "side") -> Path:
    """What is above half of the range in the first channel, divided by the range: one map."""
    from onnx import TensorProto, checker, helper, numpy_helper

    highest = {TensorProto.UINT8: 255, TensorProto.UINT16: 65535, TensorProto.FLOAT: 1}[kind]
    constants = {
        "highest": np.array([highest], np.float32),
        "weights": np.array([1, 0], np.float32).reshape((1, 1, 1, 2) if last else (1, 2, 1, 1)),
        "axis": np.array([3 if last else 1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "highest"], ["shares"]),
        helper.make_node("Mul", ["shares", "weights"], ["first"]),
        helper.make_node("ReduceSum", ["first", "axis"], ["map"], keepdims=1),
    ]
    sides = ["h", "w"] if side == "side" else [side, side]
    shapes = ([1, *sides, 2], [1, *sides, 1]) if last else ([1, 2, *sides], [1, 1, *sides])
    graph = helper.make_graph(
        nodes,
        "typed",
        [helper.make_tensor_value_info("image", kind, shapes[0])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, shapes[1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    library.save(model, path)
    return path


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("side", ["side", 32])
def test_whole_numbers_get_their_range_and_channels_may_be_last(
    tmp_path: Path, last: bool, side: int | str
):
    image = SeededImage(3).open()
    pixels = image.read(channels=CHANNELS)
    expected = normalise(pixels, percentile_limits(pixels))[0]
    kinds = library.TensorProto
    for kind, steps in ((kinds.UINT8, 255), (kinds.UINT16, 65535), (kinds.FLOAT, 1e7)):
        path = make_typed(tmp_path / "m.onnx", kind, last=last, side=side)
        found = onnx(path, CHANNELS, tile=32, halo=8).predict(image, "a").maps["probability"]
        assert found.shape == (1, *image.shape)
        np.testing.assert_allclose(found[0], expected, atol=0.5 / steps + 1e-6)
        assert expected.max() == 1  # of the range: 0 and 1 would be nearly black in uint8
    eight = make_typed(tmp_path / "m.onnx", kinds.UINT8, last=last, side=side)
    for preprocessing in ("scale_255", "none"):  # 8-bit values are seen as they are
        found = onnx(eight, CHANNELS, preprocessing=preprocessing, tile=32, halo=8)
        maps = found.predict(image, "a").maps["probability"]
        np.testing.assert_allclose(maps[0], pixels[0] / 255, atol=1e-6)


def test_what_whole_numbers_cannot_hold_is_refused(tmp_path: Path):
    path = make_typed(tmp_path / "m.onnx", library.TensorProto.UINT8, last=False)
    with pytest.raises(ConfigError, match=r"m\.onnx: reads whole numbers from 0 to 255 \(uint8\)"):
        onnx(path, CHANNELS, preprocessing="zero_mean_unit_variance")
    deep = Image.from_array(np.full((2, 40, 40), 300, np.uint16), CHANNELS)
    teacher = onnx(path, CHANNELS, preprocessing="none")
    with pytest.raises(InputError, match=r"from 0 to 255 .* but the prepared pixels go from 300"):
        teacher.predict(deep, "a")


def test_channels_last_of_another_number_are_named(tmp_path: Path):
    path = make_typed(tmp_path / "m.onnx", library.TensorProto.FLOAT, last=True, side=32)
    with pytest.raises(ConfigError, match=r"shape \(1, 32, 32, 2\); if its channels are the last"):
        onnx(path, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"activation": "none"}, "'activation': 'sigmoid'} here, {'activation': 'none'} now"),
        ({"tile": 64}, "'tile': '1024'} here, {'tile': '64'} now"),
        ({"halo": 8}, "'halo': '64'} here, {'halo': '8'} now"),
        ({"divisor": 4}, "'divisor': '1'} here, {'divisor': '4'} now"),
        ({"outputs": "-,foreground"}, "'maps': 'foreground, -'} here"),
    ],
)
def test_a_store_is_not_continued_with_other_settings(
    tmp_path: Path, changed: dict[str, Any], words: str
):
    """Answers of both kinds stood in one store, without a word."""
    kernel = np.ones((2, 2, 1, 1))
    path = make_onnx(tmp_path / "m.onnx", kernel=kernel, activation="Identity")
    options: dict[str, Any] = {"activation": "sigmoid", "outputs": "foreground,-"}
    store = tmp_path / "t.zarr"
    teach(onnx(path, CHANNELS, **options), dataset_of(1), store, progress=False)
    other = onnx(path, CHANNELS, **{**options, **changed})
    with pytest.raises(StoreError, match="of other settings") as told:
        teach(other, dataset_of(2), store, progress=False)
    assert words in str(told.value)
    same = teach(onnx(path, CHANNELS, **options), dataset_of(2), store, progress=False)
    assert (same.done, same.skipped) == (1, 1)
