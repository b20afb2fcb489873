"""Losses between embeddings, against plain loops and torchvision's networks."""

import urllib.error
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from abbe.errors import ConfigError, InputError
from abbe.losses.feature_networks import FEATURE_NETWORKS, FeatureNetwork, feature_network
from abbe.losses.perceptual import (
    SMALLEST_ENERGY,
    DecoderLoss,
    PerceptualLoss,
    embedding_mse,
    energies_of,
    random_points,
    triplets_of,
)
from abbe.losses.projection import Projection, fit_projection
from abbe.sam import Layout, Prompts, build_sam

CHANNELS = 7


def embeddings(seed: int, batch: int = 2, channels: int = CHANNELS, side: int = 8) -> Tensor:
    """Channels of different means and deviations, related to each other."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, channels, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(batch, channels, side, side, generator=generator)
    return torch.einsum("dc,bchw->bdhw", mix, noise) + torch.arange(channels)[:, None, None]


TEACHER, STUDENT = embeddings(1), embeddings(2)
MEASURED = [TEACHER, embeddings(3)]


@pytest.fixture(scope="module")
def projection() -> Projection:
    return fit_projection(MEASURED)


@pytest.fixture(scope="module")
def vgg():
    return feature_network("vgg16", weights="random", seed=4)


def test_mse_is_the_mean_over_elements_as_a_share_of_the_variance(projection):
    total = 0.0
    for s, t in zip(STUDENT.flatten().tolist(), TEACHER.flatten().tolist(), strict=True):
        total += (s - t) ** 2
    found = embedding_mse(STUDENT, TEACHER, 4.0)
    assert found.item() == pytest.approx(total / STUDENT.numel() / 4)
    assert embedding_mse(TEACHER, TEACHER, 4.0) == 0
    half = embedding_mse(STUDENT.half(), TEACHER, 4.0)
    assert half.dtype == torch.float32
    everything = torch.cat(MEASURED)
    mean = projection.mean.view(1, -1, 1, 1).expand_as(everything)
    assert embedding_mse(mean, everything, projection.variance).item() == pytest.approx(1, rel=1e-5)


def test_the_projection_is_that_of_a_singular_value_decomposition(projection):
    everything = torch.cat([TEACHER, embeddings(3)])
    rows = everything.permute(0, 2, 3, 1).reshape(-1, CHANNELS).double().numpy()
    _, values, directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    cosines = np.abs((projection.directions.numpy() * directions[:3]).sum(1))
    assert np.allclose(cosines, 1, atol=1e-5)
    assert np.allclose(projection.spread, values[:3] / np.sqrt(len(rows)), rtol=1e-5)
    assert np.allclose(projection.mean, rows.mean(0), rtol=1e-5)
    assert np.allclose(projection.deviation, rows.std(0), rtol=1e-5)
    for row in projection.directions:
        assert row[row.abs().argmax()] > 0
    # however the images are shared out
    again = fit_projection(iter(everything.split(1)))
    assert torch.allclose(again.directions, projection.directions, atol=1e-6)


PLACES = (3, 8, 15)
"""Of relu1_2, relu2_2 and relu3_3 among VGG16's layers."""


def naive(found: Tensor, wanted: Tensor, network: nn.Module) -> list[float]:
    """Layer by layer and image by image: ‖difference‖² / (C H W)."""
    losses = []
    for place in PLACES:
        layers = nn.Sequential(*list(network.children())[: place + 1])
        total = 0.0
        for s, t in zip(found, wanted, strict=True):
            difference = (layers(s[None])[0] - layers(t[None])[0]).double()
            channels, height, width = difference.shape
            total += float((difference**2).sum() / (channels * height * width))
        losses.append(total / len(found))
    return losses


