"""Simulated tissue: where the cells lie, what shape they have, and what is true of each pixel.

The tissue is laid out first (`lay_out`: lumens, fibres, cells, nuclei), then stained and
photographed (`microscope`). Everything follows from a seed. The arithmetic is in
float64, so that a machine whose last bit differs does not make other pixels.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import KDTree
from skimage.measure import label as connected_parts

from abbe.errors import ConfigError

LARGEST = 1.9  # of the mean radius; the lognormal of sizes is cut here
WAVES = (0.05, 0.05, 0.03)  # an outline's waves 2, 3 and 4 to the turn, relative to its radius
# What a slide's values may be, where that is not 0 to 1.
LIMITS = {
    "cell_radius": (4.0, 100.0),
    "fibres": (0.0, 2.0),
    "blur": (0.1, 10.0),
    "photons": (1.0, 1e6),
}


@dataclass(frozen=True)
class Slide:
    """What the images of one slide have in common. Lengths in px; shares in [0, 1].

    The defaults were set beside real CODEX tiles (see docs/simulator.md).

    Args:
        cell_radius: Mean radius of a cell that has room.
        size_variation: Standard deviation of the logarithm of the radius.
        crowding: 0 = cells keep apart, 1 = cells squeeze each other everywhere.
        empty: Share of the tissue that is lumen, with few cells.
        fibres: Strength of the strands of connective tissue; cells in them are drawn out.
        nucleus_share: Mean share of the cell's area that its nucleus takes up.
        missing_nuclei: Share of the cells whose nucleus lies outside the cut. (Cells that the
            edge of the image cuts, or that have no room for a nucleus, come on top.)
        unfocused_nuclei: Share of the cells whose nucleus is out of focus: blurred and dim.
        membrane_gaps: Share of the membrane's length that is hardly stained.
        membrane_strength: Mean brightness of the membrane stain; 1 is full scale.
        cytoplasm_strength: Mean brightness of the cytoplasm stain.
        nucleus_strength: Mean brightness of the nucleus stain.
        expression: Standard deviation, between cells, of the logarithm of membrane and cytoplasm
            stain.
        haze: Share of the light that comes from outside the plane of focus.
        blur: Standard deviation of the point-spread function in px.
        illumination: Relative fall of the light between the brightest place and the darkest.
        autofluorescence: Brightness of unstained tissue and specks; 1 is full scale.
        photons: Photons that a pixel at full scale catches; fewer is noisier.
        read_noise: Standard deviation of the camera's noise; 1 is full scale.

    Raises:
        ConfigError: A value is outside its range: the message names both.
    """

    cell_radius: float = 11.0
    size_variation: float = 0.2
    crowding: float = 0.75
    empty: float = 0.13
    fibres: float = 0.5
    nucleus_share: float = 0.66
    missing_nuclei: float = 0.1
    unfocused_nuclei: float = 0.18
    membrane_gaps: float = 0.3
    membrane_strength: float = 0.12
    cytoplasm_strength: float = 0.09
    nucleus_strength: float = 0.6
    expression: float = 0.55
    haze: float = 0.35
    blur: float = 1.1
    illumination: float = 0.25
    autofluorescence: float = 0.018
    photons: float = 2000.0
    read_noise: float = 0.003

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = LIMITS.get(field.name, (0.0, 1.0))
            if not low <= value <= high:
                raise ConfigError(
                    f"{field.name}: a simulated slide takes {low:g} to {high:g}, not {value:g}."
                )


@dataclass(frozen=True)
class Layout:
    """The truth about a piece of tissue; every array is (H, W).

    Args:
        cells: int32 instances 1 … n, 0 = background.
        nuclei: int32, the number of the cell that the nucleus belongs to; 0 = no nucleus.
        depth: float64 in [0, 1], distance from a nucleus's centre over its radius there.
        unfocused: (n + 1,) bool, True for the cells whose nucleus is out of focus.
        empty: As in `Ground`.
        fibres: As in `Ground`.
    """

    cells: np.ndarray
    nuclei: np.ndarray
    depth: np.ndarray
    unfocused: np.ndarray
    empty: np.ndarray
    fibres: np.ndarray


@dataclass(frozen=True)
class Ground:
    """What the cells are scattered on; every array is float64 (H, W).

    Args:
        empty: Above 0 in a lumen, below 0 in tissue.
        crowding: In [0, 1], as in `Slide`.
        fibres: In [0, 1], density of the connective tissue.
        course: The direction in which the connective tissue runs, in radians.
    """

    empty: np.ndarray
    crowding: np.ndarray
    fibres: np.ndarray
    course: np.ndarray


@dataclass(frozen=True)
class Outline:
    """A deformed ellipse: centre and radius in px, aspect ≥ 1, angle and waves in radians."""

    y: float
    x: float
    radius: float
    aspect: float
    angle: float
    phases: np.ndarray


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """A Gaussian random field (H, W): mean 0, variance 1 everywhere, correlated over ``scale`` px.

    White noise on a grid of spacing ``scale``, interpolated by a Gaussian kernel along each axis.
    """
    rows, columns = (_kernel(length, scale) for length in shape)
    grid = rng.standard_normal([len(_nodes(length, scale)) for length in shape])
    return np.ascontiguousarray((columns @ (rows @ grid).T).T)


def _nodes(length: int, scale: float) -> np.ndarray:
    return np.arange(-2, length / scale + 3) * scale


@lru_cache(maxsize=32)  # an image asks for the same few again and again
def _kernel(length: int, scale: float) -> csr_array:
    offsets = np.arange(length)[:, None] - _nodes(length, scale)
    weights = np.exp(-0.5 * (offsets / (0.8 * scale)) ** 2)
    weights[weights < 1e-6] = 0
    return csr_array(weights / np.sqrt((weights**2).sum(axis=1, keepdims=True)))


def lay_out(rng: np.random.Generator, size: int, slide: Slide) -> Layout:
    """Lay out a square of tissue with sides of ``size`` px."""
    # Cells are placed in a margin too, so that the edge of the image cuts through some.
    margin = int(np.ceil(1.5 * slide.cell_radius))
    shape = (size + 2 * margin, size + 2 * margin)
    ground = _ground(rng, shape, slide)
    outlines = _place(rng, ground, slide)
    cells = _grow(rng, outlines, shape)
    nuclei, depth = _insert_nuclei(rng, outlines, cells, slide)

    inner = slice(margin, margin + size)
    cells = _largest_parts(cells[inner, inner], minimum_area=20)
    nuclei = np.where(nuclei[inner, inner] == cells, cells, 0)
    kept = np.union1d([0], cells)
    renumber = np.zeros(len(outlines) + 1, np.int32)
    renumber[kept] = np.arange(len(kept), dtype=np.int32)
    return Layout(
        cells=renumber[cells],
        nuclei=renumber[_largest_parts(nuclei, minimum_area=12)],
        depth=depth[inner, inner],
        unfocused=(rng.random(len(outlines) + 1) < slide.unfocused_nuclei)[kept],
        empty=ground.empty[inner, inner],
        fibres=ground.fibres[inner, inner],
    )


def _ground(rng: np.random.Generator, shape: tuple[int, int], slide: Slide) -> Ground:
    empty = smooth_noise(rng, shape, 42.0) - NormalDist().inv_cdf(
        min(max(1 - slide.empty, 1e-9), 1 - 1e-9)
    )
    # Connective tissue runs along the zero line of a field, its threads along neighbouring lines.
    strand = smooth_noise(rng, shape, 55.0)
    threads = 0.7 + 0.3 * np.sin(60 * strand)
    fibres = np.exp(-((strand / 0.22) ** 2)) * threads * np.clip(0.5 - empty, 0, 1) * slide.fibres
    down, right = np.gradient(strand)
    return Ground(
        empty=empty,
        crowding=np.clip(slide.crowding + 0.35 * smooth_noise(rng, shape, 50.0), 0, 1),
        fibres=fibres,
        course=np.arctan2(down, right) + np.pi / 2,
    )


def _place(rng: np.random.Generator, ground: Ground, slide: Slide) -> list[Outline]:
    """Scatter cells: random places in random order, kept where no kept neighbour is too near."""
    height, width = ground.empty.shape
    count = int(5 * height * width / (np.pi * slide.cell_radius**2))
    y, x = rng.uniform(0, height, count), rng.uniform(0, width, count)
    at = (y.astype(int), x.astype(int))
    spread = slide.size_variation
    radius = slide.cell_radius * np.exp(spread * rng.standard_normal(count) - spread**2 / 2)
    radius = np.clip(radius, 0.6 * slide.cell_radius, LARGEST * slide.cell_radius)
    fibres = ground.fibres[at]
    aspect = 1 + np.abs(rng.normal(0.18 + 1.8 * fibres, 0.22, count))

    drawn = rng.normal(ground.course[at], 0.25)
    angle = np.where(fibres > 0.2, drawn, rng.uniform(0, np.pi, count))

    lonely = rng.random(count) < 0.02  # a few cells float in the lumen
    alive = (ground.empty[at] < 0) | lonely
    # Centres may come nearer than the sum of the radii: the cells then flatten where they meet.
    reach = radius * (1.05 - 0.45 * ground.crowding[at])
    pairs = KDTree(np.stack([y, x], 1)).query_pairs(2 * reach.max(), output_type="ndarray")
    distance = np.hypot(*(np.stack([y, x])[:, pairs[:, 0]] - np.stack([y, x])[:, pairs[:, 1]]))
    pairs = pairs[distance < reach[pairs].sum(axis=1)]
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    starts = np.searchsorted(pairs[:, 0], np.arange(count + 1))
    kept = []
    for i in range(count):  # query_pairs gives (i, j) with i < j: the earlier cell wins
        if alive[i]:
            alive[pairs[starts[i] : starts[i + 1], 1]] = False
            kept.append(i)
    phases = rng.uniform(0, 2 * np.pi, (count, len(WAVES)))
    ellipses = np.stack([y, x, radius, aspect, angle], axis=1)[kept].tolist()
    return [Outline(*row, phases=phases[i]) for i, row in zip(kept, ellipses, strict=True)]


def _patch(outline: Outline, shape: tuple[int, int]) -> tuple[slice, slice]:
    reach = 1.3 * outline.radius * np.sqrt(outline.aspect)
    rows = slice(max(0, int(outline.y - reach)), min(shape[0], int(outline.y + reach) + 2))
    columns = slice(max(0, int(outline.x - reach)), min(shape[1], int(outline.x + reach) + 2))
    return rows, columns


def _relative_distance(
    outline: Outline, patch: tuple[slice, slice], warp: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Distance from the outline's centre over its radius in that direction: below 1 is inside."""
    y = np.arange(patch[0].start, patch[0].stop)[:, None] + warp[0][patch] - outline.y
    x = np.arange(patch[1].start, patch[1].stop)[None, :] + warp[1][patch] - outline.x
    cosine, sine = np.cos(outline.angle), np.sin(outline.angle)
    along = (x * cosine + y * sine) / np.sqrt(outline.aspect)
    beside = (y * cosine - x * sine) * np.sqrt(outline.aspect)
    distance = np.hypot(along, beside) + 1e-9
    turn = (
        along + 1j * beside
    ) / distance  # turn ** k has k times the angle: cheaper than a cosine
    waves = np.ones_like(distance)
    power = turn
    for amplitude, phase in zip(WAVES, outline.phases, strict=True):
        power = power * turn
        waves += amplitude * (power.real * np.cos(phase) - power.imag * np.sin(phase))
    return distance / (outline.radius * waves)


