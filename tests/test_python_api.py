"""The verbs as Python calls: what a script or a notebook writes."""

import ast
import dataclasses
import inspect
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tifffile

import abbe
from abbe import config
from abbe.datasets import Dataset
from abbe.errors import AbbeError, ConfigError, InputError, StoreError
from abbe.imaging import write_labels

SHORT = {
    "steps": 3,
    "batch_size": 2,
    "crop": 32,
    "validate_every": 2,
    "workers": 0,
    "ema": 0,
}
"""Training of a moment."""
SPLITS = {"train": 0.375, "val": 0.25, "test": 0.375}


@pytest.fixture
def tissue(tmp_path: Path) -> Path:
    """A folder of eight labelled images of 64 px in two channels, and masks/ beside it."""
    made = abbe.datasets.simulated_tissue(8, size=64, seed=5, channels=("nucleus", "membrane"))
    (tmp_path / "tissue" / "images").mkdir(parents=True)
    for record in made:
        assert record.label is not None
        pixels = record.image.open().read()
        tifffile.imwrite(tmp_path / "tissue" / "images" / f"{record.id}.tif", pixels)
        for folder in ("tissue/labels", "masks"):
            write_labels(tmp_path / folder / f"{record.id}.tif", record.label.read())
    return tmp_path / "tissue"


@pytest.mark.slow
def test_from_a_folder_and_masks_to_gain_and_retention(tissue, tmp_path):
    data = abbe.datasets.folder(tissue, channels=["nucleus", "membrane"])
    data = abbe.datasets.assign_splits(data, fractions=SPLITS)
    teacher = abbe.teachers.masks(tmp_path / "masks", ["nucleus", "membrane"], sees_labels=True)
    targets = abbe.teach(teacher, data, tmp_path / "targets.zarr", progress=False)
    assert sorted(targets.ids) == sorted(data.ids)
    run = abbe.distill(
        "cmkd",
        data,
        targets,
        student="unet-mobilenetv3",
        input_channels=["nucleus"],
        encoder_weights="random",
        out=tmp_path / "run",
        progress=False,
        seed=3,
        seeds=2,
        baselines=("twin",),
        title="from Python",
        training=SHORT,
    )
    gain, retention = run.gain["dice"], run.retention["dice"]
    assert gain.mean is not None
    assert gain.ci95 is not None
    low, high = gain.ci95
    assert low is not None
    assert high is not None
    assert low <= gain.mean <= high
    assert retention is not None
    assert 0 <= retention <= 1  # masks that are the truth cannot be surpassed
    assert run.summary.models["teacher"].metrics["dice"].mean == 1
    assert run.summary.title == "from Python"
    assert run.summary.seed == 3
    assert run.report.is_file()
    network, facts = abbe.students.load(run.student)
    assert facts["channels"] == ["nucleus"]
    image = data.split("test").records[0].image.open().read(channels=["nucleus"])
    limits = abbe.imaging.percentile_limits(image)
    maps = abbe.students.predict(network, abbe.imaging.normalise(image, limits))
    assert maps.shape == (2, 64, 64)
    channels = ["nucleus", "membrane"]
    other = {"path": tissue, "channels": channels}
    again = abbe.evaluate(run, other, name="again", allow_overlap=True)
    assert set(again.summary.models) == {"student", "twin"}  # a store cannot answer again
    given = abbe.evaluate(run.folder, data, name="given")
    assert given.summary.data.test == len(data.split("test"))  # it has splits of its own
    assert given.gain == run.gain
    with pytest.raises(InputError, match="was trained or validated on"):
        abbe.evaluate(run, data.with_splits({}), name="whole")
    whole = abbe.evaluate(run, data.with_splits({}), name="whole", allow_overlap=True)
    assert whole.summary.data.test == len(data)
    assert abbe.report(run) == run.report
    assert abbe.open_run(run).summary == run.summary


# ------------------------------------------------- what stands for the keys of the experiment file


