"""The verbs as a user types them; what needs a trained run is in tests/recipes."""

import re
from pathlib import Path

import pytest
from commands import TINY, abbe

from abbe import config
from abbe.cli import VERBS

# ------------------------------------------------------------------------------------------ help

HELP = [[name] for name in VERBS] + [["data", part] for part in ("list", "fetch", "check")]


@pytest.mark.parametrize("words", [*HELP, ["distill", "cmkd"], ["curve", "rckd"]], ids=" ".join)
def test_help_of_every_verb_succeeds_and_shows_an_example(capsys, words):
    assert abbe(*words, "--help") == 0
    shown = capsys.readouterr().out
    # 'abbe data list' takes no argument: its own name is all there is to type
    assert "example" in shown or words[0] == "data"
    assert f"abbe {' '.join(words[:2] if words[0] == 'data' else words[:1])} " in shown


OWN = {
    "cmkd": {"loss.probability", "training.labelled_share", "teacher.live"},
    "imagenet": {"fine_tuning.colour"},
    "kdsam": {"promptable.side", "promptable.mask_step", "teacher.live"},
    "rckd": {"pretraining.method", "fine_tuning.task", "pretrain_data.stride"},
    "supervised": {"loss.boundary"},
}
"""Some keys that each recipe reads, and most others do not."""


def keys_shown(text: str) -> set[str]:
    """Keys of the experiment file in a help text, each by the option that begins its entry."""
    options = re.findall(r"^(?:│|\|| ) --([a-z][\w.-]*)", text, re.MULTILINE)
    known = {key for key, _ in config.keys_within(config.Experiment)}
    return {option.replace("-", "_") for option in options} & known


@pytest.mark.parametrize("recipe", sorted(OWN))
def test_help_shows_the_ten_keys_that_matter_first_and_help_all_those_of_the_recipe(capsys, recipe):
    assert abbe("distill", recipe, "--help") == 0
    short = capsys.readouterr().out
    assert keys_shown(short) == set(config.RECIPES[recipe].important)
    assert "--resume" in short
    assert f"abbe distill {recipe} --help-all" in short
    assert abbe("distill", recipe, "--help-all") == 0
    known = {key for key, _ in config.keys_within(config.Experiment)} - {"recipe"}
    own = keys_shown(capsys.readouterr().out)
    assert own == {key for key in known if config.RECIPES[recipe].reads(key)}
    assert own >= OWN[recipe]


@pytest.mark.parametrize("recipe", ["cmkd", "rckd"])
def test_help_of_a_curve_leaves_out_what_its_own_options_stand_for(capsys, recipe):
    assert abbe("curve", recipe, "--help") == 0
    short = capsys.readouterr().out
    shown = keys_shown(short) - {"seeds"}  # the curve's own
    assert shown == set(config.RECIPES[recipe].important) - {"pretraining.method"}
    assert abbe("curve", recipe, "--help-all") == 0
    whole = capsys.readouterr().out
    assert "--fractions" in whole
    assert "--data.labelled" not in whole
    assert "training.crop" in keys_shown(whole)


@pytest.mark.parametrize(
    ("recipe", "option", "readers"),
    [
        ("cmkd", "--promptable.side=512", "recipe kdsam"),
        ("cmkd", "--pretrain-data.path", "recipe rckd"),
        ("kdsam", "--loss.boundary", "recipes cmkd, supervised"),
        ("rckd", "--training.watch", "recipes cmkd, supervised"),
        ("supervised", "--no-twin", "recipes cmkd, kdsam, rckd"),
        ("rckd", "--teacher.no-live", "recipes cmkd, kdsam"),
    ],
)
@pytest.mark.parametrize("verb", ["distill", "curve"])
def test_an_option_of_another_recipe_is_refused_with_the_recipes_it_belongs_to(
    capsys, verb, recipe, option, readers
):
    assert abbe(verb, recipe, option, "x") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"abbe {verb}: ")
    assert f"belongs to {readers}" in said
    assert f"recipe '{recipe}' does not read it" in said


def test_the_overview_names_every_verb(capsys):
    assert abbe("--help") == 0
    shown = capsys.readouterr().out
    for name, summary in VERBS.items():
        assert f"  {name} " in shown
        assert summary in shown


def test_no_verb_at_all_is_wrong_usage_and_shows_the_overview(capsys):
    assert abbe() == 2
    assert "abbe demo" in capsys.readouterr().out


def test_an_unknown_verb_is_wrong_usage_and_names_the_verbs(capsys):
    assert abbe("distil") == 2
    said = capsys.readouterr().err
    assert "no verb 'distil'" in said
    assert "distill" in said


