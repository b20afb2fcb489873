"""A run of files: used from anywhere, moved with its data or without, and what it notes of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import TINY, TWIN_ALONE, abbe, told
from network_watch import STOPPED
from network_watch import run as watched
from PIL import Image as Picture

from abbe import config
from abbe.errors import ConfigError
from abbe.files import write_text
from abbe.imaging import write_labels
from abbe.runs.folder import open_run

TURNED = "It was turned upright, as its orientation 3 says."


def save_turned(path: Path, pixels: np.ndarray) -> None:
    """A PNG that lies on its head, with the orientation that says so."""
    exif = Picture.Exif()
    exif[274] = 3
    Picture.fromarray(pixels[::-1, ::-1]).save(path, exif=exif)


def make_discs(root: Path) -> None:
    """Eight images of discs with labels, half of them to train, and the masks of a teacher."""
    images, labels = root / "discs" / "images", root / "discs" / "labels"
    images.mkdir(parents=True)
    labels.mkdir()
    random = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    rows = ["image,split"]
    for number, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 2):
        found = np.zeros((64, 64), np.uint8)
        for value, (down, right) in enumerate(random.integers(12, 52, (3, 2)), start=1):
            found[(y - down) ** 2 + (x - right) ** 2 < 64] = value
        pixels = np.where(found > 0, 200, 20).astype(np.uint8)
        Picture.fromarray(pixels).save(images / f"{number}.png")
        write_labels(labels / f"{number}.png", found.astype(np.int32))
        write_labels(root / "masks" / f"{number}.png", found.astype(np.int32))
        rows.append(f"{number},{split}")
        if number == 1:
            save_turned(images / "1.png", pixels)
        if number == 7:
            save_turned(labels / "7.png", found)
    write_text(root / "discs" / "index.csv", "\n".join(rows))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of work: data, masks and a run, all named as one names them there."""
    project = tmp_path_factory.mktemp("trained") / "project"
    make_discs(project)
    words = ["--data.path", "discs", "--data.channels", "nucleus", "--teacher.kind", "masks"]
    words += ["--teacher.path", "masks", *TWIN_ALONE, *TINY, "--out", "runs/a"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        assert abbe("distill", "cmkd", *words) == 0
    return project


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "project"))


@pytest.mark.slow
def test_what_is_noted_of_images_and_labels_reaches_summary_and_report(trained):
    data = told(open_run(trained / "runs" / "a"))["data"]
    assert data["image_notes"] == {TURNED: ["1"]}
    assert data["label_notes"] == {TURNED: ["7"]}
    page = (trained / "runs" / "a" / "report.html").read_text("utf-8")
    assert "Noted when images were read" in page
    assert f"1 image (1): {TURNED.rstrip('.')}" in page
    assert f"1 label (7): {TURNED.rstrip('.')}" in page


EXPORT = ["--images", "1", "--int8", "none", "--threads", "1", "--tile", "160"]


