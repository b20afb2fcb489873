"""How a run's images reach its network: decided once, kept with the run, and read back from it."""

import json
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from commands import abbe
from PIL import Image as Picture
from safetensors.torch import save_file

import abbe as package_of_abbe
from abbe import config, students
from abbe.datasets import folder as folder_of_images
from abbe.errors import ConfigError
from abbe.imaging import PERCENTILE, Scaling, normalise, open_image, percentile_limits
from abbe.runs import build
from abbe.runs import folder as run_folder
from abbe.runs.normalising import decided, usual
from abbe.runtime.package import read_package
from abbe.students.standardisation import standardised_in
from abbe.teachers import run as run_teacher

SIDE = 64


def set_of(root: Path, pictures: list[np.ndarray], **written) -> Path:
    """A folder of images with discs as labels, split in three parts."""
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    rows = ["id,split"]
    grid = np.mgrid[:SIDE, :SIDE]
    for number, pixels in enumerate(pictures):
        Picture.fromarray(pixels).save(root / "images" / f"i{number}.png")
        disc = np.hypot(grid[0] - 30, grid[1] - 20 - number) < 9
        Picture.fromarray(disc.astype(np.uint8) * 255).save(root / "labels" / f"i{number}.png")
        rows.append(f"i{number},{('train', 'val', 'test')[number % 3]}")
    (root / "index.csv").write_text("\n".join(rows))
    return root


