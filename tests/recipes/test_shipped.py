"""The experiment files that come with Abbe: each parses once the user's own keys are given."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from commands import abbe

from abbe import config
from abbe.datasets import simulated_tissue
from abbe.errors import ConfigError
from abbe.recipes import shipped
from abbe.runs import build

FILES = sorted(shipped.FOLDER.rglob("*.yaml"))
USER = {
    "data": {"path": "tissue"},
    "teacher": {"kind": "masks", "path": "masks"},
    "student": {"encoder_weights": "random"},
}
"""What a shipped file cannot know."""


def completed(path: Path) -> config.Experiment:
    values = config.read_values(path)
    for section, keys in USER.items():
        if section == "teacher" and values["recipe"] in ("imagenet", "supervised"):
            continue
        if section == "data" and values["data"]["kind"] == "simulated":
            continue
        values[section] = {**keys, **values.get(section, {})}
    return config.parse(values, str(path))


def commands(path: Path) -> list[list[str]]:
    """The complete commands in the comments at a file's head that run this very file."""
    head = path.read_text("utf-8").split("\nrecipe:")[0]
    text = re.sub(r"\\\n#\s*", "", head)  # a command may go on in the next line
    found = re.findall(rf"abbe (distill {path.stem} .*?)(?:  .*)?$", text, re.MULTILINE)
    return [shlex.split(command) for command in found]


def test_every_file_is_found_by_name():
    assert {"cmkd", "supervised", "demo", "demo-teacher"} <= set(shipped.names())
    assert len(FILES) == len(shipped.names())
    for path in FILES:
        assert shipped.recipe_path(path.stem) == path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_file_parses_once_the_users_keys_are_given(path):
    experiment = completed(path)
    assert experiment.recipe == yaml.safe_load(path.read_text("utf-8"))["recipe"]
    assert config.draft(config.read_values(path), str(path)).recipe == experiment.recipe


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_file_says_what_it_is_and_how_it_is_run(path):
    first, *_ = path.read_text("utf-8").splitlines()
    assert re.match(r"# [A-Z].{20,}", first)
    assert f"{path.stem:14} {first[2:]}" in shipped.listing()
    assert commands(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_commands_at_a_files_head_parse(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiments = []

    def stop(experiment, **_options):
        experiments.append(experiment)
        raise ConfigError("far enough")

    monkeypatch.setattr("abbe.runs.distill.distill", stop)
    for words in commands(path):
        assert abbe(*words) == 1
    assert len(experiments) == len(commands(path))
    assert all(isinstance(each, config.Experiment) for each in experiments)


def test_a_file_of_ones_own_is_taken_by_path(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("recipe: cmkd")
    assert shipped.recipe_path(str(path)) == path
    with pytest.raises(ConfigError, match="neither a shipped recipe"):
        shipped.recipe_path(str(tmp_path / "other.yml"))
    with pytest.raises(ConfigError, match="neither a shipped recipe"):
        shipped.recipe_path(str(tmp_path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_at_most_200_validation_images_choose_weights_but_for_photographs(path):
    records = simulated_tissue(402).records[::2]
    most = len(build.held_out(records, completed(path)))
    assert most == (201 if path.stem == "imagenet" else 200)
