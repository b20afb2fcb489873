"""bioimage.io packages as teachers: the declared processing, and the package's own test."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers_of_teachers import SeededImage
from packages_of_bioimageio import CHANNELS, Package, expected

from abbe.errors import InputError
from abbe.files import sha256_of_file
from abbe.imaging import Image
from abbe.teachers import bioimageio


@pytest.mark.parametrize("version", ["0.5.4", "0.4.10"])
def test_declared_processing_is_done_and_the_own_test_reproduced(package: Package, version: str):
    teacher = bioimageio(package(version, pool=1), CHANNELS)
    assert teacher.verify() < 1e-5
    for shape in ((16, 24), (50, 41), (9, 7)):
        image = SeededImage(2, shape=shape).open()
        if min(shape) > 20:
            found = teacher.predict(image, "a").maps["probability"]
            np.testing.assert_allclose(found, expected(image.read()), atol=1e-5)
        else:
            assert teacher.predict(image, "a").maps["probability"].shape == (1, *shape)


def test_provenance_says_licences_and_training_data(package: Package):
    folder = package()
    found = bioimageio(folder).provenance
    assert (found.teacher, found.channels, found.outputs) == ("squares", CHANNELS, ("foreground",))
    assert (found.weights_licence, found.training_data_licence) == ("MIT", "CC0-1.0")
    assert found.weights_sha256 == sha256_of_file(folder / "weights.onnx")
    assert found.normalisation == "zero_mean_unit_variance"
    assert found.notes == ("bioimage.io package; training data: some/data", "Finds squares.")


def test_a_zip_is_the_same_as_its_folder(package: Package, tmp_path: Path):
    folder, path = package(), tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    assert bioimageio(path).provenance == bioimageio(folder).provenance
    assert bioimageio(path).verify() < 1e-5
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"p\.zip: neither a folder nor a \.zip"):
        bioimageio(path)


@pytest.mark.parametrize("order", ["byxc", "bxyc"])
def test_other_orders_of_axes(package: Package, order: str):
    """The network reads (1, C, H, W); a package that says otherwise is rearranged to its words."""
    from onnx import helper, load, save

    def change(values: dict) -> None:
        for tensor in (*values["inputs"], *values["outputs"]):
            tensor["axes"] = order
        values["inputs"][0]["shape"] = [1, 32, 32, 2]

    folder = package("0.4.10", change)
    model = load(folder / "weights.onnx")
    back = [order.index(axis) for axis in "bcyx"]
    forth = ["bcyx".index(axis) for axis in order]
    nodes = list(model.graph.node)
    nodes[0].input[0], nodes[-1].output[0] = "moved", "result"
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Transpose", ["image"], ["moved"], perm=back))
    model.graph.node.extend(nodes)
    model.graph.node.append(helper.make_node("Transpose", ["result"], ["out0"], perm=forth))
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis in range(4):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}{axis}"
    save(model, folder / "weights.onnx")
    for name in ("in", "out"):
        array = np.load(folder / f"{name}.npy")
        np.save(folder / f"{name}.npy", array.transpose(forth))
    values = yaml.safe_load((folder / "rdf.yaml").read_text())
    values["weights"]["onnx"]["sha256"] = sha256_of_file(folder / "weights.onnx")
    (folder / "rdf.yaml").write_text(yaml.safe_dump(values))
    teacher = bioimageio(folder, CHANNELS)
    assert teacher.verify() < 1e-5
    image = SeededImage(2, shape=(32, 32)).open()
    found = teacher.predict(image, "a").maps["probability"]
    np.testing.assert_allclose(found, expected(image.read()), atol=1e-5)


def fix_size(values: dict) -> None:
    for axis in values["inputs"][0]["axes"][2:]:
        axis["size"] = 32


def test_a_fixed_size_pads_and_a_divisor_lifts_it(package: Package):
    folder = package("0.5.4", fix_size, side=32, pool=8)
    image = SeededImage(2, shape=(24, 16)).open()
    padded = bioimageio(folder).predict(image, "a").maps["probability"]
    lifted = bioimageio(folder, divisor=8).predict(image, "a").maps["probability"]
    assert padded.shape == lifted.shape == (1, 24, 16)
    np.testing.assert_allclose(padded, lifted, atol=1e-6)
    larger = SeededImage(2, shape=(70, 90)).open()
    tiled = bioimageio(folder, halo=8).predict(larger, "a").maps["probability"]
    whole = bioimageio(folder, divisor=8).predict(larger, "a").maps["probability"]
    assert tiled.shape == whole.shape == (1, 70, 90)


def test_a_test_that_does_not_reproduce(package: Package):
    folder = package()
    np.save(folder / "out.npy", 1 - np.load(folder / "out.npy"))
    with pytest.raises(InputError, match="squares: does not reproduce its own test"):
        bioimageio(folder).verify()


def test_a_declared_tolerance_is_used(package: Package):
    def change(values: dict) -> None:
        tolerance = {"absolute_tolerance": 0.5, "relative_tolerance": 0.0}
        values["config"] = {"bioimageio": {"reproducibility_tolerance": [tolerance]}}

    folder = package("0.5.4", change)
    np.save(folder / "out.npy", np.load(folder / "out.npy") * 0.9)
    assert 0.01 < bioimageio(folder).verify() < 0.5


@pytest.fixture
def nuclei(data_root: Path) -> Path:
    path = data_root.parent / "weights" / "unet2d_nuclei_broad"
    if not path.is_dir():
        pytest.skip("the package unet2d_nuclei_broad is not beside the real data")
    return path


@pytest.mark.real
def test_the_nuclei_package_reproduces_its_test(nuclei: Path):
    for divisor in (None, 16):
        teacher = bioimageio(nuclei, ["grey"], divisor=divisor)
        assert teacher.verify() < 1e-4
    assert teacher.provenance.weights_licence == "MIT"
    digest = hashlib.sha256((nuclei / "weights.onnx").read_bytes()).hexdigest()
    assert teacher.provenance.weights_sha256 == digest


@pytest.mark.real
def test_the_nuclei_package_on_a_part_of_its_test_image(nuclei: Path):
    """At 256 px, far from the cut edges, the maps are those of the whole 512 px image."""
    pixels = np.load(nuclei / "test_input.npy")[0]
    whole = bioimageio(nuclei, ["grey"])
    image = Image.from_array(pixels, ["grey"])
    expected_maps = whole.predict(image, "a").maps["probability"]
    np.testing.assert_allclose(expected_maps, np.load(nuclei / "test_output.npy")[0], atol=1e-4)
    tiled = bioimageio(nuclei, ["grey"], divisor=16, tile=256, halo=64)
    found = tiled.predict(image, "a").maps["probability"]
    np.testing.assert_allclose(found, expected_maps, atol=1e-4)
    odd = Image.from_array(pixels[:, :250, :199], ["grey"])
    assert tiled.predict(odd, "a").maps["probability"].shape == (1, 250, 199)


def test_a_stated_pixel_size_is_kept_to(package: Package):
    def state(values: dict) -> None:
        for axis in values["inputs"][0]["axes"]:
            if axis["type"] == "space":
                axis |= {"scale": 500.0, "unit": "nanometer"}

    teacher = bioimageio(package("0.5.4", state, pool=1), CHANNELS)
    blocks = np.random.default_rng(4).integers(0, 200, (2, 6, 5)).astype(np.uint8)
    image = Image.from_array(np.kron(blocks, np.ones((1, 8, 8), np.uint8)), CHANNELS, 0.5)
    known = expected(image.read())
    np.testing.assert_allclose(teacher.predict(image, "a").maps["probability"], known, atol=1e-5)
    pixels = np.kron(image.read(), np.ones((1, 2, 2), np.uint8))
    fine = Image.from_array(pixels, image.channels, 0.25, "fine")
    found = teacher.predict(fine, "a").maps["probability"]
    assert found.shape == (1, 2 * image.shape[0], 2 * image.shape[1])
    # In the middle of a block; borders are blurred, which changes the deviation a little, too.
    np.testing.assert_allclose(found[:, 7::16, 7::16], known[:, 3::8, 3::8], atol=0.02)
    assert np.ptp(known) > 0.5
    unknown = Image.from_array(pixels, image.channels, None, "unknown")
    with pytest.raises(InputError, match="unknown: its pixel size is not known"):
        teacher.predict(unknown, "a")
