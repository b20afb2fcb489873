"""Low-rank adapters (LoRA: Hu et al., arXiv 2106.09685) in the attention of SAM's image encoders.

W x becomes W x + (α / r) B A x with B (out, r) and A (r, in). W stays as it is, and B begins at 0,
so that training begins with the network as it came. When it ends, W + (α / r) B A takes W's place:
the network has the layers and names that it had, and costs what it did.
"""

from importlib.util import find_spec

from torch import nn

from abbe.errors import ConfigError, MissingExtraError
from abbe.sam import SAM

LAYERS = ("attn.qkv", "attn.proj")
"""Linear layers that are adapted: all attention of SAM's ViT and of MobileSAM's TinyViT, whose
first stage and local convolutions have none and stay as they are."""


def require_peft() -> None:
    """Refuse to begin without the package that adapts.

    Raises:
        MissingExtraError: peft is not installed.
    """
    if find_spec("peft") is None:
        raise MissingExtraError("peft", "lora", "tune-teacher")


def adapted(network: SAM) -> list[str]:
    """Names of the layers that get adapters.

    Raises:
        ConfigError: the image encoder has no such attention.
    """
    found = [name for name, part in network.image_encoder.named_modules()
             if isinstance(part, nn.Linear) and name.endswith(LAYERS)]  # fmt: skip
    if not found:
        raise ConfigError(
            "the network's image encoder has no attention (attn.qkv, attn.proj) to adapt: SAM's, "
            "MedSAM's, micro-sam's and MobileSAM's have"
        )
    return found


def add_adapters(network: SAM, rank: int, alpha: int) -> dict[str, float]:
    """Give the attention of the image encoder adapters, in place.

    Args:
        network: of SAM's family, with its published image encoder.
        rank: r.
        alpha: α.

    Returns:
        The names of the adapters' weights, each with 1: parts of a stage that train.

    Raises:
        MissingExtraError: peft is not installed.
        ConfigError: the image encoder has no such attention.
    """
    require_peft()
    from peft import LoraConfig, get_peft_model

    encoder, found = network.image_encoder, adapted(network)
    options = LoraConfig(r=rank, lora_alpha=alpha, target_modules=found, lora_dropout=0.0)
    network.image_encoder = get_peft_model(encoder, options)  # pyright: ignore[reportArgumentType]
    return {name: 1.0 for name, _ in network.named_parameters() if ".lora_" in name}


def merge_adapters(network: SAM) -> None:
    """Put what the adapters learned into the layers that they belong to, in place."""
    network.image_encoder = network.image_encoder.merge_and_unload()  # pyright: ignore
