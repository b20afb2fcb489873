"""bioimage.io packages: the declared processing, the package's own test, and damaged packages."""

import copy
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from helpers_of_teachers import SeededImage, make_onnx
from scipy.special import expit, softmax

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.imaging import Image
from abbe.teachers import bioimageio
from abbe.teachers.networks.bioimageio_steps import steps

CHANNELS = ("nucleus", "membrane")
KERNEL = np.array([[[[1.0]], [[-0.5]]]])
Package = Callable[..., Path]


def standardised(pixels: np.ndarray) -> np.ndarray:
    values = pixels.astype(np.float64)
    deviation = values.std((1, 2), keepdims=True) + 1e-6
    return (values - values.mean((1, 2), keepdims=True)) / deviation


def expected(pixels: np.ndarray) -> np.ndarray:
    values = standardised(pixels)
    return expit(values[:1] - 0.5 * values[1:])


@pytest.fixture
def package(tmp_path: Path, rng: np.random.Generator) -> Package:
    """A whole package of either format; ``change`` edits its description."""

    def make(
        version: str = "0.5.4", change: Callable[[dict], None] = lambda values: None, **model: Any
    ) -> Path:
        folder = tmp_path / "package"
        folder.mkdir()
        options = {"kernel": KERNEL, "activation": "Identity", **model}
        make_onnx(folder / "weights.onnx", **options)
        image = rng.integers(0, 255, (1, 2, 32, 32)).astype(np.uint8)
        np.save(folder / "in.npy", image)
        np.save(folder / "out.npy", expected(image[0])[None].astype(np.float32))
        values = copy.deepcopy(FORMATS[version[:3]])
        values["format_version"] = version
        values["weights"]["onnx"]["sha256"] = sha256_of_file(folder / "weights.onnx")
        change(values)
        (folder / "rdf.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        return folder

    return make


STANDARDISE_05 = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["x", "y"]}}
FORMATS: dict[str, dict[str, Any]] = {
    "0.5": {
        "name": "squares",
        "description": "Finds\nsquares.",
        "license": "MIT",
        "training_data": {"id": "some/data", "license": "CC0-1.0"},
        "inputs": [
            {
                "id": "raw",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["nucleus", "membrane"]},
                    {"type": "space", "id": "y", "size": {"min": 16, "step": 8}},
                    {"type": "space", "size": {"min": 16, "step": 8}},
                ],
                "preprocessing": [STANDARDISE_05],
                "test_tensor": {"source": "in.npy"},
            }
        ],
        "outputs": [
            {
                "id": "probability",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["probability"]},
                    {"type": "space", "id": "y", "halo": 4},
                    {"type": "space", "id": "x", "halo": 4},
                ],
                "postprocessing": [{"id": "sigmoid"}],
                "test_tensor": {"source": "out.npy"},
            }
        ],
        "weights": {"onnx": {"source": "weights.onnx"}},
    },
    "0.4": {
        "name": "old squares",
        "license": "BSD-3-Clause",
        "inputs": [
            {
                "name": "raw",
                "axes": "bcyx",
                "shape": {"min": [1, 2, 16, 16], "step": [0, 0, 8, 8]},
                "preprocessing": [
                    {
                        "name": "zero_mean_unit_variance",
                        "kwargs": {"axes": "xy", "mode": "per_sample"},
                    }
                ],
            }
        ],
        "outputs": [
            {
                "name": "probability",
                "axes": "bcyx",
                "halo": [0, 0, 4, 4],
                "postprocessing": [{"name": "sigmoid"}],
            }
        ],
        "test_inputs": ["in.npy"],
        "test_outputs": ["out.npy"],
        "weights": {"onnx": {"source": "weights.onnx"}},
    },
}


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


def put(*keys: Any, value: Any) -> Callable[[dict], None]:
    def change(values: dict) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return change


