"""A name or a path that is not there is answered with the one like it, and only with such a one."""

import os
import shlex

import numpy as np
import pytest
from commands import abbe

from abbe import config
from abbe.errors import AbbeError, ConfigError, InputError
from abbe.imaging import write_labels
from abbe.imaging.opening import open_image
from abbe.near import meant, meant_beside, nearest


def test_case_hyphens_and_underscores_do_not_matter():
    assert nearest("UNET_ResNet18", ["unet-resnet18", "unet-resnet50"]) == "unet-resnet18"
    assert nearest("nothing-like-it", ["cmkd", "rckd"]) is None
    assert meant("rkcd", ["cmkd", "rckd"]) == " Did you mean 'rckd'?"


def test_the_first_part_of_a_path_that_is_not_there_was_mistyped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tissue" / "images").mkdir(parents=True)
    (tmp_path / "a.tif").touch()
    (tmp_path / ".tisue").mkdir()
    assert meant_beside("tisue/images") == f" Did you mean tissue{os.sep}images{os.sep}?"
    assert meant_beside("tisue/other") == f" Did you mean tissue{os.sep}?"
    assert meant_beside("a.tiff") == " Did you mean a.tif?"
    assert meant_beside("tissue") == ""  # it is there
    assert meant_beside("elsewhere/images") == ""
    assert meant_beside("nucle", ["nuclei"]) == " Did you mean 'nuclei'?"


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("distil", "'distill'"),
        ("distill cmdk", "'cmkd'"),
        ("distill mine.yml", "mine.yaml"),
        ("distill mine.yaml", "'masks'"),
        ("distill cmkd --teacher.kind maks", "'--teacher.kind masks'"),
        ("distill cmkd --data.kind=foldr", "'--data.kind folder'"),
        ("distill cmkd --student.architecture unet-resnet-18 {rest}", "'unet-resnet18'"),
        ("distill cmkd {rest} --teacher.options sufix _masks", "'suffix'"),
        ("distill cmkd {rest} --teacher.path mask/ --seeds 1", "masks/"),
        ("distill cmkd {rest} --data.path tisue", "tissue/"),
        ("condense tissue --teacher mask", "masks/"),
        ("condense tissue --teacher nucle", "'nuclei'"),
        ("condense tissue --training.stepps 3", "'training.steps'"),
        ("predict nucle tissue", "'nuclei'"),
        ("predict nuclei tisue/images", "tissue/images/"),
        ("predict nuclei tissue/images --results lables", "'--results labels'"),
        ("data chek tissue", "'check'"),
        ("data check tisue", "tissue/"),
        ("data check tissue --data.kind foldr", "'--data.kind folder'"),
        ("data fetch bbc038", "'bbbc038'"),
        ("report tissu", "tissue/"),
        ("recipes copy cmdk", "'cmkd'"),
        ("reproduce cmkd-tisuenet", "'cmkd-tissuenet'"),
    ],
)
def test_the_command_line_says_what_was_probably_meant(words, near, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("tissue/images", "tissue/labels", "masks"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(4):
            write_labels(tmp_path / folder / f"{number}.png", np.eye(64, dtype=np.uint16))
    (tmp_path / "mine.yaml").write_text("recipe: cmkd\nteacher: {kind: maks}\n")
    rest = (
        "--data.path tissue --teacher.kind masks --teacher.path masks "
        "--student.encoder-weights random --out run"
    )
    assert abbe(*shlex.split(words.format(rest=rest))) in (1, 2)
    told = capsys.readouterr()
    assert f"Did you mean {near}?" in (told.out + told.err).replace(os.sep, "/")


def test_options_are_told_once_by_the_parser_of_the_command_line(capsys):
    assert abbe("distill", "cmkd", "--training.step", 5) == 2
    told = capsys.readouterr().err
    assert told.count("meant") == 1
    assert "--training.steps" in told


def test_a_word_that_is_right_is_not_held_to_be_mistyped_beside_one_that_is(capsys):
    words = ("--student.architecture", "unet-timm-test_efficientnet")  # any network of timm's
    assert abbe("distill", "cmkd", *words, "--training.precision", "fp23") == 2
    told = capsys.readouterr().err
    assert told.count("Did you mean") == 1
    assert "'--training.precision fp32'" in told


def test_files_of_experiments_and_python_are_told_it_too(tmp_path):
    with pytest.raises(ConfigError, match=r"Did you mean 'steps'\?"):
        config.parse({"recipe": "cmkd", "training": {"step": 5}}, "x.yaml")
    with pytest.raises(ConfigError, match=r"Did you mean 'store'\?"):
        config.Teacher(kind="stor", path=tmp_path)
    with pytest.raises(ConfigError) as caught:
        config.parse({"recipe": "cmdk", "out": "a"}, "x.yaml")
    assert "(it is 'cmdk'). Did you mean 'cmkd'?" in str(caught.value)
    (tmp_path / "a.tif").touch()
    with pytest.raises(InputError, match=r"Did you mean .*a\.tif\?"):
        open_image(tmp_path / "b.tif")


def test_nothing_is_proposed_where_nothing_is_like_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in ("fly", "distill tree", "predict zebra .", "data check nowhere"):
        abbe(*words.split())
    assert "Did you mean" not in capsys.readouterr().err
    with pytest.raises(AbbeError) as caught:
        config.Teacher(kind="zebra", path=tmp_path)
    assert "Did you mean" not in str(caught.value)