def relative(pictures, network: nn.Module) -> list[float]:
    """The student's loss by layer over what the mean embedding costs on the measured ones.

    ``pictures`` makes them of an embedding and the number of a draw.
    """
    energy = np.zeros(len(PLACES))
    for draw, each in enumerate(MEASURED):
        shown = pictures(each, draw)
        energy += np.array(naive(torch.zeros_like(shown), shown, network)) / len(MEASURED)
    return list(naive(pictures(STUDENT, 11), pictures(TEACHER, 11), network) / energy)


def whole_vgg(used) -> nn.Module:
    """torchvision's features with the weights of ours, as far as these reach."""
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    parameters = iter(used.parameters())
    with torch.no_grad():
        for module in list(features.children())[:16]:
            for parameter in module.parameters():
                parameter.copy_(next(parameters))
    assert next(parameters, None) is None
    return features.eval()


def enlarged(pictures: Tensor) -> Tensor:
    return nn.functional.interpolate(pictures, (16, 16), mode="bilinear")


@torch.no_grad()
def test_pca3_is_that_of_a_plain_loop(projection, vgg):
    def pictures(embedding, draw):
        rows = embedding.permute(0, 2, 3, 1) - projection.mean
        seen = torch.stack([rows @ each for each in projection.directions], 1)
        return enlarged(seen / projection.spread.view(1, 3, 1, 1))

    expected = relative(pictures, whole_vgg(vgg))
    found = PerceptualLoss(vgg, projection, MEASURED, "pca3")(STUDENT, TEACHER)
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_triplets_are_those_of_a_plain_loop(projection, vgg):
    def pictures(embedding, draw):
        usual = projection.deviation.square().mean().sqrt()
        scale = torch.maximum(projection.deviation, usual)
        standard = (embedding - projection.mean.view(1, -1, 1, 1)) / scale.view(1, -1, 1, 1)
        chosen = triplets_of(draw, CHANNELS, 4).tolist()
        return enlarged(torch.cat([image[None, each] for image in standard for each in chosen]))

    expected = relative(pictures, whole_vgg(vgg))
    loss = PerceptualLoss(vgg, projection, MEASURED, "triplets", triplets=4)
    assert loss(STUDENT, TEACHER, draw=11).tolist() == pytest.approx(expected, rel=1e-4)
    assert loss(STUDENT, TEACHER, draw=12).tolist() != pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("mode", ["triplets", "pca3"])
@torch.no_grad()
def test_an_embedding_that_is_its_mean_costs_one_in_each_layer(mode, projection, vgg):
    loss = PerceptualLoss(vgg, projection, MEASURED, mode)
    mean = projection.mean.view(1, -1, 1, 1).expand_as(TEACHER)
    costs = [loss(mean, each, draw) for draw, each in enumerate(MEASURED)]
    assert torch.stack(costs).mean(0).tolist() == pytest.approx([1, 1, 1], rel=1e-4)


class Scaled(FeatureNetwork):
    """Another's features, times a number."""

    def __init__(self, other: FeatureNetwork, factor: float) -> None:
        super().__init__(other.stages, other.layers)
        self.factor = factor

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.factor * features for features in super().forward(images)]


@pytest.mark.parametrize("factor", [100.0, 1e-3])
def test_features_of_another_scale_give_the_same_gradients(factor, projection, vgg):
    gradients, values = [], []
    for network in (vgg, Scaled(vgg, factor)):
        student = STUDENT.clone().requires_grad_()
        value = PerceptualLoss(network, projection, MEASURED)(student, TEACHER)
        value.mean().backward()
        values.append(value.tolist())
        gradients.append(student.grad)
    assert values[1] == pytest.approx(values[0], rel=1e-4)
    assert gradients[0].abs().max() > 1e-6
    assert torch.allclose(gradients[1], gradients[0], rtol=1e-3, atol=1e-9)


