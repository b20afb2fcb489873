import logging

import pytest
import segmentation_models_pytorch as smp
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from abbe.students import UNet, build, build_classifier, count

SMP_NAMES = {
    "unet-swin-tiny": "tu-swin_tiny_patch4_window7_224",
    "unet-resnet18": "resnet18",
    "unet-resnet50": "resnet50",
    "unet-efficientnet-b0": "tu-efficientnet_b0",
    "unet-mobilenetv3": "tu-mobilenetv3_small_100",
    "unet-mobilenetv3-large": "tu-mobilenetv3_large_100",
    "unet-convnextv2-atto": "tu-convnextv2_atto",
}  # csat-like has a decoder of its own

# Parameters in millions of the network and of its encoder, GMACs at 256 x 256 px; one channel,
# one output. Measured with segmentation_models_pytorch 0.6.0, timm 1.0.31 and fvcore.
KNOWN = {
    "unet-swin-tiny": (31.62, 27.518, 10.47),
    "unet-resnet18": (14.32, 11.177, 5.31),
    "unet-mobilenetv3": (3.59, 0.927, 2.56),
    # 6.25 in smp's own "efficientnet-b0", which keeps the classifier's last convolution (0.41)
    # that nothing uses, and joins 32 instead of 16 channels at stride 2.
    "unet-efficientnet-b0": (5.83, 3.595, 2.88),
}


def unet(architecture: str) -> UNet:
    """A student of shapes alone: to count, no numbers are needed."""
    with torch.device("meta"):
        return build(architecture, in_channels=1, outputs=("foreground",), encoder_weights="random")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", SMP_NAMES)
def test_layout_is_that_of_segmentation_models_pytorch(architecture):
    with torch.device("meta"):
        other = smp.Unet(SMP_NAMES[architecture], encoder_weights=None, in_channels=1, classes=1)
    theirs = sum(parameter.numel() for parameter in other.parameters())
    assert count(unet(architecture), 1, 64).parameters == theirs


@pytest.mark.parametrize("architecture", KNOWN)
def test_known_sizes(architecture):
    size = count(unet(architecture), 1, 256)
    parameters, encoder_parameters, gmacs = KNOWN[architecture]
    assert size.parameters / 1e6 == pytest.approx(parameters, rel=0.005)
    assert size.encoder_parameters / 1e6 == pytest.approx(encoder_parameters, rel=0.005)
    assert size.macs / 1e9 == pytest.approx(gmacs, rel=0.005)


def macs_by_fvcore(network: nn.Module, image: Tensor) -> int:
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    counts = FlopCountAnalysis(network, image).by_operator()
    # It also counts normalisation and interpolation, which are no multiply-accumulates.
    return sum(round(counts[operator]) for operator in ("conv", "linear", "matmul"))


@pytest.mark.parametrize(
    "architecture", ["unet-resnet18", pytest.param("unet-swin-tiny", marks=pytest.mark.slow)]
)
def test_macs_agree_with_fvcore(architecture):
    model = build(architecture, in_channels=1, encoder_weights="random").eval()
    image = torch.zeros(1, 1, 64, 96)
    size = count(model, 1, (64, 96))
    assert size.macs == macs_by_fvcore(model, image)
    assert size.encoder_macs == macs_by_fvcore(model.encoder, image)


def test_counting_leaves_the_model_alone():
    model = unet("unet-mobilenetv3").to_empty(device="cpu").train()
    count(model, 1, 64)
    assert model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_a_classifier_is_its_encoder_and_a_head():
    with torch.device("meta"):
        model = build_classifier(
            "resnet18", in_channels=1, classes=("benign", "malignant"), encoder_weights="random"
        )
    size = count(model, 1, 256)
    assert size.parameters - size.encoder_parameters == 2 * 512 + 2
    assert size.macs - size.encoder_macs == 2 * 512
    assert size.encoder_parameters == count(unet("unet-resnet18"), 1, 256).encoder_parameters
