"""Does a package answer here as it did where it was made? Its own test image tells."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from abbe.errors import ConfigError, PackageError
from abbe.files.arrays import read_arrays
from abbe.imaging import normalise, open_image
from abbe.imaging.windows import pad_to
from abbe.runtime.bench.common import check_counts, not_measured, open_all
from abbe.runtime.bench.promptable import open_promptable
from abbe.runtime.package import Package
from abbe.runtime.package.engine import Engine, open_engine
from abbe.runtime.postprocess.map_rule import MapRule
from abbe.runtime.predictors.promptable import PromptablePredictor

LARGEST = 1e-3
"""What fp32 may differ by: the largest difference of probabilities; of a promptable package, whose
masks are kept alone, the share of pixels."""
_LARGEST_EXPECTED = 1 << 30
"""Bytes of ``expected.npz`` when unpacked."""


@dataclass(frozen=True)
class Checked:
    """How one engine answers for the test image, against what is expected.

    Attributes:
        difference: The largest of probabilities; None where none are kept (promptable).
        otherwise: Share of pixels labelled otherwise; of a classification 1 where the class is
            another, else 0.
    """

    difference: float | None
    otherwise: float

    @property
    def far(self) -> bool:
        """Whether an engine in fp32 should be nearer."""
        value = self.otherwise if self.difference is None else self.difference
        return not value <= LARGEST  # as a negation, so that NaN is far


@dataclass(frozen=True)
class Check:
    """All engines of a package, by "engine/precision", and why others were left out."""

    package: str
    engines: dict[str, Checked]
    left_out: dict[str, str]

    @property
    def wrong(self) -> list[str]:
        """The engines in fp32 that differ too much."""
        return [name for name, each in self.engines.items() if name.endswith("fp32") and each.far]

    def to_json(self) -> dict[str, Any]:
        """All figures, as JSON can hold them."""
        return asdict(self) | {"wrong": self.wrong}

    def table(self) -> str:
        """All figures, for people."""
        lines = [
            f"{self.package}: its test image, against the student's own answer",
            "",
            f"{'':20}{'largest difference':>20}{'labelled otherwise':>20}",
        ]
        for name, each in self.engines.items():
            difference = "—" if each.difference is None else f"{each.difference:.2g}"
            lines.append(f"{name:20}{difference:>20}{f'{each.otherwise:.3%}':>20}")
        return "\n".join([*lines, *not_measured(self.left_out)])


def check_package(package: Package, threads: int | None = None) -> Check:
    """Run the package's test image by every engine and precision that there is here.

    Args:
        package: The package.
        threads: For the networks; None for OMP_NUM_THREADS, or else all cores.

    Raises:
        ConfigError: The package has no test image with its answer, or resizes images by a rule
            that the answer does not tell of.
        PackageError: A file of the package is damaged, or a network fails.
    """
    check_counts(threads=threads)
    description = package.description
    if not (package.has("test_image") and package.has("expected")):
        raise ConfigError(
            f"{package.folder}: it has no test image with the answer expected, so it cannot be "
            "checked; it was given away without (abbe push --no-example)"
        )
    expected = _Expected(package)
    if description.traits.prompted:
        predictors, left_out = open_all(partial(open_promptable, package, threads))
        picture = np.moveaxis(open_image(package.file("test_image")).read(), 0, -1)
        engines = {
            name: _compare_masks(each, picture, expected) for name, each in predictors.items()
        }
    else:
        opened, left_out = open_all(partial(open_engine, package, threads=threads))
        pixels = _seen(package)
        engines = {name: _compare_maps(each, pixels, expected) for name, each in opened.items()}
    return Check(description.title, engines, left_out)


class _Expected:
    """The arrays of ``expected.npz``, each refused where it is missing or of another shape."""

    def __init__(self, package: Package) -> None:
        self._path = package.file("expected")
        try:
            self._arrays = read_arrays(self._path, _LARGEST_EXPECTED)
        except (OSError, ValueError) as error:
            raise PackageError(
                f"{self._path}: is not what 'abbe export' writes ({error}). Export the run again"
            ) from error

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """An array; −1 in the shape stands for any length."""
        found = self._arrays.get(name)
        if found is None or len(found.shape) != len(shape):
            fits = False
        else:
            fits = all(want in (-1, side) for want, side in zip(shape, found.shape, strict=True))
        if found is None or not fits:
            what = "missing" if found is None else f"of shape {found.shape}"
            raise PackageError(f"{self._path}: '{name}' is {what}; {shape} is expected")
        return found


def _seen(package: Package) -> np.ndarray:
    """(C, H, W) float32: the test image as the network takes it, by itself."""
    description = package.description
    if description.image_size is not None:
        raise ConfigError(
            f"{package.folder}: a package that resizes its tiles to image_size is not checked; run "
            "it on an image whose answer you know"
        )
    pixels = open_image(package.file("test_image"), channels=description.channels).read()
    return normalise(pixels, description.normalisation.scaling.limits(pixels))


def _compare_maps(engine: Engine, pixels: np.ndarray, expected: _Expected) -> Checked:
    description = engine.package.description
    _, height, width = pixels.shape
    found = engine.probabilities(pad_to(pixels, description.divisor)[None])[0]
    if description.traits.of_pixels:
        found = found[:, :height, :width]
    known = expected.array("probabilities", found.shape)
    difference = float(np.abs(found - known).max())
    if not description.traits.of_pixels:
        return Checked(difference, float(found.argmax() != known.argmax()))
    if description.traits.tells_classes:
        classes = expected.array("classes", (height, width))
        return Checked(difference, float(np.mean(found.argmax(0) != classes)))
    objects = expected.array("instances", (height, width))
    return Checked(difference, labelled_otherwise(MapRule.of(description).objects(found), objects))


def labelled_otherwise(found: np.ndarray, known: np.ndarray) -> float:
    """Share of pixels that are not of the same object, whatever its number.

    Two objects are the same where they share more than half of the pixels that either has.

    Args:
        found, known: (H, W) int; 0 is background, which is the same in both.
    """
    pairs, counts = np.unique(np.stack([found.ravel(), known.ravel()]), axis=1, return_counts=True)
    areas, known_areas = np.bincount(found.ravel()), np.bincount(known.ravel())
    union = areas[pairs[0]] + known_areas[pairs[1]] - counts
    background = (pairs[0] == 0) & (pairs[1] == 0)
    objects = (pairs[0] > 0) & (pairs[1] > 0)
    same = background | (objects & (2 * counts > union))
    return 1.0 - float(counts[same].sum()) / found.size


def _compare_masks(
    predictor: PromptablePredictor, picture: np.ndarray, expected: _Expected
) -> Checked:
    boxes, points = expected.array("boxes", (-1, 4)), expected.array("points", (-1, 2))
    prompts: list[dict[str, Any]] = [{"box": box} for box in boxes]
    prompts += [{"point_coords": [point], "point_labels": [1]} for point in points]
    known = expected.array("masks", (len(prompts), *picture.shape[:2]))
    predictor.set_image(picture)
    found = [predictor.predict(**each, multimask_output=False)[0][0] for each in prompts]
    return Checked(None, float(np.mean(np.stack(found) != known)))