@pytest.mark.slow
def test_a_run_is_used_from_anywhere_with_its_data_or_without(
    project, tmp_path, monkeypatch, capsys
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = project / "runs" / "a"
    assert abbe("evaluate", run, "--name", "one", "--data.path", project / "discs") == 0
    said = "discs: the one channel of its images, grey, is taken for nucleus"
    assert said in capsys.readouterr().out
    assert config.load(run / "config.yaml").data.path == project / "discs"
    # Run and data move together; what is resumed learns and is taught from where they are now.
    moved = Path(shutil.move(project, tmp_path / "further" / "moved"))
    run = moved / "runs" / "a"
    assert abbe("distill", run, "--resume", "--baselines", "twin", "supervised") == 0
    assert "supervised" in told(open_run(run))["models"]
    assert config.load(run / "config.yaml").data.path == moved / "discs"
    # The run moves alone.
    run = Path(shutil.move(run, tmp_path / "a"))
    assert config.load(run / "config.yaml").teacher.path == moved / "masks"
    export(run, tmp_path)


def export(run: Path, work: Path) -> None:
    """The run knows no pixel size, so one is stated; nothing is sent meanwhile."""
    (work / "home").mkdir()
    words = ["export", str(run), "--out", "package", "--pixel-size", "0.5", *EXPORT]
    done = watched(
        f"{STOPPED}\nfrom abbe.cli import main\nassert main({words}) == 0", work / "home", work
    )
    assert done.returncode == 0, done.stderr
    assert "network:" not in done.stdout + done.stderr
    assert json.loads((work / "package" / "package.json").read_text("utf-8"))["pixel_size"] == 0.5
    card = (work / "package" / "README.md").read_text("utf-8")
    assert " at 0.5 µm per px (" in card
    assert "For which pixel size it was made is not known" not in card


def experiment(**sections) -> config.Experiment:
    teacher, student = {"kind": "masks", "path": "nothing"}, {"encoder_weights": "random"}
    values = {"recipe": "cmkd", "out": "runs/a", "teacher": teacher, "student": student}
    return config.parse({**values, **sections}, "here")


def written(file: Path) -> dict:
    return yaml.safe_load(file.read_text("utf-8"))


def test_every_path_is_kept_by_one_rule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("data/expert", "tiles", "teacher", "runs/a", "nuclei"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("splits.csv", "encoder.safetensors", "prompts.json", "runs/a/own.pt"):
        (tmp_path / file).touch()
    made = experiment(
        data={"path": str(tmp_path / "data"), "split": "splits.csv",
              "labels": str(tmp_path / "data/expert"), "group": "tiles"},
        teacher={"kind": "sam", "path": "runs/a/own.pt",
                 "options": {"prompt_file": "prompts.json", "prompts": "teacher"}},
        student={"encoder_weights": "encoder.safetensors"},
    )  # fmt: skip
    file = tmp_path / "runs" / "a" / "config.yaml"
    config.save(made, file)
    found = written(file)
    assert found["paths_from"] == str(file.parent)
    assert found["data"]["path"] == "../../data"
    assert found["data"]["labels"] == "expert"
    assert found["data"]["split"] == "../../splits.csv"
    assert found["data"]["group"] == "tiles"  # a column, whatever lies beside it
    assert found["teacher"]["path"] == "./own.pt"
    assert found["teacher"]["options"] == {"prompt_file": "../../prompts.json",
                                           "prompts": "teacher"}  # fmt: skip
    assert found["student"]["encoder_weights"] == "../../encoder.safetensors"
    there = tmp_path / "tiles"
    monkeypatch.chdir(there)
    read = config.load(file)
    assert read.data.path == tmp_path / "data"
    assert read.data.split == str(tmp_path / "splits.csv")
    assert read.teacher.path == tmp_path / "runs/a/own.pt"
    assert read.teacher.options["prompt_file"] == str(tmp_path / "prompts.json")
    assert read.student.encoder_weights == tmp_path / "encoder.safetensors"
    monkeypatch.chdir(tmp_path)
    assert config.load(file).data.path == Path("data")  # as one types it here


def test_names_are_no_paths(tmp_path, monkeypatch):
    """Folders of images are often called like a package or a model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nuclei").mkdir()
    for kind, name in (("package", "nuclei"), ("torch", "my.module:net"), ("cellpose", "nuclei")):
        made = experiment(data={"path": "gone"}, teacher={"kind": kind, "path": name})
        config.save(made, tmp_path / "config.yaml")
        assert "paths_from" not in written(tmp_path / "config.yaml")
        assert config.load(tmp_path / "config.yaml") == made
    made = experiment(student={"encoder_weights": "nuclei"}, data={"path": "nuclei"})
    config.save(made, tmp_path / "config.yaml")
    assert written(tmp_path / "config.yaml")["student"]["encoder_weights"] == "nuclei"
    (tmp_path / "nuclei" / "package.json").touch()
    config.save(made, tmp_path / "config.yaml")
    assert written(tmp_path / "config.yaml")["student"]["encoder_weights"] == "./nuclei"


def test_data_beside_the_run_go_before_those_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "old" / "data").mkdir(parents=True)
    (tmp_path / "new" / "data").mkdir(parents=True)
    made = experiment(data={"path": str(tmp_path / "old" / "data")})
    config.save(made, tmp_path / "old" / "config.yaml")
    shutil.copy(tmp_path / "old" / "config.yaml", tmp_path / "new" / "config.yaml")
    assert config.load(tmp_path / "new" / "config.yaml").data.path == tmp_path / "new" / "data"
    (tmp_path / "new" / "data").rmdir()
    assert config.load(tmp_path / "new" / "config.yaml").data.path == tmp_path / "old" / "data"
    (tmp_path / "old" / "data").rmdir()  # the place that is named is where they were
    assert config.load(tmp_path / "new" / "config.yaml").data.path == tmp_path / "old" / "data"


def test_runs_of_earlier_versions_have_the_paths_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = experiment(data={"path": "../data"}).model_dump(mode="json")
    (tmp_path / "runs").mkdir()
    write_text(tmp_path / "runs" / "config.yaml", yaml.safe_dump(values))
    assert config.load(tmp_path / "runs" / "config.yaml").data.path == Path("../data")


def test_a_note_that_is_no_folder_is_named(tmp_path):
    write_text(tmp_path / "config.yaml", "recipe: cmkd\npaths_from: [1]\n")
    with pytest.raises(ConfigError, match=r"paths_from: must be the path of a folder"):
        config.load(tmp_path / "config.yaml")
