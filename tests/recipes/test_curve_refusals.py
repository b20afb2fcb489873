"""Curves that are refused before any work, and what the help shows."""

import pytest
from commands import abbe
from curve_tiles import draw_curve_tiles, words_of_curve


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return draw_curve_tiles(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def base(tiles):
    return words_of_curve(tiles)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fractions", "5"], "fractions: 5 is no share of the labels"),
        (["--fractions", "0.1", "0"], "fractions: 0 is no share of the labels"),
        (["--fractions", "0.1", "0.1"], "fractions: 0.1 is named twice"),
        (["--seeds", "1", "1"], "seeds: 1 is named twice"),
        (["--seeds", "-1"], "seeds: -1 is negative"),
        (["--initialisations", "simclr"], "there is no 'simclr'; choose from random, given"),
        (["--initialisations", "rckd", "rckd"], "initialisations: rckd is named twice"),
        (["--initialisations", "random", "given"], "'given' begins with the weights of"),
        (
            ["--teacher.kind", "none", "--initialisations", "random", "rckd"],
            "initialisation 'rckd': experiment: recipe 'rckd' with pretraining.method 'rckd' needs",
        ),
        (["--pretraining.method", "rckd"], "name them with --initialisations"),
        (["--data.labelled", "0.5"], "data.labelled is 0.5, but the fractions say"),
        (
            ["--initialisations", "contrastive", "rckd", "--pretraining.batch-size", "9"],
            "there are 8 tiles only",
        ),
        (["--student.encoder-weights", "choose"], "encoder_weights must be chosen"),
    ],
)
def test_what_does_not_fit_fails_before_any_work(base, tmp_path, capsys, arguments, complaint):
    assert abbe(*base, "--out", tmp_path / "x", *arguments) in (1, 2)
    shown = capsys.readouterr()
    assert complaint in " ".join((shown.err + shown.out).split())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [((2, 0), "images of one class only"), ((2, 1), "fewer of sparse (1)")],
)
def test_classes_that_cannot_be_learned_are_named(base, tiles, tmp_path, capsys, counts, complaint):
    for split in ("train", "test"):
        for name, count in zip(("dense", "sparse"), counts, strict=True):
            folder = tmp_path / "few" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                source = tiles / "classes" / split / name / f"{number}.png"
                (folder / f"{number}.png").write_bytes(source.read_bytes())
    assert abbe(*base, "--data.path", tmp_path / "few", "--out", tmp_path / "x") == 1
    assert complaint in capsys.readouterr().err


def test_other_recipes_have_no_curve(tmp_path, capsys):
    words = ["--data.kind", "simulated", "--student.encoder-weights", "random"]
    assert abbe("curve", "supervised", *words, "--out", tmp_path / "x") == 1
    assert "recipe 'supervised' has no label-efficiency curve" in capsys.readouterr().err


def test_the_help_shows_examples_and_every_key(capsys):
    assert abbe("curve", "--help") == 0
    shown = capsys.readouterr().out
    assert "abbe curve rckd --data.path tiles_by_class/" in shown
    assert "abbe curve cmkd" in shown
    assert abbe("curve", "rckd", "--help-all") == 0
    shown = capsys.readouterr().out
    for key in ("--fractions", "--seeds", "--initialisations", "--pretrain-per-seed", "--resume",
                "--fine-tuning.task", "--training.steps"):  # fmt: skip
        assert key in shown
