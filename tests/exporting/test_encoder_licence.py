"""The licence of the encoder's first weights, as the card tells it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from abbe.errors import ConfigError
from abbe.exporting.request import ExportRequest
from abbe.runs.export_inputs import common
from abbe.runs.export_inputs.common import Source
from abbe.summary import Teacher


def told(architecture: str, weights: str = "imagenet", licence: str | None = None) -> str:
    summary = SimpleNamespace(teacher=Teacher())
    folder = SimpleNamespace(resolve=lambda: SimpleNamespace(name="run"))
    source = SimpleNamespace(
        run=SimpleNamespace(summary=summary, network="baseline", folder=folder),
        request=ExportRequest(encoder_licence=licence),
        experiment=SimpleNamespace(student=SimpleNamespace(architecture=architecture)),
    )
    learned = {"encoder_weights": weights, "trained_on": "discs", "data_licence": "CC0-1.0",
               "recipe": "supervised", "simulated": False}  # fmt: skip
    return common.lineage(cast(Source, cast(Any, source)), learned).weights_licence


@pytest.mark.parametrize(
    ("architecture", "licence"),
    [
        ("unet-convnextv2-atto", "cc-by-nc-4.0"),
        ("unet-efficientnet-lite0", "apache-2.0"),
        ("unet-mobilenetv3-local", "apache-2.0"),
        ("unet-swin-tiny", "mit"),
        ("unet-timm-hiera_tiny_224", "cc-by-nc-4.0"),
        ("promptable-timm-fastvit_t8", "fastvit-license"),
        ("promptable-repvit-m0.9", "apache-2.0"),
    ],
)
def test_imagenet_weights_have_the_licence_that_timm_states(
    architecture: str, licence: str
) -> None:
    assert f"ImageNet weights ({licence};" in told(architecture)
    with pytest.raises(ConfigError, match=f"timm states their licence, {licence}"):
        told(architecture, licence="MIT")


def test_where_timm_states_none_it_may_be_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "imagenet_licence", lambda name: None)
    assert "ImageNet weights (licence not stated;" in told("unet-resnet18")
    assert "ImageNet weights (MIT;" in told("unet-resnet18", licence="MIT")


def test_files_have_what_is_stated_and_random_weights_none() -> None:
    assert "encoder: mine.pt, licence not stated" in told("unet-resnet18", "mine.pt")
    assert "encoder: mine.pt, MIT" in told("unet-resnet18", "mine.pt", "MIT")
    assert told("unet-resnet18", "random").startswith("none")
    with pytest.raises(ConfigError, match="began from no file of encoder weights but 'random'"):
        told("unet-resnet18", "random", "MIT")