STEPS = ("inputs", 0, "preprocessing")
NOT_SUPPORTED = {
    "format": (put("format_version", value="0.3.6"), r"format '0\.3\.6' is not supported"),
    "weights": (put("weights", value={"torchscript": {}}), "no ONNX weights, only torchscript"),
    "web": (put("weights", "onnx", "source", value="https://example.com/w.onnx"), "on the web"),
    "outside": (put("weights", "onnx", "source", value="../w.onnx"), "leads out of the package"),
    "missing": (put("weights", "onnx", "source", value="w.onnx"), r"'w\.onnx'.* is missing"),
    "hash": (put("weights", "onnx", "sha256", value="0" * 64), "damaged or was changed"),
    "external": (put("weights", "onnx", "external_data", value={"source": "d"}), "external data"),
    "step": (put(*STEPS, value=[{"id": "custom"}]), "step 'custom' of 'raw' is not supported"),
    "argument": (
        put(*STEPS, value=[{"id": "clip", "kwargs": {"min": 0, "max_percentile": 99}}]),
        "step 'clip' has the argument 'max_percentile'",
    ),
    "reference": (
        put(*STEPS, value=[{"id": "scale_range", "kwargs": {"reference_tensor": "other"}}]),
        "step 'scale_range' has reference_tensor 'other'",
    ),
    "axis": (
        put("inputs", 0, "axes", 0, value={"type": "space", "id": "z", "size": 8}),
        "'raw' has the axes z, channel, y, x; only 2D",
    ),
    "inputs": (put("inputs", value=[{}, {}]), "2 inputs"),
    "lacking": (put("outputs", 0, value={"axes": []}), "lacks or misuses 'id'"),
}


@pytest.mark.parametrize("case", NOT_SUPPORTED)
def test_what_is_not_supported_is_named(package: Package, case: str):
    change, message = NOT_SUPPORTED[case]
    with pytest.raises(InputError, match=message):
        bioimageio(package("0.5.4", lambda values: change(values)))


@pytest.mark.parametrize("contents", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_test_tensor_that_is_no_array(package: Package, contents: bytes):
    folder = package()
    (folder / "in.npy").write_bytes(contents)
    with pytest.raises(InputError, match=r"'in\.npy' is no \.npy array"):
        bioimageio(folder)


def test_a_damaged_member_of_a_zip(package: Package, tmp_path: Path):
    folder, path = package(), tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "in.npy", "in.npy")
        for file in sorted(set(folder.iterdir()) - {folder / "in.npy"}):
            archive.write(file, file.name)
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"p\.zip: 'in\.npy' is damaged"):
        bioimageio(path)


def test_wrong_channels_and_outputs(package: Package, tmp_path: Path):
    folder = package("0.4.10")
    with pytest.raises(ConfigError, match="old squares, 2 channels: say which"):
        bioimageio(folder)
    with pytest.raises(ConfigError, match="reads 2 channels but 1 are named: nucleus"):
        bioimageio(folder, ("nucleus",))
    with pytest.raises(ConfigError, match="gives 1 maps but 2 outputs are named"):
        bioimageio(folder, CHANNELS, outputs="a,b")
    with pytest.raises(InputError, match=r"gone: there is no such bioimage\.io package"):
        bioimageio(tmp_path / "gone")
    (folder / "rdf.yaml").unlink()
    with pytest.raises(InputError, match=r"holds no bioimageio\.yaml or rdf\.yaml"):
        bioimageio(folder)


def test_a_description_that_is_not_yaml(package: Package):
    folder = package()
    (folder / "rdf.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not readable as YAML"):
        bioimageio(folder)


CASES: dict[str, tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "zero_mean_unit_variance": (
        {"axes": ["channel", "x", "y"]},
        lambda x: (x - x.mean()) / (x.std() + 1e-6),
    ),
    "fixed_zero_mean_unit_variance": (
        {"mean": [1, 2], "std": [3, 4], "axis": "channel"},
        lambda x: (x - np.c_[[1, 2]][..., None]) / np.c_[[3, 4]][..., None],
    ),
    "scale_linear": ({"gain": 2.0, "offset": -1.0}, lambda x: 2 * x - 1),
    "scale_range": (
        {"axes": ["x", "y"], "min_percentile": 5, "max_percentile": 90},
        lambda x: np.stack(
            [
                (c - np.percentile(c, 5)) / (np.percentile(c, 90) - np.percentile(c, 5) + 1e-6)
                for c in x
            ]
        ),
    ),
    "clip": ({"min": 1.0, "max": 3.0}, lambda x: np.minimum(np.maximum(x, 1), 3)),
    "binarize": ({"threshold": 2.0}, lambda x: (x > 2).astype(float)),
    "sigmoid": ({}, expit),
    "softmax": ({"axis": "channel"}, lambda x: softmax(x, 0)),
    "ensure_dtype": ({"dtype": "uint8"}, lambda x: x.astype(np.uint8)),
}


