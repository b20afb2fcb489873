"""How Abbe's objects show themselves in a notebook: a headline, a few figures, one picture."""

import base64
import html
import io
from collections.abc import Mapping

import numpy as np

LARGEST_PICTURE = 360
"""px of a picture's longer side; larger ones are made smaller."""
_HUES = np.array(
    [
        [230, 80, 60],
        [70, 150, 230],
        [240, 190, 50],
        [90, 190, 110],
        [180, 110, 220],
        [60, 200, 200],
    ],
    np.uint8,
)


def card(headline: str, figures: Mapping[str, object], picture: np.ndarray | None = None) -> str:
    """An HTML card, whose texts are escaped and whose picture is a data URI.

    Args:
        headline: what it is.
        figures: names and values, the most important first.
        picture: (H, W, 3) uint8.
    """
    rows = "".join(
        f"<tr><td style='padding:0 1em 0 0;text-align:left'>{_text(name)}</td>"
        f"<td style='padding:0;text-align:left'>{_text(value)}</td></tr>"
        for name, value in figures.items()
    )
    image = ""
    if picture is not None:
        image = f"<img alt='' src='{_png_uri(picture)}' style='max-height:180px'>"
    return (
        "<div style='display:flex;gap:1.5em;align-items:flex-start'>"
        f"<div><b>{_text(headline)}</b><table style='margin:0.4em 0 0 0'>{rows}</table></div>"
        f"{image}</div>"
    )


def coloured(labels: np.ndarray) -> np.ndarray:
    """Instances (H, W) as a picture, neighbours in different colours; background and unknown dark.

    Returns:
        (H, W, 3) uint8.
    """
    picture = _HUES[np.maximum(labels, 0) % len(_HUES)]
    picture[labels <= 0] = 25
    return picture


def grey(values: np.ndarray) -> np.ndarray:
    """Values (H, W) from 0 to 1 as a grey picture, (H, W, 3) uint8."""
    return np.repeat((np.clip(values, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=-1)


def _png_uri(rgb: np.ndarray) -> str:
    import PIL.Image

    picture, file = PIL.Image.fromarray(rgb), io.BytesIO()
    picture.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    picture.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
