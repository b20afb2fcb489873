"""Losses between embeddings, against plain loops and torchvision's networks."""

import urllib.error

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from abbe.errors import ConfigError, InputError
from abbe.losses.feature_networks import FEATURE_NETWORKS, feature_network
from abbe.losses.perceptual import (
    DecoderLoss,
    PerceptualLoss,
    Projection,
    embedding_mse,
    fit_projection,
    triplets_of,
)
from abbe.sam import Layout, Prompts, build_sam

CHANNELS = 7


def embeddings(seed: int, batch: int = 2, channels: int = CHANNELS, side: int = 8) -> Tensor:
    """Channels of different means and deviations, related to each other."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, channels, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(batch, channels, side, side, generator=generator)
    return torch.einsum("dc,bchw->bdhw", mix, noise) + torch.arange(channels)[:, None, None]


TEACHER, STUDENT = embeddings(1), embeddings(2)


@pytest.fixture(scope="module")
def projection() -> Projection:
    return fit_projection([TEACHER, embeddings(3)])


@pytest.fixture(scope="module")
def vgg():
    return feature_network("vgg16", weights="random", seed=4)


def test_mse_is_the_mean_over_elements():
    total = 0.0
    for s, t in zip(STUDENT.flatten().tolist(), TEACHER.flatten().tolist(), strict=True):
        total += (s - t) ** 2
    assert embedding_mse(STUDENT, TEACHER).item() == pytest.approx(total / STUDENT.numel())
    assert embedding_mse(TEACHER, TEACHER) == 0
    half = embedding_mse(STUDENT.half(), TEACHER)
    assert half.dtype == torch.float32


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


def naive(student: Tensor, teacher: Tensor, network: nn.Module) -> float:
    """Image by image and layer by layer: Σ over layers of ‖difference‖² / (C H W)."""
    losses = []
    for s, t in zip(student, teacher, strict=True):
        total = 0.0
        for place in (3, 8, 15):
            layers = nn.Sequential(*list(network.children())[: place + 1])
            found, wanted = layers(s[None])[0].double(), layers(t[None])[0].double()
            channels, height, width = found.shape
            total += float(((found - wanted) ** 2).sum() / (channels * height * width))
        losses.append(total)
    return sum(losses) / len(losses)


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
    def picture(embedding):
        rows = embedding.permute(0, 2, 3, 1) - projection.mean
        seen = torch.stack([rows @ each for each in projection.directions], 1)
        return enlarged(seen / projection.spread.view(1, 3, 1, 1))

    expected = naive(picture(STUDENT), picture(TEACHER), whole_vgg(vgg))
    assert PerceptualLoss(vgg, projection)(STUDENT, TEACHER).item() == pytest.approx(
        expected, rel=1e-4
    )


@torch.no_grad()
def test_triplets_are_those_of_a_plain_loop(projection, vgg):
    def pictures(embedding):
        standard = (embedding - projection.mean.view(1, -1, 1, 1)) / projection.deviation.view(
            1, -1, 1, 1
        )
        chosen = triplets_of(11, CHANNELS, 4).tolist()
        return enlarged(torch.cat([image[None, each] for image in standard for each in chosen]))

    expected = naive(pictures(STUDENT), pictures(TEACHER), whole_vgg(vgg))
    loss = PerceptualLoss(vgg, projection, "triplets", triplets=4)
    assert loss(STUDENT, TEACHER, draw=11).item() == pytest.approx(expected, rel=1e-4)
    assert loss(STUDENT, TEACHER, draw=12).item() != pytest.approx(expected, rel=1e-4)


def test_triplets_are_fair_and_repeatable():
    drawn = triplets_of(5, CHANNELS, 4000)
    assert torch.equal(drawn, triplets_of(5, CHANNELS, 4000))
    assert (drawn.sort(1).values.diff(dim=1) > 0).all()  # three different ones
    shares = torch.bincount(drawn.flatten()) / 4000
    assert torch.allclose(shares, torch.full((CHANNELS,), 3 / CHANNELS), atol=0.03)


def test_the_teachers_pictures_are_standardised(projection, vgg):
    pictures = PerceptualLoss(vgg, projection).pictures(torch.cat([TEACHER, embeddings(3)]))
    assert pictures.shape == (4, 3, 16, 16)
    assert torch.allclose(pictures.mean((0, 2, 3)), torch.zeros(3), atol=0.05)


@pytest.mark.parametrize("mode", ["pca3", "triplets"])
def test_it_is_zero_for_the_same_and_positive_for_exchanged_channels(mode, projection, vgg):
    loss = PerceptualLoss(vgg, projection, mode)
    assert loss(TEACHER, TEACHER) == 0
    assert loss(TEACHER.flip(1), TEACHER) > 1e-3


@pytest.mark.parametrize("mode", ["pca3", "triplets"])
def test_only_the_student_learns(mode, projection, vgg):
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    loss = PerceptualLoss(vgg, projection, mode)
    loss.train()
    assert not any(module.training for module in loss.network.modules())
    loss(student, teacher).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert loss.state_dict().keys() == {f"network.{key}" for key in vgg.state_dict()}


def test_gradients_agree_with_finite_differences(projection, vgg):
    loss = PerceptualLoss(vgg, projection)
    student = STUDENT.clone().requires_grad_()
    loss(student, TEACHER).backward()
    assert student.grad is not None
    direction = student.grad / student.grad.norm()
    step = 0.05
    with torch.no_grad():
        slope = (
            loss(STUDENT + step * direction, TEACHER) - loss(STUDENT - step * direction, TEACHER)
        ) / (2 * step)
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
    loss = PerceptualLoss(vgg, projection)
    for call in (loss, embedding_mse):
        with pytest.raises(ValueError, match=r"must be .B, C, h, w. alike"):
            call(STUDENT[:1], TEACHER)
    with pytest.raises(ValueError, match="have 5 channels, the projection 7"):
        loss(STUDENT[:, :5], TEACHER[:, :5])
    with pytest.raises(ConfigError, match="mode 'adapter': must be 'pca3' or 'triplets'"):
        PerceptualLoss(vgg, projection, "adapter")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="triplets is 0"):
        PerceptualLoss(vgg, projection, "triplets", triplets=0)


def test_a_constant_channel_forbids_triplets_alone(vgg):
    constant = torch.ones(CHANNELS).index_fill(0, torch.tensor([2]), 0).view(1, -1, 1, 1)
    fitted = fit_projection([TEACHER * constant])
    assert PerceptualLoss(vgg, fitted)(STUDENT, TEACHER).isfinite()
    with pytest.raises(InputError, match=r"channels \[2\] .* choose .* 'pca3'"):
        PerceptualLoss(vgg, fitted, "triplets")


SAM_LAYOUT = Layout("vit", image_size=64, width=32, depth=1, heads=2, window=4)


def test_through_the_decoder_only_the_student_learns():
    teacher = build_sam(SAM_LAYOUT, seed=0)
    loss = DecoderLoss(teacher)
    torch.manual_seed(0)
    theirs, ours = torch.randn(2, 256, 4, 4), torch.randn(2, 256, 4, 4, requires_grad=True)
    boxes = torch.tensor([[4.0, 4, 40, 50], [0, 0, 30, 30], [9, 9, 60, 60], [1, 2, 3, 4]])
    prompts = Prompts(boxes=boxes)
    assert loss(theirs, theirs, prompts) == 0
    assert loss(theirs.flip(1), theirs, prompts) > 1e-3
    loss.train()
    value = loss(ours, theirs, prompts)
    value.backward()
    assert ours.grad is not None
    assert ours.grad.abs().sum() > 0
    assert all(parameter.requires_grad for parameter in teacher.parameters())  # not changed
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert not loss.decoder.training
    # the tokens of each prompt by itself, with the teacher's own parts
    expected = torch.zeros(2)
    with torch.no_grad():
        for row, box in enumerate(boxes):
            pair = []
            for embedding in (ours, theirs):
                one = embedding[row // 2 : row // 2 + 1]
                pair.append(teacher.attend(teacher.prepare(one), Prompts(boxes=box[None])))
            expected[0] += (pair[0].image - pair[1].image).square().mean() / len(boxes)
            expected[1] += (pair[0].masks - pair[1].masks).square().mean() / len(boxes)
    assert value.item() == pytest.approx(expected.sum().item(), rel=1e-4)


def test_embeddings_of_a_smaller_square_go_through_the_decoder_too():
    teacher = build_sam(SAM_LAYOUT, seed=0)
    torch.manual_seed(0)
    theirs, ours = torch.randn(1, 256, 2, 2), torch.randn(1, 256, 2, 2)
    prompts = Prompts(boxes=torch.tensor([[4.0, 4, 20, 30]]))
    assert DecoderLoss(teacher, side=32)(ours, theirs, prompts) > 1e-3
    with pytest.raises(InputError, match=r"this network's are \(B, 256, 4, 4\)"):
        DecoderLoss(teacher)(ours, theirs, prompts)


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
