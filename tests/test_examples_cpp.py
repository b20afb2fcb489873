"""The C++ example is built and finds the objects that `abbe.predict` finds, pixel by pixel."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

import abbe
from abbe.runtime.package import read_package

EXAMPLE = Path(__file__).parents[1] / "examples" / "cpp"
PACKAGE = read_package("nuclei")


def options_of(engine, folder):
    """What CMake must be told to find an engine; skips where its headers are not here."""
    if engine == "openvino":
        from openvino.utils import get_cmake_path

        return [f"-DOpenVINO_DIR={get_cmake_path()}"]
    release = Path(os.environ.get("ONNXRUNTIME", "/usr"))
    if not any(release.glob("include/**/onnxruntime_cxx_api.h")):
        pytest.skip("no headers of ONNX Runtime: set ONNXRUNTIME to the folder of its release")
    if any(release.glob("lib/**/libonnxruntime.so")):
        return [f"-DONNXRUNTIME={release}"]
    import onnxruntime  # whose wheel has the library, but no headers

    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
    include = next(release.glob("include/**/onnxruntime_cxx_api.h")).parent
    return [f"-DONNXRUNTIME_INCLUDE={include}", f"-DONNXRUNTIME_LIBRARY={folder / name}"]


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def built(request, tmp_path_factory):
    """An engine, and the program that runs by it."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: the example was not built")
    folder = tmp_path_factory.mktemp(request.param)
    options = [f"-DENGINE={request.param}", *options_of(request.param, folder)]
    for command in (
        ["cmake", "-S", EXAMPLE, "-B", folder / "build", *options],
        ["cmake", "--build", folder / "build"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning:" not in done.stdout + done.stderr
    return request.param, folder / "build" / "segment"


def write_pgm(path, pixels):
    most = np.iinfo(pixels.dtype).max
    head = f"P5 {pixels.shape[1]} {pixels.shape[0]} {most}\n".encode()
    path.write_bytes(head + pixels.astype(pixels.dtype.newbyteorder(">")).tobytes())


def read_pgm(path):
    head, _, content = path.read_bytes().partition(b"\n")
    width, height = map(int, head.split()[1:3])
    return np.frombuffer(content, ">u2").reshape(height, width)


def segmented(program, folder, pixels):
    told = PACKAGE.description
    write_pgm(folder / "image.pgm", pixels)
    rule = told.thresholds.foreground, told.thresholds.boundary, told.instances.minimum_area
    files = PACKAGE.file("onnx"), folder / "image.pgm", folder / "labels.pgm"
    done = subprocess.run(
        [program, *files, *map(str, rule)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return read_pgm(folder / "labels.pgm")


@pytest.mark.slow
def test_its_labels_are_those_of_predict(built, tmp_path):
    engine, program = built
    picture = tifffile.imread(PACKAGE.file("test_image")).squeeze()
    grey = (picture / picture.max() * 255).astype(np.uint8)
    twice = np.hstack([grey, grey[::-1]])  # 512 px wide, a whole tile
    for pixels in (picture, picture[:250, :249], twice, np.full((64, 64), 7, np.uint8)):
        expected = abbe.predict(PACKAGE, pixels, engine=engine, precision="fp32")
        assert expected.max() > 80 or pixels.min() == pixels.max()
        np.testing.assert_array_equal(segmented(program, tmp_path, pixels), expected)


@pytest.mark.slow
def test_what_it_cannot_read_is_told(built, tmp_path):
    (tmp_path / "cut.pgm").write_bytes(b"P5 64 64 255\nabc")
    command = [built[1], PACKAGE.file("onnx"), tmp_path / "cut.pgm", tmp_path / "out.pgm"]
    done = subprocess.run(
        [*command, "0.5", "0.5", "15"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"segment: {tmp_path / 'cut.pgm'}: is cut\n"
    assert not (tmp_path / "out.pgm").exists()
