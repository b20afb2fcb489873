"""The experiment file: what it accepts, what it refuses and in which words, and its way to disk."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from experiment_values import good, refusal

from abbe import config
from abbe.errors import ConfigError


def draft_refusal(values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config.draft(values, "mine.yaml")
    return str(caught.value)


def test_the_smallest_gain_that_matters_is_half_a_point():
    assert config.Evaluation().smallest_gain == 0.005


def test_good_values_are_taken_and_the_rest_are_defaults():
    experiment = config.parse(good(training={"steps": 7}), "mine.yaml")
    assert experiment.training.steps == 7
    assert experiment.training.batch_size == config.Training().batch_size
    assert experiment.out == Path("runs/a")
    assert experiment.student.encoder_weights == "random"


@pytest.mark.parametrize(
    ("sections", "key", "allowed"),
    [
        ({"sed": 1}, "sed", "recipe, title, out, seed"),
        ({"data": {"path": "a", "labeled": 3}}, "data.labeled", "kind, path, channels, labels"),
        (
            {"training": {"augmentation": {"flip": True}}},
            "training.augmentation.flip",
            "flips, scale, gamma, brightness, noise, blur",
        ),
    ],
)
def test_unknown_keys_are_refused_with_those_that_exist(sections, key, allowed):
    for message in (refusal(**sections), draft_refusal(good(**sections))):
        assert message.startswith("mine.yaml:")
        assert f"{key}: unknown key; allowed here: {allowed}" in message


@pytest.mark.parametrize(
    ("sections", "key", "reason"),
    [
        ({"seed": "one"}, "seed", "integer"),
        ({"training": {"steps": "many"}}, "training.steps", "integer"),
        ({"training": {"steps": 0}}, "training.steps", "greater than or equal to 1"),
        ({"training": {"crop": 33}}, "training.crop", "multiple of 32"),
        ({"training": {"ema": 1.0}}, "training.ema", "less than 1"),
        ({"loss": {"probability": "mae"}}, "loss.probability", "'mse', 'soft_bce'"),
        ({"data": {"path": "a", "channels": "nucleus"}}, "data.channels", "tuple"),
        (
            {"student": {"encoder_weights": "random", "input_channels": []}},
            "student.input_channels",
            "at least 1 item",
        ),
        (
            {"student": {"encoder_weights": "random", "architecture": "unet"}},
            "student.architecture",
            "'unet-swin-tiny', 'unet-resnet18', 'unet-resnet50', 'unet-efficientnet-b0'",
        ),
        ({"teacher": None}, "teacher", "must hold keys and values (it is None)"),
        ({"recipe": "kd"}, "recipe", "cmkd, imagenet, kdsam, rckd, supervised (it is 'kd')"),
    ],
)
def test_wrong_values_are_refused_by_key_value_and_reason(sections, key, reason):
    for message in (refusal(**sections), draft_refusal(good(**sections))):
        assert f"  {key}: " in message
        assert reason in message


def test_alternatives_of_one_key_are_told_on_one_line():
    message = refusal(data={"path": "a", "labelled": "some"})
    (line,) = [line for line in message.splitlines() if "labelled" in line]
    assert line.startswith("  data.labelled: ")
    assert "integer" in line
    assert "'all'" in line
    assert "literal" not in message  # no words of the checking library


def test_every_wrong_key_is_told_at_once():
    message = refusal(seed="x", training={"steps": 0, "crop": 5})
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == [
        "seed",
        "training.steps",
        "training.crop",
    ]


def test_an_item_and_an_entry_are_named():
    assert "data.fractions.1: " in refusal(data={"path": "a", "fractions": [0.5, 2, 0.5]})
    assert "loss.weights.probability: " in refusal(loss={"weights": {"probability": -1}})


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"teacher": {}}, "recipe 'cmkd' needs a teacher: give --teacher.kind"),
        ({"teacher": {"kind": "onnx"}}, "kind 'onnx' needs a path: give --teacher.path"),
        (
            {"teacher": {"kind": "masks", "path": "a", "live": True}},
            "live: true works with kind torch, run or sam only",
        ),
        ({"loss": {"probability": "off", "boundary": "off"}}, "distils nothing"),
        ({"loss": {"probability": "off", "boundary": "edge_head"}}, "distils nothing"),
        ({"loss": {"probability": "off", "target_boundary": False}}, "distils nothing"),
        (
            {
                "loss": {"boundary": "edge_head"},
                "student": {"encoder_weights": "random", "outputs": ["foreground"]},
            },
            "'edge_head' needs 'boundary' among student.outputs",
        ),
        ({"student": {"encoder_weights": "random", "outputs": ["boundary"]}}, "[foreground]"),
        ({"student": {"encoder_weights": "random", "outputs": ["foreground"] * 2}}, "[foreground]"),
        ({"data": {}}, "kind 'folder' needs a path: give --data.path FOLDER"),
        ({"data": {"kind": "simulated", "path": "a"}}, "'simulated' reads no files"),
        ({"data": {"path": "a", "labelled": 2.5}}, "a count has no decimals"),
        ({"data": {"path": "a", "fractions": [0.5, 0.5, 0.5]}}, "add up to 1, not 1.5"),
    ],
)
def test_impossible_combinations_are_refused(sections, reason):
    assert reason in refusal(**sections)


def test_encoder_weights_must_be_chosen():
    for student in ({}, {"encoder_weights": "choose"}):
        message = refusal(student=student)
        assert "  student: encoder_weights must be chosen: 'imagenet'" in message
        assert "'random'" in message
    assert "  student: Field required" in refusal_without("student")


def refusal_without(key: str) -> str:
    values = good()
    del values[key]
    with pytest.raises(ConfigError) as caught:
        config.parse(values, "mine.yaml")
    return str(caught.value)


def test_encoder_weights_may_be_a_file():
    experiment = config.parse(good(student={"encoder_weights": "weights.pth"}), "mine.yaml")
    assert experiment.student.encoder_weights == Path("weights.pth")


@pytest.mark.parametrize("term", ["boundary", "probability"])
def test_a_bare_off_in_yaml_is_off(tmp_path, term):
    path = tmp_path / "mine.yaml"
    path.write_text(f"{yaml.safe_dump(good())}loss:\n  {term}: off\n")
    assert getattr(config.load(path).loss, term) == "off"
    drafted = config.draft(config.read_values(path), str(path))
    assert getattr(drafted.loss, term) == "off"


@pytest.mark.parametrize("word", [True, "true", "True"])
def test_a_teachers_option_may_be_true(word):
    teacher = {"kind": "masks", "path": "a", "options": {"stand_in": word, "tile": 1, "name": "x"}}
    options = config.parse(good(teacher=teacher), "mine.yaml").teacher.options
    assert options["tile"] == 1
    assert options["name"] == "x"
    if word != "True":  # that one is the command line's to read
        assert options["stand_in"] is True


def test_a_section_made_in_python_refuses_in_the_same_words():
    with pytest.raises(ConfigError, match=r"^training\.crop: .*multiple of 32 \(it is 33\)"):
        config.Training(crop=33)
    with pytest.raises(ConfigError, match=r"^data: kind 'folder' needs a path"):
        config.Data()
    with pytest.raises(ConfigError, match=r"^fine_tuning\.head_rate: .*\(it is 0\)"):
        config.FineTuning(head_rate=0)


def test_nothing_changes_after_loading():
    experiment = config.parse(good(), "mine.yaml")
    with pytest.raises(ValueError, match="frozen"):
        experiment.training.steps = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("text", ["", "- recipe\n", "cmkd", "3"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml: an experiment file holds keys and values"):
        config.load(path)


@pytest.mark.parametrize("content", [b"recipe: [", b"\xff\xfe\x00"])
def test_a_file_that_is_no_yaml_is_refused(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml: not readable as YAML"):
        config.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such experiment file"):
        config.load(tmp_path / "absent.yaml")


def test_yaml_runs_no_code(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"recipe: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'made'}]")
    with pytest.raises(ConfigError, match="not readable as YAML"):
        config.load(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"data": {"kind": "simulated", "labelled": 8, "where": {"kind": "fluo"}}},
        {"data": {"path": "tissue", "labelled": 1.0, "channels": ["a", "b"], "pixel_size": 0.5}},
        {"student": {"encoder_weights": "w.pth"}, "title": "µm, «quoted»: yes", "twin": False},
        {"loss": {"boundary": "off", "weighting": "fixed", "weights": {"probability": 2}}},
        {"teacher": {"kind": "onnx", "path": "t", "options": {"tile": 512, "name": "x", "r": 0.5}}},
        {"training": {"workers": 0, "trackers": ["tensorboard"], "patience": 3}},
    ],
)
def test_saving_and_loading_gives_the_same_experiment(tmp_path, sections):
    experiment = config.parse(good(**sections), "mine.yaml")
    config.save(experiment, tmp_path / "config.yaml")
    loaded = config.load(tmp_path / "config.yaml")
    assert loaded == experiment
    assert type(loaded.data.labelled) is type(experiment.data.labelled)


def test_a_draft_may_lack_what_the_command_line_gives():
    drafted = config.draft({"recipe": "cmkd", "data": {"labelled": 3}}, "mine.yaml")
    assert drafted.recipe == "cmkd"
    assert drafted.data.labelled == 3
    assert drafted.data.path is None
    assert drafted.student.encoder_weights == "choose"
    assert not hasattr(drafted, "out")  # the command line must ask for it


@pytest.mark.parametrize("name", ["unet-timm-regnety_004", "unet-timm-mobilenetv2_100.ra_in1k"])
def test_any_encoder_of_timms_may_be_named(name):
    values = good(student={"encoder_weights": "random", "architecture": name})
    assert config.parse(values, "x").student.architecture == name


def test_every_key_has_a_sentence_for_help():
    silent = [key for key, field in config.keys_within(config.Experiment) if not field.description]
    assert silent == []
