"""How long and how fast, as the experiment file says it: steps or passes, a rate or auto."""

from typing import Any

import pytest
from experiment_values import KDSAM, good, refusal

from abbe import config

OF_SECTION: dict[str, dict[str, Any]] = {"pretraining": {"recipe": "rckd"}, "promptable": KDSAM}
"""What makes an experiment of the recipe that a section belongs to."""


@pytest.mark.parametrize(
    ("section", "steps", "passes", "usual"),
    [
        ("training", "steps", "passes", 2000),
        ("pretraining", "steps", "passes", 5000),
        ("promptable", "decoder_steps", "decoder_passes", 1000),
    ],
)
def test_a_length_is_said_in_steps_or_in_passes(section, steps, passes, usual):
    own = OF_SECTION.get(section, {})

    def read(**values: Any) -> tuple[Any, Any]:
        made = getattr(config.parse(good(**own, **{section: values}), "mine.yaml"), section)
        return getattr(made, steps), getattr(made, passes)

    assert read(**{steps: 7}) == (7, None)
    assert read(**{passes: 2.5}) == (None, 2.5)
    assert read() == (usual, None)  # as before there were passes
    message = refusal(**own, **{section: {steps: 7, passes: 2.5}})
    assert f"{section}: {steps} (7) and {passes} (2.5) both say how long" in message
    assert "leave one of them out" in message


def test_a_length_given_anew_takes_the_place_of_the_other():
    values = good(
        training={"passes": 30, "crop": 64},
        pretraining={"steps": 9},
        promptable={"decoder_passes": 3},
    )
    words = ["--training.steps", "4", "--pretraining.passes=2", "--promptable.decoder-steps", "0"]
    kept = config.without_rivals(values, config.keys_of(words))
    assert kept["training"] == {"crop": 64}
    assert kept["pretraining"] == {}
    assert kept["promptable"] == {}
    assert config.without_rivals(values, {"training.crop", "seed"}) == values
    assert values["training"] == {"passes": 30, "crop": 64}  # the file's contents are untouched


@pytest.mark.parametrize("section", ["training", "pretraining"])
def test_a_learning_rate_is_a_number_or_auto(section):
    own = OF_SECTION.get(section, {})
    for given in ("auto", 0.01):
        values = good(**own, **{section: {"learning_rate": given}})
        assert getattr(config.parse(values, "mine.yaml"), section).learning_rate == given
    assert getattr(config.parse(good(**own), "mine.yaml"), section).learning_rate == "auto"
    for wrong in (0, -0.1, "fast"):
        message = refusal(**own, **{section: {"learning_rate": wrong}})
        assert f"{section}.learning_rate: " in message
