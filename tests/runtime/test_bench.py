import json

import pytest
import tifffile
from commands import abbe
from made_packages import blobs, make_package

from abbe.runtime.bench import EAGER, bench
from abbe.runtime.package import describe_file, read_package
from abbe.runtime.timing import PARTS


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
    assert (tmp_path / "b.png").read_bytes()[:4] == b"\x89PNG"
    said = capsys.readouterr().out
    assert "cold start" in said
    assert "openvino/fp32" in said


def test_a_package_without_a_test_image_needs_images(tmp_path, capsys):
    assert abbe("bench", make_package(tmp_path / "package"), "--repeats", 1) == 1
    assert "it has no test image; name images" in capsys.readouterr().err


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
