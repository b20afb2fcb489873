"""Classifiers of whole images: timm's networks, with the same encoders that the U-Nets have."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from abbe.errors import ConfigError
from abbe.students.encoders import (
    Encoder,
    EncoderWeights,
    Pretrained,
    adopt,
    create_network,
    give_weights,
    network_of,
    read_weights,
)
from abbe.students.standardisation import Standardisation, Standardised


class Classifier(Standardised):
    """timm's network as it is, with a classifier for these classes.

    Images in [0, 1] are first given the mean and deviation that the weights were trained with.

    Its encoder is what a U-Net of the same name uses of the network: all that the feature maps
    need. Its head is what follows the last map: for EfficientNet and csat-like a 1 x 1 convolution
    and the linear layer, for ResNet the linear layer alone.

    Attributes:
        architecture: The encoder's name, such as "csat-like".
        in_channels: Channels of the image.
        classes: Names of the K classes, in the order of the logits.
        network: timm's network.
        encoder_tensors: Names, in ``network``, of the tensors that belong to the encoder.
        head_given: Whether the weights it began with had all but the linear layer.
    """

    head_given = False

    def __init__(
        self, architecture: str, in_channels: int, classes: Sequence[str], drop_rate: float = 0.0
    ) -> None:
        super().__init__(in_channels)
        self.architecture = architecture
        self.classes = tuple(classes)
        self.network = create_network(
            architecture, in_channels, num_classes=len(self.classes), drop_rate=drop_rate
        )
        with torch.device("meta"):
            encoder = Encoder(architecture, in_channels)
        self.encoder_tensors = frozenset(network_of(encoder).state_dict())

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, H, W) in [0, 1].

        Raises:
            ValueError: C is not `in_channels`.
        """
        self._check(image)
        return self.network(self.standardise(image))

    def embed(self, image: Tensor) -> Tensor:
        """The encoder's last map averaged over each image, (B, its channels).

        This is what a linear probe looks at: nothing but the encoder's weights shape it.
        """
        self._check(image)
        seen = self.standardise(image)
        maps = self.network.forward_intermediates(seen, indices=1, intermediates_only=True)  # pyright: ignore[reportCallIssue]
        return maps[-1].mean((2, 3))

    def features(self, image: Tensor) -> Tensor:
        """What the weights it began with make of each image, (B, D).

        With the head's own convolution and pooling where the weights had them; weights of an
        encoder alone end with its last map: `embed`.
        """
        if not self.head_given:
            return self.embed(image)
        self._check(image)
        maps = self.network.forward_features(self.standardise(image))  # pyright: ignore[reportCallIssue]
        return self.network.forward_head(maps, pre_logits=True)  # pyright: ignore[reportCallIssue]

    def timm_network(self) -> nn.Module:
        """timm's network; its tensors have timm's names."""
        return self.network

    def encoder_parameters(self) -> list[nn.Parameter]:
        """What a U-Net of the same name has, too."""
        return [p for name, p in self.network.named_parameters() if name in self.encoder_tensors]

    def _check(self, image: Tensor) -> None:
        if image.shape[1] != self.in_channels:
            raise ValueError(
                f"the image has {image.shape[1]} channels, {self.architecture} was built for "
                f"{self.in_channels}"
            )


def build_classifier(
    architecture: str,
    *,
    in_channels: int,
    classes: Sequence[str],
    encoder_weights: EncoderWeights,
    drop_rate: float = 0.0,
    standardisation: Standardisation | None = None,
) -> Classifier:
    """Build a classifier.

    The linear layer is always new. What else the head has is filled where the weights have it, as
    timm's whole networks do, and new where they are those of an encoder alone.

    Args:
        architecture: An encoder's name, such as "resnet18" or "timm-regnety_004".
        in_channels: Channels of the image, 1 to any number.
        classes: Names of the classes, two or more.
        encoder_weights: ``"random"``, ``"imagenet"`` or a file; see `create_encoder`.
        drop_rate: Dropout in front of the linear layer, 0 to below 1.
        standardisation: What the encoder wants done to images in [0, 1], where that is another
            than its weights say.

    Raises:
        ConfigError: An argument is wrong, or ImageNet weights cannot be fetched.
        InputError: The file of encoder weights is missing, damaged or of another network.
    """
    if in_channels < 1:
        raise ConfigError(f"in_channels {in_channels}: a student sees at least one channel")
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ConfigError(
            f"classes {list(classes)}: a classifier tells two or more different classes apart"
        )
    model = Classifier(architecture, in_channels, classes, drop_rate)
    if encoder_weights == "random":
        give_weights(model, architecture, "random", standardisation)
    else:
        load_into(model, read_weights(architecture, encoder_weights), standardisation)
    return model


def load_into(
    model: Classifier, pretrained: Pretrained, standardisation: Standardisation | None = None
) -> None:
    """Fill a classifier from weights in timm's layout, all but its linear layer.

    Args:
        model: The classifier.
        pretrained: Weights of the whole network, or of its encoder.
        standardisation: Goes before what ``pretrained`` wants.

    Raises:
        InputError: They are those of another network.
    """
    linear = model.network.get_classifier()  # pyright: ignore[reportCallIssue]
    names = {id(module): name for name, module in model.network.named_modules()}
    own = f"{names[id(linear)]}."
    state = {k: tensor for k, tensor in pretrained.state.items() if not k.startswith(own)}
    headless = replace(pretrained, state=state)
    adopt(model, model.architecture, headless, standardisation, model.encoder_tensors)
    needed = {key for key in model.network.state_dict() if not key.startswith(own)}
    model.head_given = needed <= state.keys()
