"""``abbe bench --check``: a package's own test image against the answer expected."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import blobs, make_class_package, make_package, make_region_package

from abbe.errors import PackageError
from abbe.imaging import normalise, percentile_limits
from abbe.runtime.bench.check import check_package, labelled_otherwise
from abbe.runtime.package import describe_file, read_package, write_description
from abbe.runtime.package.engine import open_engine
from abbe.runtime.postprocess.instances import instances_from_maps


def with_example(folder: Path, image: np.ndarray, **expected: np.ndarray) -> Path:
    """Put a test image and its answer into a package."""
    tifffile.imwrite(folder / "test.tif", image)
    np.savez(folder / "expected.npz", allow_pickle=False, **expected)
    description = read_package(folder).description
    files = description.files | {
        "test_image": describe_file(folder, "test.tif"),
        "expected": describe_file(folder, "expected.npz"),
    }
    write_description(folder, description.model_copy(update={"files": files}))
    return folder


def seen(image: np.ndarray) -> np.ndarray:
    """The normalised image as a batch, whose sides need no padding."""
    return normalise(image[None], percentile_limits(image[None]))[None]


def nuclei(folder: Path, shift: float = 0.0) -> Path:
    make_package(folder)
    image = blobs(64, 96)
    maps = open_engine(read_package(folder)).probabilities(seen(image))[0]
    objects = instances_from_maps(*maps, minimum_area=10)
    return with_example(folder, image, probabilities=maps + np.float32(shift), instances=objects)


def test_a_package_that_answers_as_expected_passes(tmp_path, capsys):
    assert abbe("bench", nuclei(tmp_path / "nuclei"), "--check") == 0
    said = capsys.readouterr().out
    assert "openvino/fp32" in said
    assert "onnxruntime/fp32" in said
    assert "openvino/int8: not measured" in said


def test_one_that_answers_otherwise_does_not(tmp_path, capsys):
    package = nuclei(tmp_path / "nuclei", shift=0.002)
    assert abbe("bench", package, "--check", "--json", tmp_path / "c.json") == 1
    assert "differs by more than 0.001: openvino/fp32" in capsys.readouterr().out
    engines = check_package(read_package(package)).engines
    assert engines["openvino/fp32"].difference == pytest.approx(0.002, abs=1e-5)
    assert engines["openvino/fp32"].otherwise == 0
    assert (tmp_path / "c.json").exists()


def test_an_answer_of_another_form_is_named(tmp_path):
    package = with_example(
        make_package(tmp_path / "nuclei"), blobs(64, 96), probabilities=np.zeros((2, 9, 9))
    )
    with pytest.raises(PackageError, match=r"'probabilities' is of shape \(2, 9, 9\)"):
        check_package(read_package(package))


def test_sides_that_need_padding_are_cut_back_and_classes_of_pixels_compared(
    tmp_path, computes_bf16
):
    folder, image = make_region_package(tmp_path / "regions"), blobs(50, 70)
    padded = np.pad(seen(image), ((0, 0), (0, 0), (0, 14), (0, 10)), mode="symmetric")
    maps = open_engine(read_package(folder)).probabilities(padded)[0, :, :50, :70]
    classes = maps.argmax(0)
    classes[:, :7] = 3
    package = with_example(folder, image, probabilities=maps, classes=classes.astype(np.uint8))
    result = check_package(read_package(package))
    assert set(result.engines) == {"openvino/fp32", "onnxruntime/fp32"} | (
        {"openvino/bf16"} if computes_bf16 else set()
    )
    for name, each in result.engines.items():
        # Logits reach 10, where the numbers of bf16 are 1/16 apart and their sums round, too.
        assert each.difference == pytest.approx(0, abs=1e-5 if name.endswith("fp32") else 0.2)
        assert each.otherwise == pytest.approx(0.1, abs=1e-6 if name.endswith("fp32") else 0.02)
    assert result.wrong == []
    reason = "this processor does not compute in bf16"
    assert (reason in result.left_out.get("openvino/bf16", "")) is not computes_bf16


def test_a_classification_is_checked_too(tmp_path):
    folder, image = make_class_package(tmp_path / "tiles"), blobs(64, 64)
    known = open_engine(read_package(folder)).probabilities(seen(image))[0]
    package = with_example(folder, image, probabilities=known[::-1].copy())
    result = check_package(read_package(package))
    assert result.engines["openvino/fp32"].otherwise == 1
    assert result.wrong == ["openvino/fp32", "onnxruntime/fp32"]


def test_objects_are_the_same_whatever_their_number():
    known = np.zeros((10, 10), np.int32)
    known[:4, :5], known[6:, :] = 1, 2
    renumbered = np.choose(known, [0, 7, 3])
    assert labelled_otherwise(renumbered, known) == 0
    split = known.copy()
    split[6:, 3:5] = 5  # 2 of 10 columns go to an object of their own
    assert labelled_otherwise(split, known) == pytest.approx(0.08)
    merged = np.where(known > 0, 1, 0)  # object 2 is most of the merged one
    assert labelled_otherwise(merged, known) == pytest.approx(0.20)
    assert labelled_otherwise(np.zeros_like(known), known) == pytest.approx(0.60)
