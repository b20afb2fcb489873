"""The packages that come with Abbe: small, free to give away, at hand, and good for something."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import abbe
from abbe.cli import main
from abbe.datasets import simulated_tissue
from abbe.runtime.bench.check import check_package
from abbe.runtime.package import read_package, shipped
from abbe.scoring import instance_scores

ROOT = Path(__file__).parents[1]
NAMES = ("nuclei", "nuclei-he")
MOST, MOST_TOGETHER = 8_000_000, 20_000_000
"""Bytes of a package, and of all, that everybody downloads who installs Abbe."""
NOT_OURS = ("dsb2018/images", "/work", "/root", "/home")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_there_are_as_many_as_are_told_and_they_are_small():
    assert tuple(shipped()) == NAMES
    sizes = {name: size(folder) for name, folder in shipped().items()}
    assert all(each <= MOST for each in sizes.values()), sizes
    assert sum(sizes.values()) <= MOST_TOGETHER, sizes


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_was_trained_on_and_may_be_given_away(name):
    told = read_package(name).description
    lineage = told.lineage
    assert (told.name, lineage.dataset_licence) == (name, "CC0-1.0")
    assert "Apache-2.0" in lineage.weights_licence
    assert "not stated" not in lineage.weights_licence
    assert lineage.teacher == "none"
    assert told.object_diameter is not None
    assert 10 < told.object_diameter < 40
    assert told.training["models"]["student"]["metrics"]["f1@0.5"]["ci95"][0] > 0.5  # pyright: ignore


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_the_one_declared_and_tells_nothing_of_a_machine(name):
    package = read_package(name)
    declared = {package.file(role).name for role in package.description.files}
    assert declared | {"package.json"} == {path.name for path in package.folder.iterdir()}
    for path in package.folder.iterdir():
        text = path.read_bytes()
        assert not any(word.encode() in text for word in NOT_OURS), path.name


@pytest.mark.parametrize("name", NAMES)
def test_each_answers_here_as_where_it_was_made(name):
    checked = check_package(read_package(name))
    assert checked.engines.keys() >= {"openvino/fp32", "openvino/int8"}
    assert checked.wrong == []
    assert checked.engines["openvino/int8"].otherwise < 0.05


@pytest.fixture(scope="module")
def tissue() -> list[tuple[np.ndarray, np.ndarray]]:
    """Simulated nuclei and their labels; nothing that a package was trained on."""
    made = simulated_tissue(3, size=256, seed=11, channels=("nucleus",), label="nucleus")
    return [(record.image.open().read()[0], record.label.read()) for record in made if record.label]


def test_nuclei_counts_simulated_ones(tissue):
    for pixels, label in tissue:
        found = abbe.predict("nuclei", pixels)
        count = len(np.unique(label[label > 0]))
        assert found.max() == pytest.approx(count, rel=0.25)
        assert instance_scores(found, label)["f1@0.5"] > 0.6


def test_nuclei_at_another_scale_need_their_diameter(tissue):
    pixels, label = tissue[0]
    large = np.kron(pixels, np.ones((4, 4), pixels.dtype))
    truth = np.kron(label, np.ones((4, 4), label.dtype))
    scores = {
        diameter: instance_scores(abbe.predict("nuclei", large, diameter=diameter), truth)["f1@0.5"]
        for diameter in (None, "auto")
    }
    assert scores["auto"] > max(0.6, scores[None])


def test_the_command_of_the_first_minute(tissue, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for place, (pixels, _) in enumerate(tissue):
        np.save(f"images/{place}.npy", pixels)
    assert main(["predict", "nuclei", "images/"]) == 0
    assert sorted(path.name for path in Path("nuclei-results").glob("*.tif")) == [
        f"{place}.labels.tif" for place in range(3)
    ]
    assert "3 images" in capsys.readouterr().out


def test_no_torch_is_loaded():
    code = (
        "import sys, numpy, abbe\n"
        "abbe.predict('nuclei', numpy.zeros((64, 64), numpy.uint8))\n"
        "print([name for name in ('torch', 'onnx', 'huggingface_hub') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_models_tells_of_them_first(capsys):
    assert main(["models", "nuclei"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("nuclei: Nuclei in fluorescence")
    assert "nuclei-he: Nuclei in H&E" in told
    assert told.count("CC0-1.0") >= 2


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels"), [("nuclei", 1), ("nuclei-he", 3)])
def test_each_is_an_encoder_to_begin_from(name, channels):
    import torch

    from abbe.students import build, load

    torch.manual_seed(0)
    own, _ = load(read_package(name).file("weights"))
    begun = build(
        own.architecture, in_channels=channels, encoder_weights=Path(name), depth=own.depth,
        decoder_widths=own.decoder_widths,
    )  # fmt: skip
    expected, found = own.encoder.state_dict(), begun.encoder.state_dict()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.slow
def test_the_wheel_brings_them(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("abbe-*.whl")
    with zipfile.ZipFile(wheel) as file:
        inside = set(file.namelist())
    for name, folder in shipped().items():
        for path in folder.iterdir():
            assert f"abbe/starter/{name}/{path.name}" in inside


@pytest.mark.parametrize(("name", "images", "channels"), [("nuclei", 352, 1), ("nuclei-he", 80, 3)])
def test_each_knows_the_images_that_it_must_not_be_tested_on(name, images, channels):
    from abbe.datasets.fingerprints import read_digests

    package = read_package(name)
    listed = package.file("training_images").read_text("ascii").splitlines()
    assert len(listed) == images
    assert len(read_digests(package.file("training_images"))) <= images * channels
