"""Simulated tissue, stained and photographed: from the layout of `tissue` to pixels.

Light is a number per pixel: 1 fills the camera's range. Each channel's light is what its stain
and the unstained tissue give off, blurred by the optics and dimmed by the illumination; the camera
counts its photons (Poisson) and adds its own noise.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from abbe.datasets.simulator.tissue import Layout, Slide, smooth_noise

FULL_SCALE = 65535
# How much of the unstained tissue's glow each channel sees, relative to the membrane channel.
GLOW = {"nucleus": 0.35, "membrane": 1.0, "cytoplasm": 2.2}


def nucleus_light(rng: np.random.Generator, layout: Layout, slide: Slide) -> np.ndarray:
    """Light (H, W) of a nuclear stain: grainy chromatin, some nuclei out of focus, a faint cell."""
    shape = layout.cells.shape
    brightness = slide.nucleus_strength * _lognormal(rng, len(layout.unfocused), 0.22)
    chromatin = 1 + 0.12 * smooth_noise(rng, shape, 2.0) + 0.1 * smooth_noise(rng, shape, 5.0)
    # A nucleus is a rounded body: thinner, and so darker, towards its rim.
    body = (
        brightness[layout.nuclei] * np.clip(chromatin, 0.3, None) * (1.1 - 0.45 * layout.depth**2)
    )
    body[layout.nuclei == 0] = 0
    away = layout.unfocused[layout.nuclei]
    light = np.where(away, 0, body)
    light += 0.6 * gaussian_filter(np.where(away, body, 0), 2.5 * slide.blur + 0.5)
    light += 0.05 * slide.nucleus_strength * (layout.cells > 0)
    return _with_haze(light, slide)


def membrane_light(rng: np.random.Generator, layout: Layout, slide: Slide) -> np.ndarray:
    """Light (H, W) of a membrane stain: the cells' rims, uneven and with gaps."""
    shape, cells = layout.cells.shape, layout.cells
    strength = _expression(rng, layout, slide)
    patchy = smooth_noise(rng, shape, 3.0)
    # Along the rim the stain goes over into a gap within about half a unit of the field.
    limit = np.quantile(patchy, slide.membrane_gaps)
    stained = 0.1 + 0.9 / (1 + np.exp(-(patchy - limit) / 0.15))
    grain = np.clip(1 + 0.5 * smooth_noise(rng, shape, 1.5), 0, None)
    light = (
        slide.membrane_strength
        * strength
        * grain
        * (rims(cells) * stained * 1.5 + 0.3 * (cells > 0))
    )
    return _with_haze(light, slide)


def cytoplasm_light(rng: np.random.Generator, layout: Layout, slide: Slide) -> np.ndarray:
    """Light (H, W) of a cytoplasm stain: less in the nucleus; connective tissue shows too."""
    shape, cells = layout.cells.shape, layout.cells
    strength = _expression(rng, layout, slide) * (cells > 0)
    texture = np.clip(1 + 0.25 * smooth_noise(rng, shape, 2.0), 0, None)
    hollow = np.where(layout.nuclei > 0, 0.55, 1.0)
    threads = np.clip(1 + 0.5 * smooth_noise(rng, shape, 4.0), 0, None)
    light = strength * texture * hollow + 3.0 * layout.fibres * threads
    return _with_haze(slide.cytoplasm_strength * light, slide)


STAINS = {
    "nucleus": nucleus_light,
    "membrane": membrane_light,
    "cytoplasm": cytoplasm_light,
}


def photograph(rng: np.random.Generator, channel: str, layout: Layout, slide: Slide) -> np.ndarray:
    """One stained ``channel`` as uint16 pixels (H, W): light, glow, blur, lamp and noise."""
    light = STAINS[channel](rng, layout, slide)
    light += GLOW[channel] * autofluorescence(rng, layout, slide)
    light = gaussian_filter(light, slide.blur) * illumination(rng, light.shape, slide.illumination)
    caught = rng.poisson(np.clip(light, 0, None) * slide.photons) / slide.photons
    caught += rng.normal(0, slide.read_noise, light.shape) + 2 * slide.read_noise
    return np.clip(np.rint(caught * FULL_SCALE), 0, FULL_SCALE).astype(np.uint16)


def autofluorescence(rng: np.random.Generator, layout: Layout, slide: Slide) -> np.ndarray:
    """Light (H, W) that no stain gives off: tissue glows, lumens hardly do; there are specks."""
    shape = layout.cells.shape
    tissue = 1 / (1 + np.exp(np.clip(layout.empty / 0.15, -30, 30)))
    uneven = 1 + 0.4 * smooth_noise(rng, shape, 30.0) + 0.25 * smooth_noise(rng, shape, 5.0)
    glow = tissue * np.clip(uneven, 0, None)
    specks = np.zeros(shape)
    count = rng.poisson(6e-5 * specks.size)
    rows, columns = rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)
    specks[rows, columns] = 60 * _lognormal(rng, count, 0.8)
    return slide.autofluorescence * (glow + gaussian_filter(specks, 1.2))


def illumination(rng: np.random.Generator, shape: tuple[int, int], fall: float) -> np.ndarray:
    """Relative brightness (H, W) of the lamp: 1 at its centre, 1 − ``fall`` in the far corner."""
    centre = rng.uniform(0.2, 0.8, 2)
    y = (np.arange(shape[0]) / shape[0] - centre[0])[:, None]
    x = (np.arange(shape[1]) / shape[1] - centre[1])[None, :]
    distance = y**2 + x**2
    return 1 - fall * distance / distance.max()


def rims(cells: np.ndarray) -> np.ndarray:
    """Border of the cells, (H, W): 0.5 where one face of a pixel is border, 1 where more."""
    faces = np.zeros(cells.shape)
    down = cells[1:] != cells[:-1]
    right = cells[:, 1:] != cells[:, :-1]
    faces[1:] += down
    faces[:-1] += down
    faces[:, 1:] += right
    faces[:, :-1] += right
    return np.minimum(faces, 2) / 2 * (cells > 0)


def _expression(rng: np.random.Generator, layout: Layout, slide: Slide) -> np.ndarray:
    """How strongly each pixel's cell takes a stain, mean near 1: by region and by cell."""
    region = np.exp(slide.expression * smooth_noise(rng, layout.cells.shape, 60.0))
    return region * _lognormal(rng, len(layout.unfocused), slide.expression)[layout.cells]


def _with_haze(light: np.ndarray, slide: Slide) -> np.ndarray:
    """Some of the light comes from above and below the plane of focus: spread far and wide."""
    wide = 0.5 * gaussian_filter(light, 4.0) + 0.5 * gaussian_filter(light, 14.0, truncate=3.0)
    return (1 - slide.haze) * light + slide.haze * wide


def _lognormal(rng: np.random.Generator, count: int, spread: float) -> np.ndarray:
    return np.exp(spread * rng.standard_normal(count) - spread**2 / 2)
