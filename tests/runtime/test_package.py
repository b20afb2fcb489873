import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_packages import make_package
from PIL import Image as Picture

from abbe.errors import PackageError
from abbe.runtime.package import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    describe_file,
    read_package,
    write_description,
)


@pytest.fixture
def folder(tmp_path):
    return make_package(tmp_path / "package")


def change(folder: Path, **values: object) -> None:
    """Put other values into package.json, past all checks."""
    path = folder / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_is_written_is_read_again(folder):
    package = read_package(folder)
    assert package.description.outputs == ("foreground", "boundary")
    assert package.file("onnx") == folder / "model.onnx"
    write_description(folder, package.description)
    assert read_package(folder) == package


def test_a_folder_without_a_description_is_no_package(tmp_path):
    with pytest.raises(PackageError, match=r"package\.json is missing"):
        read_package(tmp_path)


@pytest.mark.parametrize("version", [1, 2])
def test_packages_of_older_formats_throw_away_their_halo(folder, version):
    path = folder / DESCRIPTION
    values = json.loads(path.read_text())
    assert values.pop("context") is None
    path.write_text(json.dumps(values | {"format": version}))
    description = read_package(folder).description
    assert (description.format, description.halo, description.margin) == (version, 32, 32)


def test_context_and_halo_are_two_numbers(tmp_path):
    description = read_package(make_package(tmp_path / "p", halo=96, context=16)).description
    assert (description.format, description.halo, description.margin) == (6, 96, 16)


@pytest.mark.parametrize("version", [0, 7, "1", True, None, [1]])
def test_another_format_is_refused_with_its_number(folder, version):
    change(folder, format=version)
    with pytest.raises(PackageError, match="this version of Abbe reads formats 1, 2, 3, 4, 5, 6"):
        read_package(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"divisor": 0}, "divisor: "),
        ({"tile": 10**9}, "tile: "),
        ({"tile": 100}, "multiples of the divisor"),
        ({"halo": 64}, "halo 64 px: nothing is left of a tile"),
        ({"context": 64}, "context 64 px: nothing is left of a tile"),
        ({"context": 8}, "multiples of the divisor"),
        ({"context": -16}, "context: "),
        ({"format": 2, "context": 16}, "2 knows no context; 3 does"),
        ({"channels": []}, "channels: "),
        ({"channels": ["a", "a"]}, "stands twice"),
        ({"channels": ["c"] * 10_000}, "channels: "),
        ({"outputs": ["boundary"]}, "called 'foreground'"),
        ({"pixel_size": -1}, "pixel_size: "),
        ({"pixel_size": "NaN"}, "pixel_size: "),
        ({"thresholds": {"foreground": 2}}, "thresholds.foreground: "),
        ({"normalisation": {"kind": "percentile", "low": 99, "high": 1}}, "low must be below high"),
        ({"name": "../../etc"}, "name: "),
        ({"files": {}}, "files.onnx: a segmentation package needs it"),
        ({"task": "classification"}, "names at least two"),
        ({"task": "promptable"}, "encoder_onnx"),
        ({"task": "regions", "outputs": [], "classes": ["a"]}, "names at least two"),
        ({"task": "regions", "classes": ["a", "b"]}, "no maps but classes"),
        ({"task": "regions", "outputs": [], "classes": ["a", "b"]}, r"instances\.rule"),
        ({"instances": {"rule": "components"}}, r"instances\.rule"),
        ({"format": 2, "normalisation": {"kind": "tile_percentile"}}, "with classification only"),
        ({"format": 3, "normalisation": {"kind": "range"}}, "normalisations range and none"),
        ({"format": 2, "normalisation": {"kind": "none"}}, "normalisations range and none"),
        ({"format": 3, "standardised": {"mean": [0.5], "std": [0.5]}}, "nor standardised; 4 does"),
        ({"standardised": {"mean": [0.5], "std": [0.5, 0.5]}}, "as many values as each other"),
        ({"standardised": {"mean": [0.5], "std": [0.0]}}, r"standardised\.std"),
        ({"format": 4, "object_diameter": 20}, "4 knows no object_diameter; 5 does"),
        ({"object_diameter": 0}, "object_diameter: "),
        ({"normalisation": {"kind": "z-score"}}, r"normalisation\.kind"),
    ],
)
def test_impossible_values_are_refused_by_their_key(folder, values, message):
    change(folder, **values)
    with pytest.raises(PackageError, match=message):
        read_package(folder)


@pytest.mark.parametrize(
    "path", ["../model.onnx", "/etc/model.onnx", "a/../../model.onnx", "C:\\model.onnx", "\\x.onnx"]
)
def test_paths_may_not_lead_out_of_the_folder(folder, path):
    file = json.loads((folder / DESCRIPTION).read_text())["files"]["onnx"]
    change(folder, files={"onnx": file | {"path": path}})
    with pytest.raises(PackageError, match="leads out of the package"):
        read_package(folder)