@pytest.mark.parametrize("name", CASES)
def test_steps(name: str, rng: np.random.Generator):
    arguments, by_hand = CASES[name]
    values = rng.normal(2, 2, (2, 9, 11)).astype(np.float32)
    got = steps([{"id": name, "kwargs": arguments}], "raw", "p")(values)
    np.testing.assert_allclose(got, by_hand(values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_probabilities_of_a_network_in_half_precision_are_not(name: str, rng: np.random.Generator):
    arguments, by_hand = CASES[name]
    values = rng.normal(4, 2, (2, 9, 11)).astype(np.float16)
    got = steps([{"id": name, "kwargs": arguments}], "raw", "p")(values)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, by_hand(values.astype(np.float64)), atol=1e-6)


def test_epsilon_is_the_packages(rng: np.random.Generator):
    """bioimageio.core 0.11 reads it and then uses 1e-6; the format says what is meant."""
    values = rng.normal(2, 2, (2, 9, 11)).astype(np.float32)
    declared = {
        "id": "zero_mean_unit_variance",
        "kwargs": {"axes": ["channel", "x", "y"], "eps": 1},
    }
    got = steps([declared], "raw", "p")(values)
    np.testing.assert_allclose(
        got, (values - values.mean()) / (values.std() + 1), rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_steps_are_bioimageio_cores(name: str, rng: np.random.Generator):
    pytest.importorskip("bioimageio.core")
    from bioimageio.core import AxisId, MemberId, Sample, Tensor, proc_ops
    from bioimageio.core.stat_calculators import compute_measures
    from bioimageio.spec.model import v0_5
    from pydantic import TypeAdapter

    values = rng.normal(2, 2, (2, 9, 11)).astype(np.float32)
    step = {"id": name} | ({"kwargs": CASES[name][0]} if CASES[name][0] else {})
    described = TypeAdapter(v0_5.PostprocessingDescr | v0_5.PreprocessingDescr).validate_python(
        step
    )
    member = MemberId("raw")
    sample = Sample(
        members={member: Tensor(values[None], tuple(map(AxisId, ("batch", "channel", "y", "x"))))},
        stat={},
        id="s",
    )
    operator = getattr(proc_ops, "".join(map(str.capitalize, name.split("_"))))
    process = operator.from_proc_descr(described, member)
    sample.stat = compute_measures(process.required_measures, [sample])
    process(sample)
    theirs = np.asarray(sample.members[member].data)[0]
    np.testing.assert_allclose(steps([step], "raw", "p")(values), theirs, rtol=1e-4, atol=1e-5)


def test_older_words_of_0_4(rng: np.random.Generator):
    values = rng.normal(2, 2, (2, 9, 11)).astype(np.float32)
    fixed = {"axes": "xy", "mode": "fixed", "mean": [1, 2], "std": [3, 4]}
    got = steps([{"name": "zero_mean_unit_variance", "kwargs": fixed}], "raw", "p")(values)
    by_hand = (values - np.c_[[1, 2]][..., None]) / np.c_[[3, 4]][..., None]
    np.testing.assert_allclose(got, by_hand, rtol=1e-5)
    with pytest.raises(InputError, match="mode 'per_dataset'"):
        steps([{"name": "scale_range", "kwargs": {"mode": "per_dataset"}}], "raw", "p")


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


@pytest.mark.parametrize("name", ["weights.onnx", "in.npy", "rdf.yaml"])
def test_links_that_lead_out_of_the_package_are_not_followed(
    package: Package, tmp_path: Path, name: str
):
    folder = package()
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"'{name}' is a link that leads out of the package"):
        bioimageio(folder, CHANNELS)


def test_links_within_the_package_are_files_like_others(package: Package):
    folder = package()
    (folder / "weights.onnx").rename(folder / "w")
    (folder / "weights.onnx").symlink_to("w")
    assert bioimageio(folder, CHANNELS).provenance.teacher == "squares"


def test_weights_outside_of_the_onnx_file_are_not_read(package: Package):
    folder = package()
    model = onnx.load(folder / "weights.onnx")
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="in.npy")
    (folder / "weights.onnx").write_bytes(model.SerializeToString())
    description = yaml.safe_load((folder / "rdf.yaml").read_text())
    description["weights"]["onnx"]["sha256"] = sha256_of_file(folder / "weights.onnx")
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(InputError, match="stored in another file, which a package does not allow"):
        bioimageio(folder, CHANNELS)


def test_a_key_that_stands_twice_is_refused(package: Package):
    folder = package()
    path = folder / "rdf.yaml"
    path.write_text(path.read_text() + "name: another\n")
    with pytest.raises(InputError, match="the key 'name' stands twice"):
        bioimageio(folder, CHANNELS)


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