def test_embeddings_of_another_scale_cost_the_same(vgg):
    values = []
    for factor in (1.0, 0.01):
        measured = [factor * each for each in MEASURED]
        fitted = fit_projection(measured)
        loss = PerceptualLoss(vgg, fitted, measured)(factor * STUDENT, factor * TEACHER)
        mse = embedding_mse(factor * STUDENT, factor * TEACHER, fitted.variance)
        values.append([*loss.tolist(), mse.item()])
    assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_constant_features_do_not_divide_by_zero():
    constant = torch.full((1, 2, 3, 3), 5.0)
    varied = torch.arange(18.0).view(1, 2, 3, 3)
    found = energies_of([((constant, varied, 0 * varied), (constant, 0 * varied, 0 * varied))])
    assert found[0].item() == pytest.approx(25 * SMALLEST_ENERGY)
    assert found[1].item() == pytest.approx(varied.square().mean().item())
    assert 0 < found[2] < 1e-30
    with pytest.raises(InputError, match="no embedding"):
        energies_of([])


def directions_of(channels: int) -> Tensor:
    """Unit vectors (N, C): every channel alone, every principal direction, and random ones."""
    generator = torch.Generator().manual_seed(7)
    rows = embeddings(1, channels=channels).transpose(0, 1).flatten(1)
    principal = torch.linalg.eigh(torch.cov(rows))[1].T
    random = torch.randn(8, channels, generator=generator)
    return torch.cat([torch.eye(channels), principal, random / random.norm(dim=1, keepdim=True)])


@torch.no_grad()
def test_a_change_in_any_direction_costs_something_by_default_and_not_in_pca3(vgg):
    channels = 12
    teacher = embeddings(1, batch=1, channels=channels, side=4)
    fitted = fit_projection([teacher])
    by_default = PerceptualLoss(vgg, fitted, [teacher], triplets=4)
    principal = PerceptualLoss(vgg, fitted, [teacher], "pca3")
    draws = range(8)
    assert {int(i) for draw in draws for i in triplets_of(draw, channels, 4).flatten()} == {
        *range(channels)
    }
    for direction in directions_of(channels):
        changed = teacher + direction.view(1, -1, 1, 1)
        costs = torch.stack([by_default(changed, teacher, draw).mean() for draw in draws])
        assert costs.mean() > 1e-4
    unseen = torch.linalg.svd(fitted.directions)[2][-1]
    changed = teacher + unseen.view(1, -1, 1, 1)
    assert principal(changed, teacher).max() < 1e-6


def test_triplets_are_fair_and_repeatable():
    drawn = triplets_of(5, CHANNELS, 4000)
    assert torch.equal(drawn, triplets_of(5, CHANNELS, 4000))
    assert (drawn.sort(1).values.diff(dim=1) > 0).all()  # three different ones
    shares = torch.bincount(drawn.flatten()) / 4000
    assert torch.allclose(shares, torch.full((CHANNELS,), 3 / CHANNELS), atol=0.03)


def test_the_teachers_pictures_are_standardised(projection, vgg):
    pictures = PerceptualLoss(vgg, projection, MEASURED, "pca3").pictures(torch.cat(MEASURED))
    assert pictures.shape == (4, 3, 16, 16)
    assert torch.allclose(pictures.mean((0, 2, 3)), torch.zeros(3), atol=0.05)


@pytest.mark.parametrize("mode", ["pca3", "triplets"])
def test_it_is_zero_for_the_same_and_positive_for_exchanged_channels(mode, projection, vgg):
    loss = PerceptualLoss(vgg, projection, MEASURED, mode)
    assert loss(TEACHER, TEACHER).tolist() == [0, 0, 0]
    assert loss(TEACHER.flip(1), TEACHER).min() > 1e-3


@pytest.mark.parametrize("mode", ["pca3", "triplets"])
def test_only_the_student_learns(mode, projection, vgg):
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    loss = PerceptualLoss(vgg, projection, MEASURED, mode)
    loss.train()
    assert not any(module.training for module in loss.network.modules())
    loss(student, teacher).mean().backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert loss.state_dict().keys() == {f"network.{key}" for key in vgg.state_dict()}


