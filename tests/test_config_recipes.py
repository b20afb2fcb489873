"""Each recipe has its own keys, under today's names and in files of earlier versions."""

from copy import deepcopy
from typing import Any

import pytest
import yaml
from experiment_values import KDSAM, good

from abbe import config
from abbe.errors import ConfigError

OF_RECIPE: dict[str, dict[str, Any]] = {
    "cmkd": {},
    "imagenet": {
        "recipe": "imagenet",
        "data": {"kind": "classes", "path": "photographs"},
        "teacher": {},
        "student": {
            "encoder_weights": "random",
            "input_channels": ["red", "green", "blue"],
            "normalisation": "range",
        },
    },
    "kdsam": KDSAM,
    "rckd": {"recipe": "rckd"},
    "supervised": {"recipe": "supervised", "teacher": {}},
}
"""What makes an experiment of each recipe."""


@pytest.mark.parametrize(
    ("recipe", "sections", "key", "readers"),
    [
        ("cmkd", {"promptable": {"side": 512}}, "promptable.side", "recipe kdsam"),
        ("cmkd", {"pretraining": {"hv": 0}}, "pretraining.hv", "recipe rckd"),
        ("cmkd", {"fine_tuning": {"colour": 0.1}}, "fine_tuning.colour", "imagenet, rckd"),
        ("kdsam", {"loss": {"probability": "mse"}}, "loss.probability", "recipe cmkd"),
        ("kdsam", {"training": {"crop": 64}}, "training.crop", "cmkd, imagenet, rckd, supervised"),
        ("rckd", {"training": {"watch": "iou"}}, "training.watch", "recipes cmkd, supervised"),
        ("rckd", {"loss": {"boundary": "dice"}}, "loss.boundary", "recipes cmkd, supervised"),
        ("supervised", {"evidence": "full"}, "evidence", "recipes cmkd, kdsam, rckd"),
        ("supervised", {"teacher": {"kind": "masks"}}, "teacher.kind", "recipes cmkd, kdsam, rckd"),
        (
            "imagenet",
            {"training": {"augmentation": {"gamma": [1, 1]}}},
            "training.augmentation.gamma",
            "cmkd, kdsam, rckd, supervised",
        ),
    ],
)
def test_a_key_of_another_recipe_is_refused_with_the_recipes_it_belongs_to(
    recipe, sections, key, readers
):
    assert config.parse(good(**OF_RECIPE[recipe]), "mine.yaml").recipe == recipe
    values = good(**{**OF_RECIPE[recipe], **sections})
    for read in (config.parse, config.draft):
        with pytest.raises(ConfigError) as caught:
            read(values, "mine.yaml")
        (line,) = str(caught.value).splitlines()[1:]
        assert line.startswith(f"  {key}: belongs to ")
        assert readers in line
        assert f"recipe '{recipe}' does not read it" in line


@pytest.mark.parametrize(
    "sections",
    [
        {"twin": False},
        {"teacher": {"kind": "none"}},
        {"loss": {"probability": "off"}},
        {"loss": {}},
    ],
)
def test_what_a_recipe_lacks_may_be_said_to_be_off(sections):
    values = good(**{**OF_RECIPE["supervised"], **sections})
    assert config.parse(values, "mine.yaml") == config.parse(
        good(**OF_RECIPE["supervised"]), "mine.yaml"
    )


@pytest.mark.parametrize("recipe", sorted(config.RECIPES))
def test_a_saved_experiment_holds_the_keys_of_its_recipe_alone(tmp_path, recipe):
    experiment = config.parse(good(**OF_RECIPE[recipe]), "mine.yaml")
    config.save(experiment, tmp_path / "config.yaml")
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text("utf-8"))
    names = {key for key, _ in config.keys_within(config.Experiment)}
    read = {key for key in names if config.RECIPES[recipe].reads(key)}
    assert set(flat(saved, names)) == read
    assert config.parse(saved, "again") == experiment


def flat(values: dict[str, Any], names: set[str], above: str = "") -> list[str]:
    """The keys that hold values, dotted."""
    found = []
    for name, value in values.items():
        whole = isinstance(value, dict) and f"{above}{name}" not in names
        found += flat(value, names, f"{above}{name}.") if whole else [f"{above}{name}"]
    return found


def saved_by_an_earlier_version(recipe: str, **changes: Any) -> dict[str, Any]:
    """Every section with every default, as runs had it that were begun before this."""
    experiment = config.parse(good(**OF_RECIPE[recipe]), "mine.yaml")
    sections = {
        name: getattr(experiment, name).model_dump(mode="json")
        for name in ("data", "teacher", "student", "loss", "promptable", "pretrain_data",
                     "pretraining", "fine_tuning", "training", "evaluation")
    }  # fmt: skip
    rest = {"recipe": recipe, "title": "", "out": "runs/a", "seed": 0, "allow_failed": 0}
    return {**rest, "twin": recipe not in ("imagenet", "supervised"), **sections, **changes}


@pytest.mark.parametrize("recipe", sorted(config.RECIPES))
def test_a_run_of_an_earlier_version_is_read_without_a_word(tmp_path, capsys, recipe):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(saved_by_an_earlier_version(recipe)), "utf-8")
    # It had one seed, and the twin alone.
    as_it_was = {} if recipe in ("imagenet", "supervised") else {"baselines": ["twin"], "seeds": 1}
    assert config.load(path) == config.parse(good(**OF_RECIPE[recipe], **as_it_was), "mine.yaml")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("section", ["student", "teacher"])
def test_keys_by_their_earlier_names_are_read_and_todays_are_told(tmp_path, capsys, section):
    values = {
        "student": {"encoder_weights": "random"},
        "teacher": {"kind": "run", "path": "runs/t"},
    }
    new, old = good(**deepcopy(values)), good(**values)
    new[section]["input_channels"] = old[section]["sees"] = ["membrane"]
    assert config.parse(old, "mine.yaml") == config.parse(new, "mine.yaml")
    told = f"note: mine.yaml: {section}.sees is {section}.input_channels today\n"
    assert capsys.readouterr().out == told

    path = tmp_path / "config.yaml"  # a run's own file, which nobody is to mend
    path.write_text(yaml.safe_dump(old), "utf-8")
    assert getattr(config.load(path), section).input_channels == ("membrane",)
    assert capsys.readouterr().out == ""

    old[section]["input_channels"] = ["membrane"]
    with pytest.raises(ConfigError, match=rf"Take {section}\.sees out"):
        config.parse(old, "mine.yaml")


def test_what_a_run_of_an_earlier_version_said_in_vain_is_told(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    values = saved_by_an_earlier_version("cmkd")
    values["promptable"]["side"] = 512
    path.write_text(yaml.safe_dump(values), "utf-8")
    assert config.load(path) == config.parse(good(baselines=["twin"], seeds=1), "mine.yaml")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(
        f"note: {path}: promptable.side is 512; it belongs to kdsam. Recipe 'cmkd'"
    )


@pytest.mark.parametrize("recipe", sorted(config.RECIPES))
def test_the_keys_that_matter_first_are_ten_that_the_recipe_reads(recipe):
    keys = config.RECIPES[recipe]
    known = {key for key, _ in config.keys_within(config.Experiment)}
    assert len(set(keys.important)) == 10
    assert set(keys.important) <= known
    assert all(map(keys.reads, keys.important))
    assert all(set(config.readers_of(key)) for key in known)  # no key that nobody reads