def experiment_for(recipe: str, *arguments, **keys) -> tuple[config.Experiment, Dataset | None]:
    """What `abbe.distill` would carry out."""
    carried: list[tuple[config.Experiment, Dataset | None]] = []

    def carry_out(experiment, *, dataset, **_options):
        carried.append((experiment, dataset))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("abbe.runs.distill.distill", carry_out)
        abbe.distill(recipe, *arguments, **{"encoder_weights": "random", **keys})
    (one,) = carried
    return one


GIVEN = abbe.datasets.simulated_tissue(4, size=64)


def test_a_data_set_goes_with_every_recipe_that_takes_one(tmp_path):
    teachers = {
        "cmkd": tmp_path / "targets.zarr",
        "kdsam": "sam_vit_b.pth",
        "rckd": tmp_path / "targets.zarr",
        "supervised": None,
    }
    for recipe, teacher in teachers.items():
        experiment, dataset = experiment_for(recipe, GIVEN, teacher, out=tmp_path / recipe)
        assert experiment.recipe == recipe
        assert experiment.data.kind == "given"
        assert dataset is GIVEN
        assert experiment.out == tmp_path / recipe
    assert experiment_for("kdsam", GIVEN, "sam_vit_b.pth")[0].teacher.kind == "sam"


def test_a_folder_is_read_as_the_recipe_says():
    for recipe, kind in (("cmkd", "folder"), ("rckd", "classes"), ("imagenet", "classes")):
        teacher = None if recipe == "imagenet" else "t.zarr"
        experiment, dataset = experiment_for(recipe, Path("there"), teacher)
        assert (experiment.data.kind, experiment.data.path) == (kind, Path("there"))
        assert dataset is None
    keys = {"kind": "folder", "path": "a", "types": "types"}
    data = experiment_for("rckd", keys, "t.zarr")[0].data
    assert (data.kind, data.types, data.fractions) == ("folder", "types", (0.6, 0.2, 0.2))


def test_a_path_of_a_teacher_says_what_it_is(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "rdf.yaml").write_text("")
    for name, kind in {
        "run": "run", "model": "bioimageio", "a.onnx": "onnx", "t.zarr": "store"
    }.items():  # fmt: skip
        teacher = experiment_for("cmkd", GIVEN, tmp_path / name)[0].teacher
        assert (teacher.kind, teacher.path) == (kind, tmp_path / name)
    keys = {"kind": "masks", "path": "masks", "options": {"sees_labels": True}}
    assert experiment_for("cmkd", GIVEN, keys)[0].teacher.options == {"sees_labels": True}
    with pytest.raises(ConfigError, match=r"teacher: masks does not say what it is"):
        experiment_for("cmkd", GIVEN, "masks")
    with pytest.raises(ConfigError, match=r"are stored with abbe\.teach"):
        experiment_for("cmkd", GIVEN, object())


def test_keys_are_those_of_the_file_and_go_before_it():
    experiment, _ = experiment_for(
        "kdsam", GIVEN, "sam.pth", student="promptable-resnet18", twin=False,
        promptable={"side": 512}, training={"steps": 7, "augmentation": {"noise": 0.2}},
    )  # fmt: skip
    assert experiment.evidence == "quick"
    assert experiment.student.architecture == "promptable-resnet18"
    assert (experiment.promptable.side, experiment.promptable.decoder_passes) == (512, 20)
    assert (experiment.training.steps, experiment.training.passes) == (7, None)
    assert experiment.training.augmentation.noise == 0.2
    assert experiment.training.augmentation.blur == 0  # as the recipe's file has it
    tiles = experiment_for("rckd", GIVEN, "t.zarr", pretrain_data={"kind": "slides", "path": "s"})
    assert tiles[0].pretrain_data.kind == "slides"
    none = experiment_for("rckd", GIVEN, pretraining={"method": "contrastive"})[0]
    assert none.teacher.kind == "none"