def test_links_may_not_lead_out_of_the_folder(folder, tmp_path):
    (folder / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(PackageError, match="leads out of the package"):
        read_package(folder).file("onnx")


def test_huge_sizes_are_refused_before_anything_is_read(folder):
    file = json.loads((folder / DESCRIPTION).read_text())["files"]["onnx"]
    change(folder, files={"onnx": file | {"bytes": 1 << 50}})
    with pytest.raises(PackageError, match=r"files\.onnx\.bytes"):
        read_package(folder)


def test_a_huge_description_is_not_parsed(folder):
    (folder / DESCRIPTION).write_text(" " * (LARGEST_DESCRIPTION + 1))
    with pytest.raises(PackageError, match="a description has at most"):
        read_package(folder)


def test_a_missing_file_is_named(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(PackageError, match=r"model\.onnx: the package names this file"):
        read_package(folder).file("onnx")


@pytest.mark.parametrize("tail", [b"x", b""])
def test_a_changed_file_is_not_used(folder, tail):
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[:-1] + tail)
    with pytest.raises(PackageError, match="not the file that was packed"):
        read_package(folder).file("onnx")


@pytest.mark.parametrize("name", ["weights.pt", "deep/inside/x.PKL", ".hidden.pickle"])
def test_pickles_are_refused_wherever_they_lie(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(PackageError, match="holds no pickles"):
        read_package(folder)


def test_a_role_takes_no_other_kind_of_file(folder):
    file = json.loads((folder / DESCRIPTION).read_text())["files"]["onnx"]
    change(folder, files={"onnx": file, "weights": file | {"path": "weights.bin"}})
    with pytest.raises(PackageError, match=r"must end in \.safetensors"):
        read_package(folder)


def test_a_network_of_two_files_is_whole(folder):
    file = json.loads((folder / DESCRIPTION).read_text())["files"]["onnx"]
    change(folder, files={"onnx": file, "openvino_xml": file | {"path": "model.xml"}})
    with pytest.raises(PackageError, match="weights \\(_bin\\) are missing"):
        read_package(folder)


def what_is_read(folder: Path) -> str:
    """The package, or why it is refused; anything else that is raised fails the test."""
    try:
        return repr(read_package(folder))
    except PackageError as error:
        return str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_description_is_read_or_refused_in_words(tmp_path_factory, data):
    folder = make_package(tmp_path_factory.mktemp("fuzz") / "package")
    description = json.loads((folder / DESCRIPTION).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        spot, key = description, data.draw(st.sampled_from(sorted(description)))
        while isinstance(spot[key], dict) and spot[key] and data.draw(st.booleans()):
            spot, key = spot[key], data.draw(st.sampled_from(sorted(spot[key])))
        spot[key] = data.draw(json_values)
    (folder / DESCRIPTION).write_text(json.dumps(description))
    assert str(folder) in what_is_read(folder)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cut=st.integers(0, 4000), put=st.binary(max_size=12))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory, cut, put):
    folder = make_package(tmp_path_factory.mktemp("fuzz") / "package")
    path = folder / DESCRIPTION
    text = path.read_bytes()
    path.write_bytes(text[: cut % len(text)] + put + text[cut % len(text) + len(put) :])
    assert str(folder) in what_is_read(folder)


def test_a_package_tells_what_it_is_and_shows_its_test_image(folder):
    package = read_package(folder)
    assert repr(package) == f"Package('{folder}', segmentation, channels nucleus)"
    html = package._repr_html_()
    assert "<b>Bright blobs</b>" in html
    assert "images as they are" in html
    assert "<img" not in html  # there is no test image
    Picture.fromarray(np.tile(np.arange(48, dtype=np.uint8), (32, 1))).save(folder / "test.png")
    files = {**package.description.files, "test_image": describe_file(folder, "test.png")}
    changes = {"files": files, "title": "<script>", "pixel_size": 0.5}
    write_description(folder, package.description.model_copy(update=changes))
    html = read_package(folder)._repr_html_()
    assert "<script>" not in html
    assert "0.5 µm" in html
    data = html.partition("data:image/png;base64,")[2].partition("'")[0]
    with Picture.open(io.BytesIO(base64.b64decode(data))) as shown:
        assert shown.size == (48, 32)
        assert shown.convert("RGB").getpixel((47, 0)) == (255, 255, 255)
    (folder / "test.png").write_bytes(b"damaged")
    assert "not the file that was packed" in read_package(folder)._repr_html_()


def test_a_package_stands_for_its_folder(folder):
    package = read_package(folder)
    assert read_package(package) == package