def _grow(rng: np.random.Generator, outlines: list[Outline], shape: tuple[int, int]) -> np.ndarray:
    """Give each pixel to the cell whose centre is relatively nearest, as far as cells reach.

    A multiplicatively weighted Voronoi diagram in warped coordinates, cut off at each outline.
    """
    warp = (smooth_noise(rng, shape, 5.0) * 0.7, smooth_noise(rng, shape, 5.0) * 0.7)
    nearest = np.ones(shape)
    cells = np.zeros(shape, np.int32)
    for number, outline in enumerate(outlines, start=1):
        patch = _patch(outline, shape)
        distance = _relative_distance(outline, patch, warp)
        won = distance < nearest[patch]
        nearest[patch][won] = distance[won]
        cells[patch][won] = number
    return cells


def _largest_parts(labels: np.ndarray, minimum_area: int) -> np.ndarray:
    """Each instance's largest 4-connected part; smaller parts and specks become background."""
    parts = np.asarray(connected_parts(labels, connectivity=1))
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    owner = np.zeros(len(areas), np.int64)
    owner[parts.ravel()] = labels.ravel()
    order = np.lexsort((areas, owner))
    last = np.append(owner[order][1:] != owner[order][:-1], True)
    keep = np.zeros(len(areas), bool)
    keep[order[last]] = True
    keep &= (areas >= minimum_area) & (owner > 0)
    return np.where(keep[parts], labels, 0).astype(np.int32)


