"""The verbs that run packages, time them, and write a report again; none of them loads torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from abbe.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    from abbe.imaging import Diameter, Image
    from abbe.runs.folder import Run
    from abbe.runtime.batch.many import Outcome
    from abbe.runtime.bench.promptable import PromptableBench
    from abbe.runtime.bench.speed import Bench
    from abbe.runtime.job import Predictor, Result
    from abbe.runtime.package import Package
    from abbe.runtime.package.catalogue import Catalogue
    from abbe.runtime.predictors.opening import RunOptions

Place = str | os.PathLike[str]


@overload
def predict(
    package: "Package | Predictor | Place",
    image: "Image | ArrayLike | Place",
    *,
    channels: Sequence[str] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    diameter: "Diameter | None" = None,
    all_tiles: bool = False,
    stain_like: Place | None = None,
    **options: "Unpack[RunOptions]",
) -> "np.ndarray": ...


@overload
def predict(
    package: "Package | Place",
    image: Place | Sequence[Place],
    out: Place,
    *,
    results: "Sequence[Result]" = (),
    prompts: Place | None = None,
    channels: Sequence[str] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    diameter: "Diameter | None" = None,
    simplify: float = 0.0,
    minimum_area: int | None = None,
    class_name: str | None = None,
    all_tiles: bool = False,
    stain_like: Place | None = None,
    progress: bool = True,
    cluster: str | None = None,
    **options: "Unpack[RunOptions]",
) -> "Outcome": ...


def predict(
    package: Any, image: Any, out: Place | None = None, **options: Any
) -> "np.ndarray | Outcome":
    """What a package says of an image; with ``out``, the files of ``abbe predict`` for many.

    Args:
        package: the package, its folder, or an open one (quicker for many images); the name of one
            that comes with Abbe, such as "nuclei"; or "hf:OWNER/NAME", fetched from Hugging Face.
        image: a path, an image of :mod:`abbe.imaging`, or an array (H, W) or (C, H, W). With
            ``out``, a file, a folder, a pattern, or several of them.
        out: a folder for results named after the images; nothing is written where None.
        options: ``channels``, names of all the image's channels in order; ``pixel_size``, µm per px
            where the image does not say; ``override_pixel_size``, µm per px whatever it says;
            ``diameter``, px across of the image's objects instead of a pixel size, or "auto";
            ``all_tiles``, to compute glass, ink and blur of a slide, which are left out else;
            ``stain_like``, "package" or an image in whose stains H&E is shown to the network;
            ``engine``, ``precision``, ``threads``, ``tile``, ``workers``, ``device`` ("cuda",
            "gpu"): the package's where left out. With ``out`` also ``results``, which files to
            write; ``prompts``, of a promptable package, a .csv file of boxes or points, or a folder
            of masks; ``simplify``, ``minimum_area`` and ``class_name`` of outlines; ``progress``;
            ``cluster``, the workers to run on: "local:4", "tcp://host:8786" or a .yaml file of
            dask-jobqueue.

    Returns:
        Without ``out``, of a package that finds objects (H, W) int32: 0 = background, objects 1…n;
        of one of regions (H, W) int32, the class of each pixel; of one that classifies (K,)
        float32, the probability of each class. With ``out``, what became of the images.

    Raises:
        InputError: the image cannot be read, or lacks a channel or a pixel size. With ``out``, such
            images are listed in ``failed``, and the rest go on.
        ConfigError: an option does not fit the package.
        PackageError: the package is damaged.
    """
    if out is None:
        from abbe.runtime import predict as predict_one

        return predict_one(package, image, **options)
    from abbe.runtime.batch.predict_files import predict_files

    images = [image] if isinstance(image, str | os.PathLike) else list(image)
    return predict_files(package, images, out, **options)


def bench(
    package: "Package | Place",
    images: Sequence[Place] = (),
    *,
    channels: Sequence[str] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    side: int | None = None,
    repeats: int | None = None,
    threads: int | None = None,
    compare: bool = False,
    cold: bool = True,
) -> "Bench | PromptableBench":
    """Measure how fast a package runs on this machine.

    Args:
        package: the package, or its folder.
        images: files, folders or patterns; without any, the package's test image, mirrored side by
            side.
        channels: names of all the images' channels in order, where the files do not say.
        pixel_size: µm per px of the images, where the files do not say.
        override_pixel_size: µm per px of the images, whatever the files say.
        side: of the mirrored test image in px; 2048 where None.
        repeats: how often a tile is timed, the median counts; 7 where None.
        threads: processor threads for the network alone; all where None.
        compare: also time the weights in eager torch.
        cold: also time a cold start.

    Returns:
        The figures, with ``table()`` and ``to_json()``.

    Raises:
        ConfigError: an option does not fit the package, or a number is below 1.
        AbbeError: whatever else the user can mend; see :mod:`abbe.errors`.
    """
    from abbe.imaging import Reading
    from abbe.runtime.batch.find_images import find_images
    from abbe.runtime.bench.common import REPEATS
    from abbe.runtime.bench.promptable import bench_promptable
    from abbe.runtime.bench.speed import SIDE
    from abbe.runtime.bench.speed import bench as measure
    from abbe.runtime.package import read_package

    opened = read_package(package)
    repeats = REPEATS if repeats is None else repeats
    if opened.description.traits.prompted:
        unfit = {"images": images or None, "channels": channels, "pixel_size": pixel_size,
                 "override_pixel_size": override_pixel_size, "side": side,
                 "compare": compare or None}  # fmt: skip
        for option, value in unfit.items():
            if value is not None:
                raise ConfigError(
                    f"{option}: a promptable package is timed on a square of its own size. Leave "
                    "it out"
                )
        return bench_promptable(opened, repeats=repeats, threads=threads, cold=cold)
    named = None if channels is None else tuple(channels)
    return measure(
        opened,
        find_images(images),
        reading=Reading(named, pixel_size, override_pixel_size),
        side=SIDE if side is None else side,
        repeats=repeats,
        threads=threads,
        compare=compare,
        cold=cold,
    )


def models(*places: Place) -> "Catalogue":
    """The packages that come with Abbe, and those in the places that are named.

    Args:
        places: packages, folders of packages, and repositories on Hugging Face ("hf:OWNER/NAME"),
            of which only the description is fetched.

    Returns:
        ``entries``, each with what its package sees, gives and scores, and ``problems`` of places
        that cannot be listed. Printed, it is what ``abbe models`` prints.
    """
    from abbe.runtime.package.catalogue import catalogue

    return catalogue(places)


def report(run: "Run | Place") -> Path:
    """Write the report of a finished run, an evaluation or a curve again.

    Args:
        run: the run, or its folder.

    Returns:
        The page, ``report.html`` in the run's folder.

    Raises:
        InputError: the folder holds no finished run.
    """
    from abbe.reporting import write_report

    return write_report(Path(run))
