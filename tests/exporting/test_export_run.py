"""``abbe export`` on a run that was really trained, through the command line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from commands import TINY, TISSUE, abbe, told
from pyarrow import parquet
from small_students import number

import abbe as package_of_abbe
from abbe.datasets import Record
from abbe.datasets.collection import FileImage
from abbe.errors import ConfigError
from abbe.exporting.request import ExportRequest
from abbe.registry import TASKS
from abbe.runs import export
from abbe.runs.export_inputs.common import Source, parity_records
from abbe.runs.export_inputs.stated import scores_by_subgroup
from abbe.runs.folder import open_run
from abbe.runtime.package import read_package

pytestmark = pytest.mark.slow

FEW = ["--images", 2, "--calibration-images", 3, "--threads", 1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supervised student of a few steps."""
    out = tmp_path_factory.mktemp("runs") / "run"
    input_channels = [
        "--student.input-channels",
        "nucleus",
        "--training.steps",
        12,
        "--training.validate-every",
        12,
    ]
    assert abbe("distill", "supervised", *TISSUE, *TINY, *input_channels, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def package(run: Path) -> Path:
    """The budget is wide: what is tested is the way from the run to the package."""
    wide = ["--budget-dice", 1, "--budget-pq", 1, "--intended-use", "Tests of Abbe"]
    assert abbe("export", run, "--out", run.parent / "nuclei", *FEW, *wide) == 0
    return run.parent / "nuclei"


def test_the_package_tells_what_the_run_knows(run, package):
    summary = told(open_run(run))
    description = read_package(package).description
    assert description.name == "nuclei"
    assert description.title == summary["title"]
    assert description.architecture == "unet-timm-test_efficientnet"
    assert description.channels == ("nucleus",)
    assert description.outputs == ("foreground", "boundary")
    assert description.thresholds.mask == summary["thresholds"]["student"]["mask"]
    assert description.thresholds.chosen_on == "validation"
    assert description.instances.minimum_area == 16
    assert description.pixel_size == 0.377
    assert description.lineage.simulated
    assert description.lineage.teacher == "none"
    assert description.lineage.run == "run"
    assert description.training["models"] == summary["models"]
    card = (package / "README.md").read_text("utf-8")
    assert "**Trained on simulated images.**" in card
    assert "| Intended use | Tests of Abbe |" in card
    assert f"digests | {description.files['training_images'].sha256} |" in card


def test_its_networks_are_checked_on_validation_images(package):
    parity = read_package(package).description.parity
    for engine in ("onnxruntime/fp32", "openvino/fp32"):
        assert parity[engine]["images_of"] == "val"
        assert parity[engine]["images"] == 2
        assert number(parity[engine], "agreement_dice") > 0.999
        assert number(parity[engine], "max_difference") < 1e-3
    assert parity["openvino/int8"]["measured_against"] == "labels"
    assert parity["openvino/int8"]["kept"] is True


def test_the_package_runs_without_the_run(package):
    folder = read_package(package)
    expected = np.load(folder.file("expected"), allow_pickle=False)["instances"]
    labels = package_of_abbe.predict(package, folder.file("test_image"), precision="fp32")
    assert np.mean((np.asarray(labels) > 0) == (expected > 0)) > 0.999


def test_python_has_the_same_verbs(run, package, tmp_path):
    image = np.zeros((40, 56), np.uint16)
    assert package_of_abbe.predict(read_package(package), image, pixel_size=0.377).shape == (40, 56)
    exported = package_of_abbe.export(
        run,
        tmp_path / "again",
        tile=(256,),
        images=2,
        calibration_images=3,
        budget_dice=1,
        budget_pq=1,
    )
    assert exported.description.tile == 256
    assert read_package(tmp_path / "again").description.title == exported.description.title


def test_scores_are_told_by_subgroup(run, tmp_path):
    finished = open_run(shutil.copytree(run, tmp_path / "run"))
    rows = [
        {"image": f"{image}", "group": None, "model": model, "seed": seed, "metric": metric,
         "value": None if image == 8 else 0.5 + image / 20 + seed / 10}
        for image in range(9) for seed in (0, 2)
        for model in (finished.network, "teacher") for metric in ("dice", "hd95")
    ]  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist(rows), finished.folder / "scores.parquet")
    tests = [record_of(f"{place}", scanner="AB"[place % 2]) for place in range(9)]
    found = scores_by_subgroup(finished, tests, ("scanner",))["scanner"]
    assert {value: each["images"] for value, each in found.items()} == {"A": 4, "B": 4}
    for value, mean in (("A", 0.65), ("B", 0.70)):  # the first seed's, whose network is packaged
        (metric, told) = next(iter(found[value]["metrics"].items()))
        assert (metric, told["n"]) == ("dice", 4)  # one of A's images has no score
        assert told["mean"] == pytest.approx(mean)
        low, high = told["ci95"]
        assert 0.3 < low < mean < high < 0.9
    with pytest.raises(ConfigError, match="--subgroups site: the test images' table has no such"):
        scores_by_subgroup(finished, tests, ("site",))
    named = [record_of(f"{place}", patient=f"{place}") for place in range(31)]
    with pytest.raises(ConfigError, match="--subgroups patient: 31 values"):
        scores_by_subgroup(finished, named, ("patient",))


def record_of(id: str, **columns: str) -> Record:
    return Record(id, FileImage(Path("not-opened.png")), columns=columns)


def test_a_place_that_is_taken_is_refused(run, package, capsys):
    assert abbe("export", run, "--out", package) == 1
    assert "exists already" in capsys.readouterr().err


