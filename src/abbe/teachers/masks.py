"""A teacher whose answers are masks in a folder, written by another program or a person."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abbe.errors import InputError
from abbe.imaging.labels.names import LABEL_SUFFIXES
from abbe.registry import TeacherTraits, declares
from abbe.remote import as_path
from abbe.runtime.predictors.prompt_files import mask_files
from abbe.teachers.teacher import Prediction, require_channels

if TYPE_CHECKING:
    from abbe.imaging import Image
    from abbe.targets import Provenance
    from abbe.teachers.type_tables import TypeTables


class MaskTeacher:
    """Reads the file that belongs to an image; it never looks at the pixels."""

    def __init__(
        self,
        files: dict[str, Path],
        folder: Path,
        provenance: Provenance,
        types: TypeTables | None = None,
    ) -> None:
        self.provenance = provenance
        self._files, self._folder, self._types = files, folder, types

    def predict(self, image: Image, id: str) -> Prediction:
        """The instances in the file named after ``id``, (H, W); empty where it holds none.

        With tables of types also maps: foreground, boundary, and one for each type.

        Raises:
            InputError: there is no such file, it is damaged, not of the image's size, or the image
                itself; or its table of types does not fit it.
        """
        from abbe.imaging import read_labels
        from abbe.imaging.labels.checks import equals_image

        if id not in self._files:
            raise InputError(
                f"{self._folder}: no mask for the image '{id}'; a file with that name and one of "
                f"{', '.join(LABEL_SUFFIXES)} is needed"
            )
        labels = read_labels(self._files[id])
        if labels.shape != image.shape:
            raise InputError(
                f"{self._files[id]} is {labels.shape[0]} x {labels.shape[1]} px but the image "
                f"{image.name} {image.shape[0]} x {image.shape[1]}: export the mask at its size"
            )
        if equals_image(labels, image):
            raise InputError(
                f"{self._files[id]}: it has the same pixels as the image {image.name}: it is no "
                "mask. Name the folder of the masks, or their suffix"
            )
        empty = not bool((labels > 0).any())
        if self._types is None:
            return Prediction({"instances": labels}, empty=empty)
        maps = self._types.maps(id, labels, self._files[id])
        return Prediction({"probability": maps, "instances": labels}, empty=empty)


@declares(TeacherTraits(reads_all=True, keeps_answers=True))
def masks(
    path: str | os.PathLike[str],
    channels: Sequence[str] | None = None,
    *,
    suffix: str = "",
    types: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | str = (),
    name: str | None = None,
    licence: str = "not stated",
    training_data_licence: str = "not stated",
    sees_labels: bool = False,
    stand_in: bool = False,
) -> MaskTeacher:
    """A teacher that is a folder of label images or binary masks, one for each image.

    Only instances are stored: foreground and boundary follow from them without loss. The touching
    objects of a binary mask count as one instance. With ``types``, maps are stored, too.

    Args:
        path: the folder; each file is named after an image's id.
        channels: those that the other program saw; the masks are tied to these pixels.
        suffix: what follows the id in the file names, such as ``_cp_masks``.
        types: a folder of tables, ``ID.csv`` for each image, with a column ``label`` and a column
            ``class`` (as abbe predict writes them), which say the type of each object.
        classes: the types in order; needed with ``types``.
        name: the program's name in the store; the folder's where omitted.
        licence: under which the masks, or the weights of their program, stand.
        training_data_licence: licence of what the program was trained on.
        sees_labels: the masks were made with the help of ground truth, or are ground truth.
        stand_in: the masks stand in for the teacher one would rather use; said everywhere.

    Raises:
        InputError: there is no such folder, no mask in it, or two for one image.
        ConfigError: the channels are not given, or types without classes.
    """
    from abbe.targets import Provenance
    from abbe.teachers.type_tables import type_tables

    folder = as_path(path)
    tables = None if types is None else type_tables(Path(types), classes)
    channels = require_channels(channels, str(folder))
    return MaskTeacher(
        mask_files(folder, suffix),
        folder,
        Provenance(
            teacher=name or folder.resolve().name,
            weights_sha256=None,
            weights_licence=licence,
            training_data_licence=training_data_licence,
            channels=channels,
            normalisation="done by another program",
            settings={"suffix": suffix} if suffix else {},
            sees_labels=sees_labels,
            stand_in=stand_in,
            notes=(f"masks of another program, from the folder '{folder.resolve().name}'",),
            outputs=("foreground",) if tables is None else tables.outputs,
        ),
        tables,
    )