def test_gradients_agree_with_finite_differences(projection, vgg):
    loss = PerceptualLoss(vgg, projection, MEASURED, "pca3")
    student = STUDENT.clone().requires_grad_()
    loss(student, TEACHER).mean().backward()
    assert student.grad is not None
    direction = student.grad / student.grad.norm()
    step = 0.05
    with torch.no_grad():
        there = loss(STUDENT + step * direction, TEACHER).mean()
        slope = (there - loss(STUDENT - step * direction, TEACHER).mean()) / (2 * step)
    assert slope.item() == pytest.approx(student.grad.norm().item(), rel=0.02)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "no embedding"),
        ([torch.full((1, 4, 2, 2), torch.nan)], "NaN or infinity"),
        ([torch.rand(1, 2, 4, 4)], "fewer than three directions"),
        ([torch.rand(1, 1, 4, 4).expand(1, 4, 4, 4)], "fewer than three directions"),
        ([torch.zeros(1, 4, 4, 4)], "fewer than three directions"),
    ],
)
def test_embeddings_without_a_projection(given, words):
    torch.manual_seed(0)
    with pytest.raises(InputError, match=words):
        fit_projection(given)


def test_shapes_and_choices_that_do_not_fit(projection, vgg):
    loss = PerceptualLoss(vgg, projection, MEASURED)
    for call in (loss, partial(embedding_mse, variance=1.0)):
        with pytest.raises(ValueError, match=r"must be .B, C, h, w. alike"):
            call(STUDENT[:1], TEACHER)
    with pytest.raises(ValueError, match="have 5 channels, the projection 7"):
        loss(STUDENT[:, :5], TEACHER[:, :5])
    with pytest.raises(ConfigError, match="mode 'adapter': must be 'triplets' or 'pca3'"):
        PerceptualLoss(vgg, projection, MEASURED, "adapter")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="triplets is 0"):
        PerceptualLoss(vgg, projection, MEASURED, triplets=0)


@torch.no_grad()
def test_a_constant_channel_has_the_usual_scale_and_counts(vgg):
    constant = torch.ones(CHANNELS).index_fill(0, torch.tensor([2]), 0).view(1, -1, 1, 1)
    teacher = TEACHER * constant
    fitted = fit_projection([teacher])
    loss = PerceptualLoss(vgg, fitted, [teacher])
    usual = fitted.deviation.square().mean().sqrt()
    assert loss.deviation[2].item() == pytest.approx(usual.item())
    assert loss(STUDENT, teacher).isfinite().all()
    changed = teacher + torch.eye(CHANNELS)[2].view(1, -1, 1, 1)
    assert loss(changed, teacher).min() > 1e-3


SAM_LAYOUT = Layout("vit", image_size=64, width=32, depth=1, heads=2, window=4)


