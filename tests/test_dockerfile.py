"""The Dockerfile, as far as it can be read; `make image-check` carries out what it says."""

import re

import pytest

pytest.importorskip("dockerfile_parse", reason="pip install dockerfile-parse")
from image_check import ROOT, let_through, stages

from abbe.cli.serve.api import TOKEN


def test_the_image_runs_as_nobody_special_and_says_how_it_is():
    build, image = stages()
    assert build.base.endswith(" AS build")
    assert build.base.split()[0] == image.base == "python:${PYTHON}"
    (user,) = image.values("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)  # by number: Kubernetes checks those
    (health,) = image.values("HEALTHCHECK")
    assert "/health/live" in health
    assert image.words("ENTRYPOINT") == ["abbe"]
    assert image.values("RUN") == []  # all is made in the first stage, whose tools stay there
    assert [step.value.split()[0] for step in image.steps if step.instruction == "COPY"] == [
        "--from=build"
    ]


def test_nothing_is_fetched_when_it_runs_and_nothing_secret_is_in_it():
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert "ADD " not in text
    assert "curl" not in text
    _, image = stages()
    assert "HF_HUB_OFFLINE=1" in image.values("ENV")[0]
    assert TOKEN not in "".join(image.values("ENV") + image.values("CMD"))


def test_the_build_sees_what_it_copies_and_nothing_else():
    build, _ = stages()
    copied = {name for value in build.values("COPY") for name in value.split()[:-1]}
    assert {path.name for path in ROOT.iterdir() if let_through(path.name)} == copied
    for name in (".git", "tests", "runs", ".venv", "data.tif"):
        assert not let_through(name)
