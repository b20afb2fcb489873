"""No channel needs naming where there is no choice."""

import pytest
from commands import TINY, TWIN_ALONE, abbe, told

from abbe import config, datasets
from abbe.errors import InputError
from abbe.runs import build
from abbe.runs.folder import open_run, read_experiment

RGB = ("red", "green", "blue")


@pytest.mark.parametrize(
    ("has", "asked", "expected"),
    [
        (RGB, ("auto",), RGB),
        (("blue", "red", "green"), ("auto",), RGB),
        (("grey",), ("auto",), ("nucleus",)),  # for which the only one is taken
        (("nucleus", "membrane"), ("auto",), ("nucleus",)),
        ((*RGB, "nucleus"), ("auto",), ("nucleus",)),
        (RGB, ("green",), ("green",)),
        (("nucleus", "membrane"), ("membrane",), ("membrane",)),
    ],
)
def test_channels_are_chosen_where_none_are_named(has, asked, expected):
    student = config.Student(encoder_weights="random", input_channels=asked)
    dataset = datasets.Dataset(name="set", records=(), channels=has)
    assert build.channels_of(student, dataset) == expected


@pytest.mark.slow
def test_a_student_of_colour_images_sees_their_colours(pictures, tmp_path, capsys):
    words = ["--data.path", pictures, *TINY, "--out", tmp_path / "run"]
    assert abbe("distill", "supervised", *words) == 0
    assert "the student sees red, green and blue: the images are in colour" in (
        capsys.readouterr().out
    )
    assert told(open_run(tmp_path / "run"))["student_channels"] == list(RGB)
    kept = read_experiment(tmp_path / "run")
    assert kept.student.input_channels == RGB
    assert kept.student.normalisation == "range"
    assert abbe("distill", tmp_path / "run", "--resume") == 0


@pytest.mark.slow
def test_a_distilled_one_does_too(pictures, tmp_path):
    teacher = ["--teacher.kind", "masks", "--teacher.path", pictures / "labels"]
    words = ["--data.path", pictures, *TINY, *teacher, *TWIN_ALONE, "--out", tmp_path / "run"]
    assert abbe("distill", "cmkd", *words) == 0
    assert told(open_run(tmp_path / "run"))["student_channels"] == list(RGB)


def test_where_there_is_a_choice_it_is_asked_for(tmp_path, capsys):
    words = "--data.kind simulated --data.channels membrane cytoplasm --student.encoder-weights"
    code = abbe("distill", "supervised", *words.split(), "random", "--out", tmp_path / "run")
    assert code == 1
    said = capsys.readouterr().err
    assert "the student is to see nucleus" in said
    assert "say what is seen with --student.input-channels" in said


@pytest.mark.parametrize(("has", "wanted"), [(("grey",), RGB), (RGB, ("grey",))])
def test_grey_and_colour_do_not_go_together_and_the_key_is_named(has, wanted):
    dataset = datasets.Dataset(name="set", records=(), channels=has)
    with pytest.raises(InputError) as raised:
        build.check_channels(dataset, wanted, "the student", "give --student.input-channels")
    assert "or give --student.input-channels" in str(raised.value)
    assert "Did you mean" not in str(raised.value)  # grey is no misspelt green