def tokens(teacher, embedding: Tensor, prompts: Prompts) -> list[Tensor]:
    """What each prompt by itself makes of its image, with the teacher's own parts."""
    found, each = [], len(prompts) // len(embedding)
    assert prompts.points is not None
    assert prompts.point_labels is not None
    for row in range(len(prompts)):
        one = Prompts(
            points=prompts.points[row, None], point_labels=prompts.point_labels[row, None]
        )
        image = teacher.prepare(embedding[row // each, None])
        found.append(teacher.attend(image, one))
    return [torch.cat([a.image for a in found]), torch.cat([a.masks for a in found])]


def test_through_the_decoder_only_the_student_learns():
    teacher = build_sam(SAM_LAYOUT, seed=0)
    torch.manual_seed(0)
    theirs, ours = torch.randn(2, 256, 4, 4), torch.randn(2, 256, 4, 4, requires_grad=True)
    mean = torch.randn(256)
    loss = DecoderLoss(teacher, mean, [theirs], points=2)
    assert loss(theirs, theirs).tolist() == [0, 0]
    assert loss(theirs.flip(1), theirs).min() > 1e-3
    loss.train()
    value = loss(ours, theirs, draw=5)
    value.mean().backward()
    assert ours.grad is not None
    assert ours.grad.abs().sum() > 0
    assert all(parameter.requires_grad for parameter in teacher.parameters())  # not changed
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert not loss.decoder.training
    with torch.no_grad():
        prompts, measured = random_points(5, 4, 64), random_points(0, 4, 64)
        flat = mean[:, None, None].expand_as(theirs)
        found, wanted = tokens(teacher, ours, prompts), tokens(teacher, theirs, prompts)
        own, of_mean = tokens(teacher, theirs, measured), tokens(teacher, flat, measured)
        expected = [
            ((f - w).square().mean() / (o - m).square().mean()).item()
            for f, w, o, m in zip(found, wanted, own, of_mean, strict=True)
        ]
        assert loss(flat, theirs, draw=0).tolist() == pytest.approx([1, 1], rel=1e-4)
    assert value.tolist() == pytest.approx(expected, rel=1e-3)


def test_embeddings_of_a_smaller_square_go_through_the_decoder_too():
    teacher = build_sam(SAM_LAYOUT, seed=0)
    torch.manual_seed(0)
    theirs, ours = torch.randn(1, 256, 2, 2), torch.randn(1, 256, 2, 2)
    assert DecoderLoss(teacher, torch.zeros(256), [theirs], side=32)(ours, theirs).min() > 1e-3
    with pytest.raises(InputError, match=r"this network's are \(B, 256, 4, 4\)"):
        DecoderLoss(teacher, torch.zeros(256), [theirs])


def test_random_features_depend_on_the_seed_alone():
    def first(seed: int) -> Tensor:
        return next(feature_network("vgg16", weights="random", seed=seed).parameters())

    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one = first(1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one, first(1))
    assert not torch.equal(one, first(2))


@pytest.mark.parametrize("name", FEATURE_NETWORKS)
def test_weights_come_from_a_file_in_torchvisions_layout(name, tmp_path):
    donor = feature_network(name, weights="random", seed=8)
    with torch.device("meta"):
        whole = torchvision.models.get_model(name)
    prefixes = ("features.",) if name.startswith("vgg") else ("conv1.", "bn1.", "layer1", "layer2")
    names = [key for key in whole.state_dict() if key.startswith(prefixes)]
    needed = names[: len(donor.state_dict())]  # of a VGG the first layers, in order
    tensors = dict(zip(needed, donor.state_dict().values(), strict=True))
    extra = {"classifier.6.bias" if name.startswith("vgg") else "fc.bias": torch.zeros(3)}
    save_file(tensors | extra, tmp_path / "weights.safetensors")
    network = feature_network(name, weights=tmp_path / "weights.safetensors")
    image = torch.rand(1, 3, 16, 16)
    for found, wanted in zip(network(image), donor(image), strict=True):
        assert torch.equal(found, wanted)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(InputError, match=r"weights\.safetensors: not the weights"):
        feature_network(
            "resnet50" if name.startswith("vgg") else "vgg16",
            weights=tmp_path / "weights.safetensors",
        )


def test_what_cannot_be_fetched_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(ConfigError, match=r"vgg16-.*network.*\n.*--promptable\.vgg-weights PATH"):
        feature_network("vgg16")
    assert list(tmp_path.rglob("*.pth")) == []


def test_what_was_fetched_before_is_read_as_tensors_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    donor = feature_network("vgg16", weights="random", seed=8)
    features = whole_vgg(donor).state_dict()
    (tmp_path / "checkpoints").mkdir()
    torch.save(
        {f"features.{key}": value for key, value in features.items()},
        tmp_path / "checkpoints" / "vgg16-397923af.pth",
    )
    found = feature_network("vgg16").state_dict()
    assert all(torch.equal(found[key], value) for key, value in donor.state_dict().items())


def test_choices_that_are_no_feature_network():
    with pytest.raises(ConfigError, match=r"'alexnet': unknown. Choose one of vgg16"):
        feature_network("alexnet")
    with pytest.raises(ConfigError, match="'imagnet': must be 'imagenet'"):
        feature_network("vgg16", weights="imagnet")  # pyright: ignore[reportArgumentType]
