"""A SAM teacher's image encoder in OpenVINO, held against torch's."""

import re
from pathlib import Path

import pytest
import torch

from abbe.errors import ConfigError, MissingExtraError
from abbe.machine.precision import choose_precision
from abbe.runtime.package.openvino_core import computes_bf16
from abbe.sam import Layout, build_sam, load_sam
from abbe.sam.model import SAM
from abbe.teachers.sam import encoders, int8
from abbe.teachers.sam.encoders import TOLERANCE, ImageEncoder, difference, openvino_encoder

LAYOUTS = {
    # windows that do not divide the grid, and global attention, as ViT-B, ViT-L and ViT-H have them
    "vit": Layout("vit", image_size=320, width=48, depth=3, heads=4, global_layers=(2,)),
    "mobile": Layout("tiny_vit", image_size=256),
    "small": Layout("vit", image_size=128, width=32, depth=1, heads=2, global_layers=(0,)),
}
REAL = Path(__file__).parents[3] / "shared/weights/mobile_sam.safetensors"


def network_of(kind: str) -> SAM:
    return build_sam(LAYOUTS[kind], seed=1).eval().requires_grad_(False)


def images_of(network: SAM, count: int = 1) -> torch.Tensor:
    shape = (count, 3, network.side, network.side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def by_torch(network: SAM, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network.encode(images)


@pytest.mark.parametrize("kind", ["mobile", "vit"])
def test_openvino_embeds_as_torch_does(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    network = network_of(kind)
    images = images_of(network, 2)
    encode = ImageEncoder(network, "fp32", "openvino")
    expected = by_torch(network, images)
    for _ in range(2):
        found = encode(images)
        assert found.shape == expected.shape
        assert difference(found, expected) < 1e-4
    assert "runs in OpenVINO, fp32" in capsys.readouterr().out


@pytest.mark.skipif(not computes_bf16(), reason="this processor has no bf16")
def test_bf16_is_as_near_to_fp32_as_torchs_own_bf16() -> None:
    network = network_of("mobile")
    images = images_of(network)
    exact = by_torch(network, images)
    found = openvino_encoder(network, "bf16")(images)
    torchs = ImageEncoder(network, "bf16", "torch")(images)
    assert 0 < difference(found, exact) < 1.5 * difference(torchs, exact)
    assert difference(found, torchs) < TOLERANCE["bf16"]


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="MobileSAM's weights are not here")
def test_mobile_sams_own_weights_embed_alike() -> None:
    network, _ = load_sam(REAL)
    network.requires_grad_(False)
    images = images_of(network)
    precision = choose_precision("auto", torch.device("cpu"))
    expected = ImageEncoder(network, precision, "torch")(images)
    assert difference(openvino_encoder(network, precision)(images), expected) < TOLERANCE[precision]


def test_auto_leaves_small_networks_and_other_formats_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("converted")

    monkeypatch.setattr(encoders, "openvino_encoder", refused)
    network = network_of("vit")
    images = images_of(network)
    assert torch.equal(ImageEncoder(network, "fp32", "auto")(images), by_torch(network, images))
    monkeypatch.setattr(encoders, "LEAST_SIDE", 64)
    ImageEncoder(network, "fp16", "auto")  # nothing is tried: the first image is torch's alone
    with pytest.raises(ConfigError, match=r"not in fp16 on cpu"):
        ImageEncoder(network, "fp16", "openvino")
    with pytest.raises(ConfigError, match="choose from auto, torch, openvino"):
        ImageEncoder(network, "fp32", "tensorrt")  # pyright: ignore[reportArgumentType]


def slow(images: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    import time

    time.sleep(2)
    return answer


@pytest.mark.parametrize("how", ["fails", "differs", "is not a number", "is slower"])
def test_auto_falls_back_with_a_word_and_openvino_says_so(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = network_of("vit")
    images = images_of(network)
    expected = by_torch(network, images)
    made = {
        "differs": lambda _: expected * 1.01,
        "is not a number": lambda _: expected * torch.nan,
        "is slower": lambda _: slow(images, expected),
    }

    def converted(*_: object) -> encoders.Encode:
        if how == "fails":
            raise RuntimeError("No conversion rule found for: aten::new\nand more")
        return made[how]

    monkeypatch.setattr(encoders, "openvino_encoder", converted)
    monkeypatch.setattr(encoders, "LEAST_SIDE", 64)
    encode = ImageEncoder(network, "fp32", "auto")
    assert torch.equal(encode(images), expected)
    told = capsys.readouterr().out
    why = {
        "fails": "OpenVINO cannot run this image encoder (No conversion rule found for: aten::new)",
        "differs": "OpenVINO gives other embeddings (0.01 of their size; fp32)",
        "is not a number": "OpenVINO gives other embeddings (nan of their size; fp32)",
        "is slower": "OpenVINO takes 2",
    }[how]
    assert f"the image encoder runs in torch: {why}" in told
    assert torch.equal(encode(images), expected)
    assert not capsys.readouterr().out
    if how == "is slower":
        assert torch.equal(ImageEncoder(network, "fp32", "openvino")(images), expected)
        assert "runs in OpenVINO" in capsys.readouterr().out
        return
    with pytest.raises(ConfigError, match="set it torch"):
        ImageEncoder(network, "fp32", "openvino")(images)


# ---------------------------------------------------------------------------------------- int8


def in_int8(network: SAM, monkeypatch: pytest.MonkeyPatch) -> int8.Int8Encoder:
    """An encoder in int8 that is begun with two images; of random weights no mask is worth much."""
    monkeypatch.setattr(int8, "CALIBRATION", 1)
    monkeypatch.setattr(int8, "GUARD", 1)
    monkeypatch.setattr(int8, "WORTH", -torch.inf)
    encode = int8.image_encoder(network, "int8", "auto")
    assert isinstance(encode, int8.Int8Encoder)
    for seed in (0, 1):
        images = torch.randn(
            1, 3, *[network.side] * 2, generator=torch.Generator().manual_seed(seed)
        )
        assert torch.equal(encode(images), ImageEncoder(network, "auto")(images))
    return encode


def test_int8_takes_over_once_its_masks_are_those_of_torch(monkeypatch, capsys):
    network = network_of("small")
    monkeypatch.setattr(int8, "LEAST_IOU", 0.9)  # random weights are not kind to int8
    encode = in_int8(network, monkeypatch)
    images = images_of(network, 2)
    expected, found = by_torch(network, images), encode(images)
    assert found.shape == expected.shape
    assert 0 < difference(found, expected) < 0.1
    told = capsys.readouterr().out
    assert "the image encoder runs in OpenVINO, int8" in told
    assert re.search(r"mean IoU of 0\.9\d\d\d over 64 masks", told)


def test_int8_that_changes_masks_is_refused_with_the_measured_iou(monkeypatch):
    network = network_of("small")
    encode = in_int8(network, monkeypatch)
    monkeypatch.setattr(
        int8, "compiled_encoder", lambda *_: lambda images: 0.5 * by_torch(network, images)
    )
    monkeypatch.setattr(int8, "converted_encoder", lambda _: None)
    monkeypatch.setattr("nncf.quantize", lambda *_, **__: None)
    for _ in range(2):  # it stays refused
        with pytest.raises(ConfigError, match=r"mean IoU of 0\.\d{4} over \d+ masks of 1 image;"):
            encode(images_of(network))


def test_masks_of_two_embeddings_are_compared_where_there_is_image(monkeypatch):
    network = network_of("small")
    image = images_of(network)
    image[..., 64:] = 0  # the right half is padding
    expected = by_torch(network, image)
    monkeypatch.setattr(int8, "WORTH", -torch.inf)
    agreed = int8.mask_agreement(network, image, expected, expected)
    assert (set(agreed), len(agreed)) == ({1.0}, int8.POINTS**2 // 2)
    monkeypatch.setattr(int8, "WORTH", torch.inf)
    assert int8.mask_agreement(network, image, expected, expected) == []


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_int8_is_for_openvino_and_nncf(engine, monkeypatch):
    network = network_of("small")
    monkeypatch.setattr(int8, "find_spec", lambda _: None)
    error = ConfigError if engine == "torch" else MissingExtraError
    with pytest.raises(error, match="OpenVINO encodes" if engine == "torch" else "nncf"):
        int8.image_encoder(network, "int8", engine)
