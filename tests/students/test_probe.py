"""A linear probe looks at features that are scaled on the training images."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from abbe.students import LinearProbe, build_classifier, load_classifier, save_classifier


@pytest.fixture(scope="module")
def probe() -> LinearProbe:
    torch.manual_seed(0)
    return LinearProbe(
        build_classifier("resnet18", in_channels=1, classes=("a", "b"), encoder_weights="random")
    ).eval()


def features(probe: LinearProbe, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return probe.classifier.embed(images)


def test_scaled_features_have_mean_0_and_deviation_1(probe):
    images = torch.rand(6, 1, 64, 64)
    seen = features(probe, images)
    assert seen.std(0).max() < 0.5  # so that scaling has something to do
    probe.scale_features(seen)
    heard: list[Tensor] = []
    hook = probe.linear.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    with torch.inference_mode():
        probe(images)
    hook.remove()
    torch.testing.assert_close(heard[0].mean(0), torch.zeros(512), atol=1e-4, rtol=0)
    spread = heard[0].std(0, correction=0)
    changing = seen.std(0, correction=0) > 1e-5
    torch.testing.assert_close(spread[changing], torch.ones(512)[changing], atol=1e-2, rtol=0)


def test_a_feature_that_never_changes_is_not_divided_by_nothing(probe):
    seen = torch.rand(5, 512)
    seen[:, 3] = 0.7
    probe.scale_features(seen)
    assert probe.feature_std[3] == 1
    assert torch.isfinite(probe.feature_std).all()


def test_scaling_travels_and_probes_of_earlier_versions_take_features_as_they_are(probe, tmp_path):
    path, images = tmp_path / "student.safetensors", torch.rand(3, 1, 64, 64)
    probe.scale_features(features(probe, images))
    save_classifier(path, probe, {})
    again, _ = load_classifier(path)
    with torch.inference_mode():
        assert torch.equal(again(images), probe(images))

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    bare = {k: v for k, v in load_file(path).items() if not k.startswith("feature_")}
    save_file(bare, path, metadata)
    earlier, _ = load_classifier(path)
    with torch.inference_mode():
        expected = probe.linear(probe.classifier.embed(images))
        torch.testing.assert_close(earlier(images), expected)
