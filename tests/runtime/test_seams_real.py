"""On real images: what is found in tiles is what is found in the whole, whatever the tiles.

Real nuclei touch, lie across seams and corners, and form clumps wider than any halo. Everything
that fits the halo must be the same object in both; larger clumps may be cut elsewhere, as the
documentation says, but no pixel of theirs may be lost.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from made_packages import make_package
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage
from skimage import measure
from tiled_maps import find, whole

from abbe.imaging import Image, normalise, open_image, percentile_limits
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.predictors.predict import predict
from abbe.runtime.tiling.grid import Grid

pytestmark = pytest.mark.real

SIDE = 1024


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def mosaic(pictures: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Pictures of one size side by side, every second one mirrored, (side, side)."""
    own = pictures[0].shape[0]
    count = -(-side // own)
    rows = [
        np.concatenate(
            [
                pictures[(row * count + column) % len(pictures)][:, :: -1 if column % 2 else 1]
                for column in range(count)
            ],
            axis=1,
        )
        for row in range(count)
    ]
    return np.concatenate(rows)[:side, :side]


def fluorescent(data_root: Path, side: int) -> np.ndarray:
    """Nuclei of DSB 2018, each picture scaled to its own percentiles, (side, side) uint16."""
    with open(data_root / "dsb2018" / "index.csv", encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["kind"], row["h"], row["w"]) == ("fluo", "256", "256") and int(row["n"]) > 20
        ]
    pictures = []
    for row in rows[: (side // 256 + 1) ** 2]:
        pixels = open_image(data_root / "dsb2018" / "images" / f"{row['id']}.png").read()[:1]
        scaled = normalise(pixels, percentile_limits(pixels))[0]
        pictures.append((scaled * 60000).astype(np.uint16))
    return mosaic(pictures, side)


def stained(data_root: Path, side: int) -> np.ndarray:
    """How dark red is, H&E of gliomas, (side, side) float32 in [0, 1]."""
    files = sorted((data_root / "he_tcga_glioma" / "images").glob("*.png"))
    pictures = [1 - open_image(file).read(channels=["red"])[0] / np.float32(255) for file in files]
    return mosaic([each for each in pictures if each.shape == (512, 512)], side)


def assert_same_objects(
    found: np.ndarray, expected: np.ndarray, halo: int, *, least_share: float
) -> None:
    """Objects of clumps that fit the halo are the same; so are nearly all of the others.

    ``least_share`` of all must fit, so that the comparison is one.
    """
    np.testing.assert_array_equal(found > 0, expected > 0)
    clumps = np.asarray(measure.label(expected > 0, connectivity=1))
    boxes = ndimage.find_objects(clumps)
    fit = [0] + [max(part.stop - part.start for part in box) <= halo for box in boxes]
    fits = np.array(fit, bool)[clumps]
    pairs = np.unique(np.stack([found[fits], expected[fits]]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    assert pairs.shape[1] > least_share * expected.max()
    everywhere, both = np.unique(
        np.stack([found, expected])[:, expected > 0], axis=1, return_counts=True
    )
    same = (both == np.bincount(found.ravel())[everywhere[0]]) & (
        both == np.bincount(expected.ravel())[everywhere[1]]
    )
    assert same.sum() > 0.97 * expected.max()
    if pairs.shape[1] == expected.max():
        np.testing.assert_array_equal(found, expected)  # the numbers, too


@pytest.mark.parametrize(
    ("tile", "halo", "context"), [(128, 32, None), (256, 64, 16), (512, 32, None), (96, 64, 16)]
)
def test_fluorescent_nuclei_through_a_package(data_root, tmp_path, tile, halo, context):
    package = make_package(tmp_path / "package", tile=tile, halo=halo, context=context)
    pixels = fluorescent(data_root, SIDE)
    expected = predict(package, pixels, tile=1024)
    assert expected.max() > 300
    assert_same_objects(predict(package, pixels), expected, halo, least_share=0.9)


@pytest.mark.slow
def test_a_field_of_2048_px(data_root, tmp_path):
    package = make_package(tmp_path / "package", tile=512, halo=64)
    pixels = fluorescent(data_root, 2048)
    expected = predict(package, pixels, tile=2048)
    assert expected.max() > 1000
    assert_same_objects(predict(package, pixels), expected, 64, least_share=0.95)


@pytest.mark.parametrize(
    ("tile", "halo", "with_boundary"), [(192, 64, False), (331, 48, True), (600, 96, True)]
)
def test_stained_nuclei_from_maps(data_root, tile, halo, with_boundary):
    """Maps made of the stain: ragged outlines and clumps as no drawn shape has them."""
    dark = ndimage.gaussian_filter(stained(data_root, SIDE), 1.5)
    threshold = float(np.quantile(dark, 0.88))
    foreground = 1 / (1 + np.exp((threshold - dark) / 0.03))
    slope = ndimage.gaussian_gradient_magnitude(dark, 1.0)
    boundary = np.clip(slope / (2 * np.quantile(slope, 0.9)), 0, 1)
    maps = np.stack([foreground, boundary][: 1 + with_boundary]).astype(np.float32)
    expected = whole(maps, minimum_area=20)
    assert expected.max() > 300
    found = find(maps, Grid.of((SIDE, SIDE), 1.0, 1, tile, halo), minimum_area=20)
    assert found.count == pytest.approx(expected.max(), rel=0.02)
    assert_same_objects(found.read(), expected, halo, least_share=0.75)


def nuclei_network(path: Path) -> onnx.ModelProto:
    """The published nuclei U-Net between what a package gives it and what it expects back."""
    inner = onnx.load(path)
    graph = inner.graph
    names = {graph.input[0].name: "scaled", graph.output[0].name: "probability"}
    for node in graph.node:
        for words in (node.input, node.output):
            words[:] = [names.get(word, word) for word in words]
    constants = {"mean": 0.15, "deviation": 0.2, "low": 1e-6, "high": 1 - 1e-6, "one": 1.0}
    before = [
        helper.make_node("Sub", ["image", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "deviation"], ["scaled"]),
    ]
    after = [
        helper.make_node("Clip", ["probability", "low", "high"], ["inside"]),
        helper.make_node("Sub", ["one", "inside"], ["rest"]),
        helper.make_node("Div", ["inside", "rest"], ["odds"]),
        helper.make_node("Log", ["odds"], ["logits"]),
    ]
    made = helper.make_graph(
        [*before, *graph.node, *after],
        "nuclei",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 1, "H", "W"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 1, "H", "W"])],
        [
            *graph.initializer,
            *(
                numpy_helper.from_array(np.array(value, np.float32), name)
                for name, value in constants.items()
            ),
        ],
    )
    model = helper.make_model(made, opset_imports=inner.opset_import, ir_version=inner.ir_version)
    onnx.checker.check_model(model)
    return model


@pytest.mark.slow
def test_nuclei_through_a_real_network(data_root, tmp_path):
    path = data_root.parent / "weights" / "unet2d_nuclei_broad" / "weights.onnx"
    if not path.is_file():
        pytest.skip("the network unet2d_nuclei_broad is not beside the real data")
    package = make_package(
        tmp_path / "package",
        outputs=("foreground",), tile=512, halo=112, network=nuclei_network(path),
    )  # fmt: skip
    ready = predictor(package)
    image = Image.from_array(fluorescent(data_root, 768), ["nucleus"])
    expected = predict(predictor(package, tile=768), image)
    assert expected.max() > 150
    assert_same_objects(predict(ready, image), expected, 112, least_share=0.9)