def test_an_unfinished_run_is_refused(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    assert abbe("export", tmp_path / "run", "--out", tmp_path / "out") == 1
    assert "it is not a finished run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_weights_are_named(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "student.safetensors").unlink()
    assert abbe("export", tmp_path / "run", "--out", tmp_path / "out") == 1
    assert "student.safetensors: this network of the run is missing" in capsys.readouterr().err


def change_config(run: Path, **data: object) -> None:
    import yaml

    path = run / "config.yaml"
    values = yaml.safe_load(path.read_text("utf-8"))
    values["data"].update(data)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def test_images_that_are_gone_are_asked_for(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    change_config(tmp_path / "run", kind="folder", path=str(tmp_path / "gone"))
    assert abbe("export", tmp_path / "run", "--out", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "gone") in said
    assert "--data-path" in said


def test_a_run_from_python_needs_its_images_again(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    change_config(tmp_path / "run", kind="given")
    assert abbe("export", tmp_path / "run", "--out", tmp_path / "out") == 1
    assert "cannot be found any more" in capsys.readouterr().err


def test_images_without_the_students_channel_are_refused(run, tmp_path, capsys):
    from abbe.imaging import write_png

    images = tmp_path / "colour" / "images"
    images.mkdir(parents=True)
    for grey in range(6):
        write_png(images / f"{grey}.png", np.full((64, 64, 3), 9 * grey, np.uint8))
    shutil.copytree(run, tmp_path / "run")
    change_config(tmp_path / "run", kind="folder", path=str(tmp_path / "colour"))
    assert abbe("export", tmp_path / "run", "--out", tmp_path / "out") == 1
    assert "the student is to see nucleus" in capsys.readouterr().err


def test_a_pixel_size_is_not_stated_over_what_the_run_knows(run, tmp_path, capsys):
    words = "export", run, "--out", tmp_path / "out", *FEW, "--pixel-size", "0.5"
    assert abbe(*words) == 1
    assert "--pixel-size 0.5: the run's images have 0.377 µm" in capsys.readouterr().err


def test_without_validation_images_test_images_check_it(run):
    from abbe import config
    from abbe.runs.build import build_dataset

    experiment = config.load(run / "config.yaml")
    dataset = build_dataset(experiment.data)
    task, request = TASKS["instances"], ExportRequest()
    source = Source(open_run(run), task, experiment, dataset, request, "nuclei")
    split, records = parity_records(source, 2)
    assert (split, len(records)) == ("val", 2)
    three = replace(source, request=ExportRequest(images=3))
    assert len(parity_records(three, 2)[1]) == 3
    tests = dataset.having(r for r in dataset if r.split != "val")
    assert parity_records(replace(source, dataset=tests), 100)[0] == "test"


def test_no_parity_images_are_refused(run, tmp_path, capsys):
    assert abbe("export", run, "--out", tmp_path / "out", "--images", 0) == 1
    assert "--images 0: at least one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--threads", "0"),
        ("--threads", "1025"),
        ("--pixel-size", "0"),
        ("--pixel-size", "-0.5"),
        ("--pixel-size", "nan"),
        ("--pixel-size", "1e-30"),
        ("--budget-ms", "-5"),
        ("--budget-ms", "0"),
        ("--budget-ms", "nan"),
        ("--budget-dice", "-0.1"),
        ("--budget-mean-iou", "nan"),
        ("--data-path", "elsewhere"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(run, tmp_path, capsys, option, value):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "student.safetensors").unlink()  # whoever opened it would say so
    assert abbe("export", tmp_path / "run", "--out", tmp_path / "out", option, value) == 1
    assert f"abbe export: {option} {value}: " in capsys.readouterr().err


def test_what_was_to_follow_a_package_is_written_by_the_same_call(
    run, tmp_path, monkeypatch, capsys
):
    out, script = tmp_path / "nuclei", tmp_path / "nuclei.pt"
    words = ["export", run, "--out", out, "--int8", "none", "--budget-dice", 1, "--budget-pq", 1]
    words += ["--images", 2, "--tile", 160, "--torchscript", script]

    def stop(*arguments):
        raise KeyboardInterrupt  # as near to a kill as a test of this process comes

    with monkeypatch.context() as patched:
        patched.setattr(export, "write_torchscript", stop)
        assert abbe(*words) == 130
    written = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert "package.json" in written
    assert not script.exists()
    assert abbe(*words, "--threads", 1) == 1  # another call
    assert f"{out}: exists already" in capsys.readouterr().err
    assert abbe(*words) == 0
    assert script.is_file()
    assert "made by the same call" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nuclei", "nuclei.pt"]
    assert abbe(*words) == 1
    assert f"{out}: exists already" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--licence", "MIT"), ("--authors", "Ada", "Emmy")])
def test_what_only_a_bioimageio_package_holds_is_not_dropped(run, tmp_path, capsys, words):
    assert abbe("export", run, "--out", tmp_path / "out", *words) == 1
    assert "Give its file, --bioimageio NAME.zip" in capsys.readouterr().err


def test_images_are_looked_for_where_there_is_something(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    change_config(tmp_path / "run", kind="folder", path=str(tmp_path / "gone"))
    words = "export", tmp_path / "run", "--out", tmp_path / "out"
    assert abbe(*words, "--data-path", tmp_path / "gone too") == 1
    assert "gone too: there is no such folder" in capsys.readouterr().err


def test_a_tile_that_does_not_fit_is_refused_at_once(run, tmp_path, capsys):
    assert abbe("export", run, "--out", tmp_path / "out", "--tile", 100) == 1
    assert "--tile 100" in capsys.readouterr().err


def test_json_of_the_package_is_plain(package):
    json.loads(
        (package / "package.json").read_text("utf-8"), parse_constant=lambda name: pytest.fail(name)
    )
