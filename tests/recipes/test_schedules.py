"""How long and how fast: passes made steps, rates by architecture, shown, kept and resumed."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import timm
from commands import TINY, TISSUE, abbe, tissue, told

from abbe import config
from abbe.config.networks import NamedArchitecture
from abbe.datasets import Dataset
from abbe.errors import InputError
from abbe.recipes.recipe import recipe_named
from abbe.recipes.shipped import recipe_path
from abbe.runs import schedules
from abbe.runs.folder import open_run
from abbe.runs.schedules import ATTENTION, ATTENTION_NAMES, CONVOLUTIONS, Amount


def experiment(recipe: str = "supervised", **sections: Any) -> config.Experiment:
    students = {"kdsam": "promptable-resnet50"}
    values: dict[str, Any] = {
        "recipe": recipe,
        "out": "runs/a",
        "data": {"path": "tissue"},
        "student": {
            "encoder_weights": "random",
            "architecture": students.get(recipe, "unet-resnet18"),
        },
        "teacher": {
            "cmkd": {"kind": "masks", "path": "m"},
            "kdsam": {"kind": "sam", "path": "m"},
            "rckd": {"kind": "masks", "path": "m"},
        }.get(recipe, {}),
    }
    for key, section in sections.items():
        values[key] = {**values.get(key, {}), **section}
    return config.parse(values, "test")


# --------------------------------------------------------------------------- rates by architecture

SLOW = {
    "unet-swin-tiny",
    "unet-convnextv2-atto",
    "promptable-tiny-vit-5m",
    "promptable-mobilesam",
}


def test_every_named_student_has_the_rates_of_its_kind() -> None:
    for name in get_args(NamedArchitecture):
        expected = ATTENTION if name in SLOW else CONVOLUTIONS
        assert schedules.rates_of(name) is expected, name


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("convnext_tiny", ATTENTION),
        ("swinv2_tiny_window8_256", ATTENTION),
        ("vit_small_patch16_224", ATTENTION),
        ("tiny_vit_5m_224", ATTENTION),
        ("maxvit_tiny_tf_224", ATTENTION),
        ("regnety_004", CONVOLUTIONS),
        ("tf_efficientnet_lite0", CONVOLUTIONS),
        ("repvit_m0_9", CONVOLUTIONS),
        ("mobilenetv4_conv_small", CONVOLUTIONS),
        ("resnet34", CONVOLUTIONS),
    ],
)
@pytest.mark.parametrize("student", ["unet", "promptable"])
def test_networks_of_timm_are_known_by_how_their_names_begin(
    student: str, name: str, rates: schedules.Rates
) -> None:
    assert timm.is_model(name)
    assert schedules.rates_of(f"{student}-timm-{name}") is rates


@pytest.mark.parametrize("beginning", ATTENTION_NAMES)
def test_no_beginning_stands_for_nothing(beginning: str) -> None:
    assert timm.list_models(f"{beginning}*")


@pytest.mark.parametrize(
    ("recipe", "architecture", "expected"),
    [
        ("supervised", "unet-resnet18", {"training": 1e-3}),
        ("cmkd", "unet-swin-tiny", {"training": 1e-4}),
        ("rckd", "unet-csat-like", {"training": 2e-4, "pretraining": 1e-3}),
        ("rckd", "unet-convnextv2-atto", {"training": 1e-4, "pretraining": 1e-4}),
        ("kdsam", "promptable-resnet50", {"training": 3e-4}),
        ("kdsam", "promptable-tiny-vit-5m", {"training": 1e-4}),
    ],
)
def test_rates_go_by_recipe_and_architecture(
    recipe: str, architecture: str, expected: dict[str, float], tmp_path: Path
) -> None:
    asked = experiment(recipe, student={"architecture": architecture})
    amounts = {name: Amount(10, 10) for name in expected}
    resolved = schedules.resolve(asked, amounts, tmp_path, recipe_named(recipe).rates)
    found = {name: getattr(resolved, name).learning_rate for name in expected}
    assert found == expected


def test_a_number_is_taken_as_given(tmp_path: Path) -> None:
    asked = experiment(
        "rckd",
        student={"architecture": "unet-swin-tiny"},
        training={"learning_rate": 0.02},
        pretraining={"learning_rate": 0.03},
    )
    amounts = {"training": Amount(1, 1), "pretraining": Amount(1, 1)}
    resolved = schedules.resolve(asked, amounts, tmp_path)
    assert resolved.training.learning_rate == 0.02
    assert resolved.pretraining.learning_rate == 0.03
    assert "learning rate 0.02\n" in said_of(asked, amounts)


def said_of(asked: config.Experiment, amounts: dict[str, Amount]) -> str:
    entries = [schedules._stage(asked, name, each, "maps") for name, each in amounts.items()]
    return "".join(f"{schedules.schedule_sentence(entry)}\n" for entry in entries)


# ------------------------------------------------------------------------------- passes made steps


@pytest.mark.parametrize(
    ("training", "steps"),
    [
        ({"passes": 3, "batch_size": 8}, 38),  # 3 · 100 / 8, rounded up
        ({"passes": 0.5, "batch_size": 8}, 7),
        ({"passes": 4, "batch_size": 8}, 50),
        ({"passes": 3, "batch_size": 8, "minimum_steps": 90}, 90),
        ({"passes": 30, "batch_size": 8, "minimum_steps": 90}, 375),
        ({"steps": 11, "batch_size": 8, "minimum_steps": 90}, 11),  # said outright
    ],
)
def test_steps_show_the_samples_so_many_times(
    training: dict[str, Any], steps: int, tmp_path: Path
) -> None:
    asked = experiment(training=training)
    resolved = schedules.resolve(asked, {"training": Amount(20, 100)}, tmp_path)
    assert (resolved.training.steps, resolved.training.passes) == (steps, None)
    kept = schedules.read_schedule(tmp_path)["training"]
    assert kept.passes == pytest.approx(steps * 8 / 100)
    assert (kept.steps, kept.images, kept.samples) == (steps, 20, 100)


@pytest.mark.slow
def test_a_run_by_passes_shows_keeps_and_takes_its_steps(tmp_path: Path, capsys: Any) -> None:
    """Four training images of 64 px are 16 crops of 32; 3 passes of 2 a step are 24 steps."""
    out = tmp_path / "run"
    words = [w for w in TINY if w not in ("--training.steps", "4")]
    by_passes = ["--training.passes", "3", "--training.minimum-steps", "1"]
    auto = ["--training.learning-rate", "auto"]
    input_channels = ["--student.input-channels", "nucleus"]
    assert (
        abbe(
            "distill",
            "supervised",
            *TISSUE,
            *words,
            *by_passes,
            *auto,
            *input_channels,
            "--out",
            out,
        )
        == 0
    )
    sentence = "24 steps of 2, 3 passes over 4 images (16 crops); learning rate 0.001"
    printed = capsys.readouterr().out
    assert f"training: {sentence} (of unet-timm-test_efficientnet)" in printed
    assert printed.index("training:") < printed.index("report:")
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    assert max(line["step"] for line in lines) == 24
    finished = open_run(out)
    assert told(finished)["schedule"]["training"]["steps"] == 24
    assert told(finished)["schedule"]["training"]["learning_rate"] == 1e-3
    assert sentence in finished.report.read_text("utf-8")
    given = config.load(out / "config.yaml").training
    assert (given.steps, given.passes, given.learning_rate) == (None, 3.0, "auto")


def test_the_shipped_schedules_fit_small_and_large_sets(tmp_path: Path) -> None:
    """Short sets train as long as the recipes did when they said steps, large ones longer."""
    for recipe, least in (("cmkd", 2000), ("supervised", 2000), ("rckd", 1000), ("kdsam", 2000)):
        values = config.read_values(recipe_path(recipe))
        values["student"]["encoder_weights"] = "random"
        values["data"]["path"] = "tissue"
        if values.get("teacher") is not None and recipe != "supervised":
            values["teacher"] = {"kind": "sam" if recipe == "kdsam" else "masks", "path": "m"}
        asked = config.parse(values, recipe)
        small = schedules.resolve(asked, {"training": Amount(5, 5)}, tmp_path / "s", shown=False)
        large = schedules.resolve(
            asked, {"training": Amount(10**5, 10**5)}, tmp_path / "l", shown=False
        )
        assert small.training.steps == least
        assert large.training.steps is not None
        assert large.training.steps > 10 * least


# ------------------------------------------------------------------------------------ what counts


def amounts_of(asked: config.Experiment, dataset: Dataset) -> dict[str, Amount]:
    return recipe_named(asked.recipe).amounts(asked, dataset, None)


def test_every_recipe_counts_what_it_learns_from() -> None:
    dataset = tissue()  # four training images of 64 px, two of them labelled
    crop = {"training": {"crop": 32}}
    assert amounts_of(experiment("cmkd", **crop), dataset) == {"training": Amount(4, 16)}
    assert amounts_of(experiment("supervised", **crop), dataset) == {"training": Amount(2, 8)}
    segments = {"fine_tuning": {"task": "segmentation"}, **crop}
    assert amounts_of(experiment("rckd", **segments), dataset) == {"training": Amount(2, 8)}
    assert amounts_of(experiment("kdsam"), dataset) == {
        "training": Amount(4, 4),
        "decoder": Amount(2, 2),
    }


def test_an_image_smaller_than_a_crop_is_one_and_a_larger_one_is_several() -> None:
    train = tissue().split("train")
    for side, crops in ((32, 16), (64, 4), (256, 4)):
        assert schedules.crops_of(train, side) == Amount(4, crops)


# ---------------------------------------------------------------------------------------- resuming


def test_a_resumed_run_keeps_its_steps_though_images_were_added(tmp_path: Path) -> None:
    asked = experiment(training={"passes": 4, "batch_size": 8})
    first = schedules.resolve(asked, {"training": Amount(20, 100)}, tmp_path)
    more = {"training": Amount(40, 200)}
    resumed = schedules.resolve(asked, more, tmp_path, resume=True)
    assert first.training.steps == resumed.training.steps == 50
    assert schedules.resolve(asked, more, tmp_path).training.steps == 100  # begun anew
    other = experiment(training={"passes": 8, "batch_size": 8})
    assert schedules.resolve(other, more, tmp_path, resume=True).training.steps == 200


def test_a_damaged_schedule_is_told(tmp_path: Path) -> None:
    (tmp_path / schedules.FILE).write_text('{"training": 3}', "utf-8")
    with pytest.raises(InputError, match=r"schedule\.json: damaged .*Delete it"):
        schedules.read_schedule(tmp_path)


def test_the_decoder_of_kdsam_has_a_length_of_its_own(tmp_path: Path) -> None:
    asked = experiment(
        "kdsam",
        training={"passes": 2, "batch_size": 4},
        promptable={"decoder_passes": 5},
    )
    amounts = {"training": Amount(40, 40), "decoder": Amount(12, 12)}
    resolved = schedules.resolve(asked, amounts, tmp_path)
    assert resolved.training.steps == 20
    assert resolved.promptable.decoder_steps == 15
    none = experiment("kdsam", promptable={"decoder_steps": 0})
    assert schedules.resolve(none, amounts, tmp_path).promptable.decoder_steps == 0