def distill(tmp_path: Path, **changes):
    data = abbe.datasets.assign_splits(abbe.datasets.simulated_tissue(16, size=64))
    given = {
        "student": "unet-mobilenetv3",
        "input_channels": ["nucleus"],
        "encoder_weights": "random",
        "out": tmp_path / "run",
    }
    recipe, targets = changes.pop("recipe", "cmkd"), changes.pop("targets", tmp_path / "t.zarr")
    return abbe.distill(recipe, changes.pop("dataset", data), targets, **{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"recipe": "kd"}, ConfigError, "'kd' is neither a shipped recipe"),
        ({"student": "unet"}, ConfigError, "student.architecture: Input should be 'unet-swin"),
        ({"training": {"step": 1}}, ConfigError, "training.step: unknown key"),
        ({"twins": False}, ConfigError, "twins: unknown key"),
        ({"promptable": {"side": 64}}, ConfigError, "promptable.side: belongs to recipe kdsam"),
        ({"input_channels": ["dapi"]}, InputError, "the student is to see dapi"),
        ({"encoder_weights": "choose"}, ConfigError, "encoder_weights must be chosen"),
        ({"targets": None}, ConfigError, "recipe 'cmkd' needs a teacher"),
        ({"dataset": 3}, ConfigError, "data: a data set of abbe.datasets, a folder, or keys"),
        ({}, StoreError, "t.zarr"),
        (
            {
                "recipe": "supervised",
                "targets": None,
                "dataset": abbe.datasets.simulated_tissue(4, size=64),
            },
            InputError,
            "no labelled test image",
        ),
    ],
)
def test_wrong_arguments_are_said_in_the_words_of_the_file(tmp_path, changes, error, reason):
    with pytest.raises(error) as caught:
        distill(tmp_path, **changes)
    assert reason in str(caught.value)
    assert isinstance(caught.value, AbbeError)


def test_teaching_raises_for_images_that_fail_and_keeps_the_rest(tissue, tmp_path):
    data = abbe.datasets.folder(tissue, channels=["nucleus", "membrane"])
    (tmp_path / "masks" / f"{data.ids[1]}.tif").unlink()
    teacher = abbe.teachers.masks(tmp_path / "masks", ["nucleus"])
    with pytest.raises(InputError, match=rf"targets\.zarr: 7 images taught.*\n.*{data.ids[1]}"):
        abbe.teach(teacher, data, tmp_path / "targets.zarr", progress=False)
    write_labels(tmp_path / "masks" / f"{data.ids[1]}.tif", np.zeros((64, 64), np.int32))
    targets = abbe.teach(teacher_of(tmp_path), data, tmp_path / "targets.zarr", progress=False)
    assert len(targets.ids) == 8
    assert targets.empty_ids == (data.ids[1],)


def teacher_of(tmp_path: Path):
    return abbe.teachers.masks(tmp_path / "masks", ["nucleus"])


def test_a_folder_or_keys_are_taught_like_a_data_set(tissue, tmp_path):
    keys = {"path": str(tissue), "channels": ["nucleus", "membrane"]}
    masks = {"kind": "masks", "path": tmp_path / "masks", "input_channels": ["nucleus"]}
    targets = abbe.teach(masks, keys, tmp_path / "targets.zarr", progress=False)
    assert sorted(targets.ids) == sorted(abbe.datasets.folder(tissue).ids)
    with pytest.raises(ConfigError, match="If you trust it"):
        abbe.teach({"kind": "torch", "path": "a.b:c"}, keys, tmp_path / "t.zarr", progress=False)


def test_stores_that_are_named_by_keys_are_taken_together(tissue, tmp_path):
    data = abbe.datasets.folder(tissue, channels=["nucleus", "membrane"])
    data = abbe.datasets.assign_splits(data, fractions=SPLITS)
    for name in ("a.zarr", "b.zarr"):
        abbe.teach(teacher_of(tmp_path), data, tmp_path / name, progress=False)
    keys = {"kind": "store", "path": tmp_path / "a.zarr", "also": [tmp_path / "b.zarr"]}
    both = abbe.teach(keys, data, tmp_path / "both.zarr", progress=False)
    assert len(both.provenance.parts) == 2
    with pytest.raises(ConfigError, match=r"teacher\.kind: choose from"):
        abbe.teach(tmp_path / "a.zarr", data, tmp_path / "c.zarr", progress=False)
    with pytest.raises(ConfigError, match=r"teacher\.also: abbe\.teach takes the mean of stores"):
        abbe.teach(keys | {"kind": "masks"}, data, tmp_path / "c.zarr", progress=False)