def random_pictures(top: int, *, channels: int = 1, dtype: type = np.uint8, count: int = 6):
    """Evenly spread values from 0 up to ``top``."""
    drawn = np.random.default_rng(0)
    shape = (SIDE, SIDE, channels) if channels > 1 else (SIDE, SIDE)
    return [drawn.integers(0, top + 1, shape).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize(
    ("pictures", "channels", "expected"),
    [
        (random_pictures(90, channels=3), None, "range"),  # a dark colonoscopy is dark
        (random_pictures(250), None, "range"),  # ultrasound, bright field
        (random_pictures(130), None, "range"),
        (random_pictures(120), None, "percentile"),  # fluorescence saved as 8-bit
        (random_pictures(250), ("nucleus",), "percentile"),  # a name says that it is a stain
        (random_pictures(60_000, dtype=np.uint16), None, "percentile"),
        (random_pictures(250, channels=3), ("a", "b", "c"), "percentile"),
        (random_pictures(250)[:4] + random_pictures(20)[4:], None, "percentile"),
    ],
)
def test_pictures_keep_their_range_and_microscope_channels_are_stretched(
    pictures, channels, expected, tmp_path
):
    dataset = folder_of_images(set_of(tmp_path / "set", pictures), channels=channels)
    everything = dataset.with_splits(dict.fromkeys(dataset.ids, "train"))
    assert usual(everything, dataset.channels) == expected


def test_one_dark_picture_in_ten_changes_nothing(tmp_path):
    pictures = random_pictures(250, count=19) + random_pictures(20, count=1)
    dataset = folder_of_images(set_of(tmp_path / "set", pictures))
    assert usual(dataset.with_splits(dict.fromkeys(dataset.ids, "train")), ("grey",)) == "range"


def experiment(out: Path, **student) -> config.Experiment:
    values = {"encoder_weights": "random", "input_channels": ["grey"], **student}
    return config.parse({"recipe": "supervised", "out": out, "student": values}, "a test")


def test_a_choice_is_kept_and_auto_is_replaced(tmp_path):
    dataset = folder_of_images(set_of(tmp_path / "set", random_pictures(250)))
    assert decided(experiment(tmp_path), dataset).student.normalisation == "range"
    for choice in ("percentile", "none"):
        asked = experiment(tmp_path, normalisation=choice)
        assert decided(asked, dataset) == asked


def test_a_run_of_an_earlier_version_goes_on_as_it_was_begun(tmp_path):
    """Its config.yaml has no such keys; new ones always have, so that none is taken for it."""
    dataset = folder_of_images(set_of(tmp_path / "set", random_pictures(250)))
    out = tmp_path / "run"
    out.mkdir()
    values = experiment(out).model_dump(mode="json")
    for key in config.EARLIER_INPUT:
        del values["student"][key]
    (out / "config.yaml").write_text(json.dumps(values))
    (out / "log.jsonl").touch()
    asked = decided(config.load(out / "config.yaml"), dataset)
    assert asked.student.normalisation == "percentile"
    assert build.standardisation_of(asked.student) == students.NOTHING
    with run_folder.opened(asked, resume=True) as folder:
        assert folder == out
    other = decided(experiment(out, normalisation="range"), dataset)
    with (
        pytest.raises(ConfigError, match=r"these keys differ: .*student\.normalisation"),
        run_folder.opened(other, resume=True),
    ):
        pass


def test_a_run_keeps_its_choice_when_dark_images_are_added(tmp_path):
    bright = folder_of_images(set_of(tmp_path / "set", random_pictures(250)))
    dark = folder_of_images(set_of(tmp_path / "dark", random_pictures(30)))
    out = tmp_path / "run"
    with run_folder.opened(decided(experiment(out), bright), resume=False):
        (out / "log.jsonl").touch()
    assert decided(experiment(out), dark).student.normalisation == "range"
    assert decided(experiment(tmp_path / "new"), dark).student.normalisation == "percentile"


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"encoder_mean": [0.5]}, "go together"),
        ({"encoder_mean": [0.5], "encoder_std": [0.5, 0.5]}, "as many values as each other"),
        ({"encoder_mean": [0.5], "encoder_std": [0.0]}, "greater than 0"),
        ({"normalisation": "z-score"}, "'auto', 'percentile', 'range' or 'none'"),
    ],
)
def test_keys_that_cannot_be_are_named(student, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        experiment(tmp_path, **student)


def test_a_promptable_student_sees_pictures_as_sam_does(tmp_path):
    values = {
        "recipe": "kdsam", "out": tmp_path, "teacher": {"kind": "sam", "path": "sam.pt"},
        "student": {
            "architecture": "promptable-resnet18", "encoder_weights": "random",
            "normalisation": "range",
        },
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"student\.normalisation: belongs to recipes cmkd, "):
        config.parse(values, "a test")


TINY = shlex.split(
    "--student.architecture unet-mobilenetv3 --student.outputs foreground --training.steps 2 "
    "--training.batch-size 2 --training.crop 32 --training.workers 0 --training.ema 0 "
    "--training.validate-every 2 --training.precision fp32"
)
WIDE = shlex.split("--budget-dice 1 --int8 none --images 2 --threads 1 --tile 160")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    state = timm.create_model("mobilenetv3_small_100").state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return set_of(tmp_path_factory.mktemp("data") / "set", random_pictures(180))


@pytest.fixture(scope="module")
def run(pictures, weights, tmp_path_factory) -> Path:
    """A U-Net on 8-bit grey pictures, from weights that were trained on RGB."""
    out = tmp_path_factory.mktemp("runs") / "pictures"
    words = "--student.input-channels", "grey", "--student.encoder-weights", weights, "--out", out
    assert abbe("distill", "supervised", "--data.path", pictures, *TINY, *words) == 0
    return out


@pytest.mark.slow
def test_a_run_says_what_was_decided_wherever_it_is_read(run, pictures, tmp_path):
    assert config.load(run / "config.yaml").student.normalisation == "range"
    assert json.loads((run / "summary.json").read_text())["normalisation"] == Scaling("range").words
    network, facts = students.load(run / "student.safetensors")
    assert facts["normalisation"] == "range of the pixel type"
    assert standardised_in(network).standardisation.mean == (0.485, 0.456, 0.406)

    image = open_image(pictures / "images" / "i2.png")
    seen = image.read().astype(np.float32) / 255
    teacher = run_teacher(run, device="cpu", precision="fp32")
    assert teacher.provenance.normalisation == "range of the pixel type"
    expected = students.predict(network, seen)
    np.testing.assert_allclose(teacher.predict(image, "a").maps["probability"], expected, atol=1e-5)
    stretched = students.predict(network, normalise(image.read(), percentile_limits(image.read())))
    assert np.abs(stretched - expected).max() > 1e-3  # so that the comparison can fail

    assert abbe("evaluate", run, "--data.path", pictures, "--name", "again") == 0
    own, again = (
        json.loads((folder / "summary.json").read_text())["models"]["student"]["metrics"]
        for folder in (run, run / "evaluations" / "again")
    )
    assert own == again


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_its_package_answers_as_the_student_does(run, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out, zipped = tmp_path / "package", tmp_path / "model.zip"
    assert abbe("export", run, "--out", out, "--bioimageio", zipped, *WIDE) == 0
    description = read_package(out).description
    assert (description.format, description.normalisation.kind) == (6, "range")
    assert description.standardised is not None
    assert description.standardised.mean == (0.485, 0.456, 0.406)
    card = (out / "README.md").read_text()
    assert "what the pixel type holds, such as 0 to 255, becomes 0 to 1" in card
    assert "subtracts 0.485, 0.456, 0.406 and divides by 0.229, 0.224, 0.225" in card

    image = open_image(pictures / "images" / "i2.png")
    network, _ = students.load(run / "student.safetensors")
    expected = students.predict(network, image.read().astype(np.float32) / 255)[0]
    threshold = description.thresholds.foreground
    clear = np.abs(expected - threshold) > 1e-3
    found = package_of_abbe.predict(out, image, precision="fp32")
    assert not (found > 0)[(expected < threshold) & clear].any()
    words = "--results", "probability", "--precision", "fp32", "--out", tmp_path / "maps"
    assert abbe("predict", out, pictures / "images" / "i2.png", *words) == 0
    (maps,) = (tmp_path / "maps").glob("i2*.tif")
    logits = np.log(expected / (1 - expected)) / description.temperature[0]
    told = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(np.squeeze(open_image(maps).read()) / 255, told, atol=0.01)
    assert abbe("bench", out, "--check") == 0

    with zipfile.ZipFile(zipped) as file:
        steps = yaml.safe_load(file.read("rdf.yaml"))["inputs"][0]["preprocessing"]
    by_name = {step["id"]: step.get("kwargs") for step in steps}
    assert "scale_range" not in by_name
    assert by_name["scale_linear"]["gain"] == pytest.approx(1 / 255)


@pytest.mark.slow
def test_a_live_teacher_that_reads_otherwise_is_refused(run, pictures, tmp_path, capsys):
    words = (
        "--student.input-channels",
        "grey",
        "--student.encoder-weights",
        "random",
        "--teacher.live",
    )
    words += "--teacher.kind", "run", "--teacher.path", run, "--student.normalisation", "percentile"
    out = tmp_path / "run"
    assert abbe("distill", "cmkd", "--data.path", pictures, *TINY, *words, "--out", out) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"by 'range of the pixel type', the student by '{PERCENTILE.words}'" in said
