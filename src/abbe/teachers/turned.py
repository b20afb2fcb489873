"""A teacher that sees each image eight times, turned and mirrored, and answers with the mean."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.teachers.teacher import CountedTeacher, Prediction, Teacher

if TYPE_CHECKING:
    from abbe.imaging import Image

MOVES = tuple((turns, mirror) for mirror in (False, True) for turns in range(4))
"""Quarter turns, and whether the image is mirrored before: the eight symmetries of a square."""


class TurnedTeacher:
    """The mean of a teacher's maps over quarter turns and mirror images, turned back."""

    def __init__(self, teacher: Teacher) -> None:
        """Of a teacher that gives probability maps.

        Raises:
            ConfigError: it looks at no pixels, is prompted for each image, or draws objects.
        """
        asked = teacher.provenance
        if asked.prompt_mode is not None:
            raise ConfigError(
                f"teacher.tta: the teacher {asked.teacher} answers prompts, which are of the image "
                "as it lies. Leave tta out"
            )
        self._teacher = teacher
        self.provenance = replace(
            asked, settings={**asked.settings, "tta": "mean of 8 turns and mirror images"}
        )

    def predict(self, image: Image, id: str) -> Prediction:
        """The mean of its eight answers, (K, H, W); empty where all are.

        Raises:
            InputError: the teacher draws objects of this image, of which there is no mean.
        """
        from abbe.imaging import Image

        channels = tuple(dict.fromkeys(self.provenance.channels))  # one may be shown twice
        pixels = image.read(channels=channels)
        total: NDArray[Any] | None = None
        empty = True
        for turns, mirror in MOVES:
            moved = Image.from_array(
                moved_by(pixels, turns, mirror), channels, image.pixel_size, image.name
            )
            answer = self._teacher.predict(moved, id)
            empty &= answer.empty
            if set(answer.maps) != {"probability"}:
                raise InputError(
                    f"teacher.tta: {self.provenance.teacher} gives "
                    f"{', '.join(answer.maps) or 'nothing'} of '{id}', but a mean is taken of "
                    "probability maps alone. Leave tta out, or have it give these"
                )
            maps = moved_back(answer.maps["probability"], turns, mirror)
            total = maps.astype(np.float32) if total is None else total + maps
        assert total is not None
        return Prediction({"probability": total / len(MOVES)}, empty=empty)


class CountedTurnedTeacher(TurnedTeacher):
    """The same of a teacher whose network can be counted."""

    def __init__(self, teacher: CountedTeacher) -> None:
        """As `TurnedTeacher`."""
        super().__init__(teacher)
        self._counted = teacher

    def cost(self) -> Any:
        """What its network costs, eight times of which each image takes."""
        cost = self._counted.cost()
        times = len(MOVES)
        return replace(
            cost,
            macs=None if cost.macs is None else times * cost.macs,
            encoder_macs=None if cost.encoder_macs is None else times * cost.encoder_macs,
        )


def turned(teacher: Teacher) -> TurnedTeacher:
    """The teacher asked about each image eight times.

    Raises:
        ConfigError: as `TurnedTeacher`.
    """
    counted = isinstance(teacher, CountedTeacher)
    return CountedTurnedTeacher(teacher) if counted else TurnedTeacher(teacher)


def moved_by(pixels: NDArray[Any], turns: int, mirror: bool) -> NDArray[Any]:
    """(…, H, W) mirrored, then turned."""
    mirrored = pixels[..., ::-1] if mirror else pixels
    return np.ascontiguousarray(np.rot90(mirrored, turns, axes=(-2, -1)))


def moved_back(maps: NDArray[Any], turns: int, mirror: bool) -> NDArray[Any]:
    """What `moved_by` moved, as it lay before."""
    turned = np.rot90(maps, -turns, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if mirror else turned)