def test_urls_are_no_folders_of_what_is_made_here_alone(tissue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda out: abbe.condense(tissue, out=out, plan_only=True),
        lambda out: abbe.reproduce("kdsam", out=out),
        lambda out: abbe.suggest(tmp_path, out=out),
        lambda out: abbe.tune_teacher("sam.pth", abbe.datasets.folder(tissue), out),
    ):
        with pytest.raises(ConfigError, match="out: s3://bucket/a: give a folder of this machine"):
            call("s3://bucket/a")
    assert not (tmp_path / "s3:").exists()


def test_a_data_set_or_its_folder_is_checked(tissue):
    data = abbe.datasets.folder(tissue, channels=["nucleus", "membrane"])
    keys = {"path": tissue, "channels": ["nucleus", "membrane"]}
    for given in (data, keys):
        found = abbe.check(given, crop=64)
        assert found.ok
        assert "8 images" in found.text()
    assert "smaller than the crop" in abbe.check(tissue, crop=128).text()


VERBS = {
    "bench", "check", "condense", "curve", "distill", "evaluate", "export", "load_package",
    "models", "open_run", "predict", "report", "reproduce", "suggest", "teach",
    "tune_teacher",
}  # fmt: skip
ROOMS = {
    "datasets", "imaging", "losses", "runtime", "scoring", "students", "targets", "teachers"
}  # fmt: skip


def test_rooms_and_verbs_are_there_by_name():
    assert set(abbe.__all__) == VERBS | ROOMS | {"PromptablePredictor"}
    assert set(dir(abbe)) == {*abbe.__all__, "__version__"}
    for verb in VERBS:
        assert callable(getattr(abbe, verb))
    assert abbe.scoring.METRICS
    with pytest.raises(AttributeError, match="module 'abbe' has no attribute 'predict_all'"):
        abbe.predict_all  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_a_verb_stays_one_whatever_is_imported():
    for module in ("cli.report", "cli.bench", "reporting", "exporting", "api.running"):
        import_module(f"abbe.{module}")
    for verb in VERBS:
        assert inspect.isfunction(getattr(abbe, verb)), verb


def test_what_type_checkers_see_is_what_there_is():
    """The imports for type checkers name the same objects as those that are made on first use."""
    tree = ast.parse(Path(abbe.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {}
    for line in block.body:
        assert isinstance(line, ast.ImportFrom)
        for alias in line.names:
            seen[alias.asname or alias.name] = (line.module, alias.name)
    assert set(seen) == set(abbe.__all__)
    for name, (module, own) in seen.items():
        whole = import_module(f"abbe.{own}") if module == "abbe" else None
        assert getattr(abbe, name) is (whole or getattr(import_module(module), own))


def test_types_are_shipped():
    assert (Path(abbe.__file__).parent / "py.typed").is_file()
    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    assert "py.typed" in settings["tool"]["setuptools"]["package-data"]["abbe"]


def test_options_of_an_export_are_those_of_the_command_line():
    from abbe.api.training import ExportOptions
    from abbe.exporting.request import ExportRequest

    fields = {field.name for field in dataclasses.fields(ExportRequest)}
    assert set(ExportOptions.__annotations__) == fields


def test_options_of_an_export_are_given_as_people_write_them(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "abbe.runs.export.export_run", lambda run, out, request, **_: asked.append(request)
    )
    abbe.export("run", tile=512, bioimageio="n.zip", torchscript=None, authors="Ann Lee")
    abbe.export("run", tile=[512, 256], subgroups=["site", "scanner"], example=Path("a.png"))
    first, second = asked
    assert (first.tile, first.bioimageio, first.torchscript) == ((512,), Path("n.zip"), None)
    assert (first.authors, first.notes) == (("Ann Lee",), ())
    assert (second.tile, second.subgroups) == ((512, 256), ("site", "scanner"))
    assert second.example == Path("a.png")
