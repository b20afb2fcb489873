import json

import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import blobs, make_package

from abbe.runtime.bench.speed import EAGER, bench
from abbe.runtime.package import describe_file, read_package
from abbe.runtime.tiling.timing import PARTS


@pytest.mark.slow
def test_bench_measures_every_engine_and_writes_figures_and_a_picture(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = make_package(tmp_path / "package")
    tifffile.imwrite(tmp_path / "a.tif", blobs(200, 210))
    words = "--repeats", 2, "--json", tmp_path / "b.json", "--picture", tmp_path / "b.png"
    assert abbe("bench", package, tmp_path / "a.tif", *words) == 0
    figures = json.loads((tmp_path / "b.json").read_text("utf-8"))
    assert set(figures["milliseconds"]) >= {"openvino/fp32", "onnxruntime/fp32"}
    assert "openvino/int8" in figures["left_out"]
    jobs = figures["jobs"].values()
    assert {job["objects"] for job in jobs} == {next(iter(jobs))["objects"]} != {0}
    for job in jobs:
        assert job["megapixels"] == pytest.approx(0.042)
        assert set(job["parts"]) == set(PARTS)
        assert 50 < job["peak_mib"] < 1000
    assert all(0 < seconds < 60 for seconds in figures["cold_start"].values())
    assert figures["unsuitable"] == {}
    assert (tmp_path / "b.png").read_bytes()[:4] == b"\x89PNG"
    said = capsys.readouterr().out
    assert "cold start" in said
    assert "openvino/fp32" in said


def test_a_package_without_a_test_image_needs_images(tmp_path, capsys):
    assert abbe("bench", make_package(tmp_path / "package"), "--repeats", 1) == 1
    assert "it has no test image; name images" in capsys.readouterr().err


QUICK = "--repeats", 1, "--no-cold"


def test_images_of_folders_are_measured_and_unsuitable_ones_listed(tmp_path, capsys):
    """Two images may have one name in two folders; what cannot be read does not end the rest."""
    package = make_package(tmp_path / "package")
    for name in ("a", "b"):
        (tmp_path / "nest" / name).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "nest" / name / "x.tif", blobs(40, 50))
    np.save(tmp_path / "nest" / "colour.npy", np.zeros((3, 40, 50), np.uint8))
    out = tmp_path / "b.json"
    assert abbe("bench", package, tmp_path / "nest", "--json", out, *QUICK) == 1
    figures = json.loads(out.read_text("utf-8"))
    assert {job["images"] for job in figures["jobs"].values()} == {2}
    assert list(figures["unsuitable"]) == [str(tmp_path / "nest" / "colour.npy")]
    assert "left out: 1 image\n" in capsys.readouterr().out


def test_names_of_channels_and_pixel_sizes_can_be_given(tmp_path, capsys):
    package = make_package(tmp_path / "package", pixel_size=0.5)
    np.save(tmp_path / "two.npy", np.stack([blobs(40, 50)] * 2))
    words = "bench", package, tmp_path / "two.npy", *QUICK
    assert abbe(*words) == 1
    assert "none of 1 image suits the package" in capsys.readouterr().err
    out = tmp_path / "b.json"
    told = "--channels", "nucleus", "other", "--pixel-size", "0.5"
    assert abbe(*words, "--json", out, *told) == 0
    jobs = json.loads(out.read_text("utf-8"))["jobs"]
    assert jobs["openvino/fp32"]["megapixels"] == pytest.approx(0.002)


def test_a_damaged_network_is_an_error(tmp_path, capsys):
    package = make_package(tmp_path / "package")
    tifffile.imwrite(tmp_path / "a.tif", blobs(40, 50))
    (package / "model.onnx").write_bytes(b"damaged")
    assert abbe("bench", package, tmp_path / "a.tif", *QUICK) == 1
    assert "this is not the file that was packed" in capsys.readouterr().err


def test_a_job_that_fails_says_why():
    from abbe.errors import ConfigError
    from abbe.runtime.bench.common import in_child

    with pytest.raises(ConfigError, match="nowhere: holds no package"):
        in_child("abbe.runtime.bench.speed:job_in_child", {"package": "nowhere"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--repeats", 0), "--repeats 0: at least 1"),
        (("--side", 0), "--side 0: at least 1"),
        (("--threads", -1), "--threads -1: at least 1"),
        (("--channels", "nucleus"), "name images"),
        (("--picture", "b.xyz"), "must end in .png or .svg"),
        (("--picture", "missing/b.png"), "a folder that exists"),
        (("--json", "missing/b.json"), "a folder that exists"),
        (("--check", "--repeats", 1), "--repeats: --check runs the test image alone"),
        (("--check", "--no-cold"), "--no-cold: --check"),
        (("--check",), "no test image with the answer expected"),
    ],
)
def test_arguments_are_refused_before_anything_is_measured(
    tmp_path, monkeypatch, capsys, words, message
):
    package = make_package(tmp_path / "package")
    (package / "model.onnx").unlink()  # whoever opened it would say so
    monkeypatch.chdir(tmp_path)
    assert abbe("bench", package, *words) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_eager_torch_is_timed_beside_the_engines(tmp_path):
    students = pytest.importorskip("abbe.students")
    student = students.build("unet-mobilenetv3", in_channels=1, encoder_weights="random")
    folder = make_package(tmp_path / "package")
    students.save(folder / "model.safetensors", student, {})
    tifffile.imwrite(folder / "test.tif", blobs(64, 64))
    package = read_package(folder)
    files = {
        **package.description.files,
        "weights": describe_file(folder, "model.safetensors"),
        "test_image": describe_file(folder, "test.tif"),
    }
    changed = type(package)(folder, package.description.model_copy(update={"files": files}))
    from abbe.runtime.package import write_description

    write_description(folder, changed.description)
    result = bench(read_package(folder), side=96, repeats=1, compare=True, cold=False)
    assert result.milliseconds[EAGER] > 0
    assert next(iter(result.jobs.values())).megapixels == pytest.approx(96**2 / 1e6)