def test_the_version_is_told(capsys):
    assert abbe("--version") == 0
    assert capsys.readouterr().out.startswith("abbe 0.")


@pytest.mark.parametrize(
    "words", [["data"], ["data", "show"], ["distill"], ["distill", "--resume"]]
)
def test_wrong_usage_shows_help_and_exits_with_two(capsys, words):
    assert abbe(*words) == 2
    assert "usage" in capsys.readouterr().out


def test_an_unknown_option_is_wrong_usage_and_close_ones_are_named(capsys):
    assert abbe("distill", "cmkd", "--training.stepz", 3) == 2
    said = capsys.readouterr()
    assert "--training.steps" in said.out + said.err


# ------------------------------------------------------------- distill, evaluate, report: refusals


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["cmdk"], "'cmdk' is neither a shipped recipe (cmkd, "),
        (["absent.yaml"], "'absent.yaml' is neither a shipped recipe"),
        (["cmkd", "--student.encoder-weights", "random"], "data: kind 'folder' needs a path"),
        (["cmkd", "--data.path", "a"], "encoder_weights must be chosen: 'imagenet'"),
        (
            ["cmkd", "--data.path", "a", "--student.encoder-weights", "random"],
            "recipe 'cmkd' needs a teacher: give --teacher.kind",
        ),
        (
            ["supervised", "--data.path", "a", *TINY, "--training.crop", "33"],
            "training.crop: Input should be a multiple of 32 (it is 33)",
        ),
        (["supervised", "--data.path", "no tissue", *TINY], "no tissue is not a folder"),
    ],
)
def test_what_cannot_be_distilled_is_said_before_any_work(
    tmp_path, monkeypatch, capsys, words, reason
):
    monkeypatch.chdir(tmp_path)
    assert abbe("distill", *words) == 1
    said = capsys.readouterr().err
    assert said.startswith("abbe distill: ")
    assert reason in said
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_file_with_a_wrong_key_is_named(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: cmkd\ntraining: {step: 3}\n")
    assert abbe("distill", path) == 1
    said = capsys.readouterr().err
    assert "mine.yaml" in said
    assert "training.step: unknown key; allowed here: steps, passes, minimum_steps, batch" in said


@pytest.mark.parametrize(
    "words", [["report"], ["evaluate", "--name", "x", "--data.kind", "simulated"]]
)
def test_a_folder_without_a_finished_run_is_refused(tmp_path, capsys, words):
    assert abbe(words[0], tmp_path / "run", *words[1:]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "run") in said
    assert "finished run" in said


@pytest.mark.parametrize("words", ["--student.sees dapi", "--student.sees=dapi"])
def test_options_by_their_earlier_names_are_read_and_todays_are_told(tmp_path, capsys, words):
    rest = "distill supervised --data.kind simulated --student.encoder-weights random --out"
    assert abbe(*rest.split(), tmp_path / "run", *words.split()) == 1
    note, error = capsys.readouterr().err.splitlines()[:2]
    assert note == "note: --student.sees is --student.input-channels today"
    assert "the student is to see dapi" in error


# --------------------------------------------------------------------------------------- recipes


def test_recipes_are_listed_with_what_they_are(capsys):
    assert abbe("recipes") == 0
    shown = capsys.readouterr().out
    for name in ("cmkd", "supervised", "demo", "demo-teacher"):
        (line,) = [line for line in shown.splitlines() if line.split()[0] == name]
        assert len(line.split()) > 5


def test_a_recipe_is_copied_to_be_edited_and_never_over_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert abbe("recipes", "copy", "cmkd", "mine.yaml") == 0
    assert "mine.yaml" in capsys.readouterr().out
    text = Path("mine.yaml").read_text("utf-8")
    assert "recipe: cmkd" in text
    assert text.startswith("#")  # with its comments
    Path("mine.yaml").write_text("edited")
    assert abbe("recipes", "copy", "cmkd", "mine.yaml") == 1
    assert "mine.yaml: exists already" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == "edited"
    assert abbe("recipes", "copy", "demo") == 0
    assert Path("demo.yaml").exists()


def test_an_unknown_recipe_is_not_copied(capsys):
    assert abbe("recipes", "copy", "kd") == 1
    assert "recipe 'kd' is not shipped; choose one of cmkd, " in capsys.readouterr().err
    assert abbe("recipes", "copy") == 1
    assert "name the recipe to copy" in capsys.readouterr().err