def _insert_nuclei(
    rng: np.random.Generator, outlines: list[Outline], cells: np.ndarray, slide: Slide
) -> tuple[np.ndarray, np.ndarray]:
    """Put a nucleus off-centre in each cell, inside its membrane; a share of the cells get none."""
    room = np.where(_interior(cells), cells, 0)
    areas = np.bincount(cells.ravel(), minlength=len(outlines) + 1)
    warp = (smooth_noise(rng, cells.shape, 4.0) * 0.4, smooth_noise(rng, cells.shape, 4.0) * 0.4)
    nuclei = np.zeros_like(cells)
    depth = np.ones(cells.shape)
    for number, cell in enumerate(outlines, start=1):
        present = rng.random() >= slide.missing_nuclei
        nucleus = _nucleus_of(rng, cell, areas[number], slide.nucleus_share)
        if not present or areas[number] == 0:
            continue
        patch = _patch(nucleus, cells.shape)
        distance = _relative_distance(nucleus, patch, warp)
        taken = (distance < 1) & (room[patch] == number)
        nuclei[patch][taken] = number
        depth[patch][taken] = distance[taken]
    return nuclei, depth


def _nucleus_of(rng: np.random.Generator, cell: Outline, area: int, share: float) -> Outline:
    share = np.clip(rng.normal(share, 0.1), 0.2, 0.85)
    radius = np.sqrt(share * area / np.pi)
    shift = rng.uniform(0, 0.9) * max(0.0, cell.radius - radius)
    towards = rng.uniform(0, 2 * np.pi)
    return Outline(
        y=cell.y + shift * np.sin(towards),
        x=cell.x + shift * np.cos(towards),
        radius=radius,
        aspect=1 + (cell.aspect - 1) * 0.8 + abs(rng.normal(0, 0.12)),
        angle=cell.angle + rng.normal(0, 0.3),
        phases=rng.uniform(0, 2 * np.pi, len(WAVES)),
    )


def _interior(cells: np.ndarray) -> np.ndarray:
    """True where a pixel and its four neighbours belong to the same cell."""
    inside = cells > 0
    for axis in (0, 1):
        for step in (1, -1):
            inside &= cells == np.roll(cells, step, axis)
    return inside
