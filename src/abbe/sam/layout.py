"""The sizes of a network of the Segment Anything family."""

from dataclasses import dataclass
from typing import Literal

from abbe.errors import ConfigError

PATCH = 16
"""Image pixels a side of one cell of the embedding."""


@dataclass(frozen=True)
class Layout:
    """What must be known to build a network; weights fit where two layouts are equal.

    A reduced network is described like a full one::

        Layout("vit", image_size=256, width=192, depth=6, heads=3, global_layers=(2, 5))

    Args:
        encoder: "vit" (SAM, MedSAM, micro-sam) or "tiny_vit" (MobileSAM, TinyViT with 5 M
            parameters, whose other sizes are fixed).
        image_size: side of the square input in pixels; SAM's is 1024. A multiple of 16.
        width: channels of the ViT's tokens.
        depth: blocks of the ViT.
        heads: attention heads a block; they divide ``width``.
        global_layers: the blocks, from 0, that attend to the whole image; the others attend within
            windows.
        window: side of a window in tokens.

    Raises:
        ConfigError: The sizes do not fit each other.
    """

    encoder: Literal["vit", "tiny_vit"]
    image_size: int = 1024
    width: int = 0
    depth: int = 0
    heads: int = 0
    global_layers: tuple[int, ...] = ()
    window: int = 14

    def __post_init__(self) -> None:
        if self.image_size <= 0 or self.image_size % PATCH:
            raise ConfigError(
                f"image_size is {self.image_size}; it must be a positive multiple of {PATCH}"
            )
        if self.encoder == "vit":
            self._check_vit()
        elif self.encoder != "tiny_vit":
            raise ConfigError(f"encoder is {self.encoder!r}; it must be 'vit' or 'tiny_vit'")
        elif (self.width, self.depth, self.heads, self.global_layers) != (0, 0, 0, ()):
            raise ConfigError("tiny_vit has one size: leave out width, depth, heads, global_layers")

    def _check_vit(self) -> None:
        for name in ("width", "depth", "heads", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"a vit needs a {name} of at least 1, not {getattr(self, name)}")
        if self.width % self.heads:
            raise ConfigError(f"{self.heads} heads do not divide a width of {self.width}")
        if outside := [layer for layer in self.global_layers if not 0 <= layer < self.depth]:
            raise ConfigError(
                f"global_layers names {outside}; the blocks are 0 to {self.depth - 1}"
            )

    @property
    def grid(self) -> int:
        """Side of the embedding in cells of 16 pixels."""
        return self.image_size // PATCH


LAYOUTS: dict[str, Layout] = {
    "vit_h": Layout("vit", width=1280, depth=32, heads=16, global_layers=(7, 15, 23, 31)),
    "vit_l": Layout("vit", width=1024, depth=24, heads=16, global_layers=(5, 11, 17, 23)),
    "vit_b": Layout("vit", width=768, depth=12, heads=12, global_layers=(2, 5, 8, 11)),
    "mobile": Layout("tiny_vit"),
}
"""The published networks: SAM's three, and MobileSAM."""


def named_layout(name: str) -> Layout:
    """Look up a published layout.

    Raises:
        ConfigError: No layout has this name.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"no layout is named {name!r}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
