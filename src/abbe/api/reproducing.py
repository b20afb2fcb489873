"""The verb that runs published tables."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from abbe.reproducing.experiments import settings_for
from abbe.reproducing.given import SetLike, material_of, named
from abbe.reproducing.plan import table_named
from abbe.runs.from_python import Keys, Place, local_folder

if TYPE_CHECKING:
    from abbe.reproducing.reproduce import Reproduced


def reproduce(
    table: str,
    data: Place | Sequence[Place] | Mapping[str, SetLike] = (),
    weights: Place | Sequence[Place] | Mapping[str, Place] = (),
    *,
    out: Place | None = None,
    quick: bool = False,
    seeds: int | None = None,
    only: Sequence[str] = (),
    random_weights: bool = False,
    changes: Keys | None = None,
    progress: bool = True,
) -> "Reproduced":
    """Run a published table item by item, the paper's figure beside ours.

    What is finished is not run again, what was stopped goes on: make the same call. A set or
    weights that are not given leave their cells empty, and the table says where to get them.

    Args:
        table: its name, such as 'kdsam'; ``abbe reproduce --list`` tells which there are.
        data: folders of data sets, recognised by their look, or one that holds them; or by name, a
            folder, or keys of the section ``data``, such as ``{"busi": {"kind": "folder", …}}``.
        weights: files, recognised by their names; or by name, a path, such as
            ``{"sam": "facebook/sam-vit-huge"}``.
        out: the table's folder; ``reproduced/TABLE`` where None.
        quick: a few steps on a few images with one seed, which compares nothing.
        seeds: how many; as the table says where None.
        only: items to run, as names or patterns; those that they build on are run, too.
        random_weights: begin with random weights where ImageNet's would be downloaded.
        changes: keys and sections of the experiment file for all items, such as
            ``{"training": {"passes": 5}}``, but for those that the table settles itself.
        progress: show progress.

    Returns:
        The table, with ``folder``, ``markdown()`` and ``failures``: an item that fails leaves its
        cells empty, and the others are run.

    Raises:
        ConfigError: there is no such table, what was given is not recognised, or ``out`` holds
            another table or items made with other settings.
        InputError: files of ``out`` are damaged.
    """
    from abbe.reproducing.reproduce import reproduce as carry_out

    asked = table_named(table)

    def by_name(given: Place | Sequence[Place] | Mapping, option: str) -> Mapping:
        if isinstance(given, Mapping):
            return given
        places = [given] if isinstance(given, str | os.PathLike) else given
        return named([os.fspath(place) for place in places], [asked], option)

    settings = settings_for(
        asked,
        material_of(
            asked,
            by_name(data, "--data"),
            by_name(weights, "--weights"),
            random_weights=random_weights,
        ),
        out=None if out is None else local_folder(out),
        seeds=seeds,
        quick=quick,
        changes=changes,
    )
    return carry_out(settings, only=only, progress=progress)
