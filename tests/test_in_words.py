"""Messages that count: one image is no images, and what strikes all of them stands once."""

import pytest

from abbe.cli import main
from abbe.in_words import counted, faults, listing
from abbe.runtime.batch.many import Outcome


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1000, "1,000 images")]
)
def test_a_number_agrees_with_its_noun(count: int, told: str) -> None:
    assert counted(count, "image") == told


def test_names_beyond_the_limit_are_counted() -> None:
    assert listing(["a", "b"], 2) == "a, b"
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"


def test_a_fault_that_strikes_all_images_is_told_once() -> None:
    names = [f"in/{number}.png" for number in range(23)]
    lines = faults({name: f"{name}: it has 1 channel" for name in names})
    assert lines == [
        "  in/0.png: it has 1 channel",
        f"    and so 22 more: {', '.join(names[1:21])} and 2 more",
    ]


def test_other_faults_stay_apart_and_the_least_are_counted() -> None:
    reasons = {"a": "is cut", "b": "x/b.png: is empty", "c": "is cut", "d": "x/d.png: is empty"}
    assert faults(reasons) == [
        "  a: is cut", "    and so 1 more: c", "  b: x/b.png: is empty", "    and so 1 more: d",
    ]  # fmt: skip
    assert faults(reasons, 1)[2:] == ["  … and 2 images more"]


def test_a_name_is_no_part_of_another_word() -> None:
    """Image 1 of 1 channel and image 2 of 2 channels have not the same fault."""
    assert len(faults({"1": "it has 11 channels", "2": "it has 12 channels"})) == 2


def test_predict_tells_one_image_and_a_common_fault() -> None:
    failed = {name: f"{name}: it is grey" for name in ("a.png", "b.png", "c.png")}
    lines = Outcome(done={"d.png": 1}, kept=["e.png"], failed=failed).summary().splitlines()
    assert lines[0].startswith("1 image, 1 object, ")
    assert lines[1] == "results were there already: 1 image"
    assert lines[2:] == [
        "3 images failed:",
        "  a.png: it is grey",
        "    and so 2 more: b.png, c.png",
    ]


def test_a_wrong_command_names_its_verb_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distill", "cmkd"]) == 1
    assert capsys.readouterr().err.startswith("abbe distill: cmkd:\n  data: kind 'folder' needs")
    assert main(["curve", "cmkd"]) == 1
    assert capsys.readouterr().err.startswith("abbe curve: cmkd:\n")
