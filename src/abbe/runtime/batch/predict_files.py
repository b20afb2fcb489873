"""Run a package on files: from what names them to the results on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from abbe.cluster import open_cluster
from abbe.errors import ConfigError
from abbe.imaging import Diameter, Reading
from abbe.progress import images_by_name
from abbe.remote import as_path, as_remote
from abbe.runtime.batch.delivery import Delivery
from abbe.runtime.batch.find_images import find_images, left_out
from abbe.runtime.batch.many import Outcome, check_outlining, check_prompts, predict_many
from abbe.runtime.batch.on_workers import Elsewhere, on_client
from abbe.runtime.job import Job, Outlining, Result
from abbe.runtime.package import Package, read_package
from abbe.runtime.predictors.opening import RunOptions
from abbe.runtime.predictors.prompt_files import read_prompts
from abbe.runtime.predictors.stain_like import stain_of
from abbe.runtime.predictors.tasks import open_predictor_for
from abbe.runtime.tiling.cutting import check_diameter, check_scale

if TYPE_CHECKING:
    from abbe.runtime.writing.label_files import ZarrVersion

Place = str | os.PathLike[str]


def predict_files(
    package: Package | Place,
    images: Sequence[Place],
    out: Place,
    *,
    results: Sequence[Result] = (),
    prompts: Place | None = None,
    channels: Sequence[str] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    diameter: Diameter | None = None,
    zarr_version: ZarrVersion = "0.5",
    simplify: float = 0.0,
    minimum_area: int | None = None,
    class_name: str | None = None,
    all_tiles: bool = False,
    stain_like: Place | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: bool = True,
    cluster: str | None = None,
    **options: Unpack[RunOptions],
) -> Outcome:
    """Run a package on files, folders and patterns, and write results named after the images.

    A run that was stopped goes on where it was. Images that cannot be read are noted in the
    outcome; the rest go on.

    Args:
        package: The package, or its folder.
        images: Files, folders or patterns; or URLs of them.
        out: Folder for the results, or a URL of a bucket.
        results: Which files to write for each image; what the package's task usually gives where
            none is named.
        prompts: For a promptable package: a .csv file of boxes or points, or a folder of masks.
        channels: Names of all the images' channels in order, where the files do not say.
        pixel_size: µm per px of the images, where the files do not say.
        override_pixel_size: µm per px of the images, whatever the files say.
        diameter: px across of the images' objects, or "auto" to have it estimated for each; for
            images whose scale no pixel size tells.
        zarr_version: Version of OME-Zarr.
        simplify: px by which outlines may leave the pixels' edges; areas are kept within 1 %.
        minimum_area: px of the images below which a regions package's areas are not outlined; what
            the package says where None.
        class_name: Of all objects in outlines; the package's, if it has one, where None.
        all_tiles: Compute glass, ink and blur of slides, too.
        stain_like: In whose stains H&E is shown to the network: "package" for those of its test
            image, or an image; None for the images' own. See `abbe.imaging.stain`.
        say: Told of the package and of files that are passed over, in lines.
        progress: Show how far it is.
        cluster: Workers to run on: "local:4", "tcp://host:8786" or a .yaml file of dask-jobqueue;
            None for this process alone.
        options: engine, precision, threads, tile, workers, device: see `RunOptions`; on a cluster
            threads and workers are those of each worker.

    Raises:
        ClusterError: The cluster's scheduler has gone.
        ConfigError: No image is named, an option does not fit the package, or prompts are missing.
        InputError: A name leads to nothing.
        PackageError: The package is damaged, or its network fails.
        OSError: The disk is full or cannot be written to.
    """
    if not images:
        raise ConfigError("no image was named: give some after the package: nuclei images/")
    reading = _reading(channels, pixel_size, override_pixel_size, diameter)
    found = find_images(images, out)
    for line in left_out(images, out):
        say(f"note: {line}")
    opened = package if isinstance(package, Package) else read_package(package)
    check_prompts(opened, prompts is not None)  # before networks are compiled
    outlining = Outlining(simplify, minimum_area, class_name)
    check_outlining(opened, outlining, results)
    check_diameter(opened.description, diameter is not None)
    reading = replace(reading, stain=stain_of(opened, stain_like))
    asked = None if prompts is None else read_prompts(as_path(prompts))
    own = options if cluster is None else on_client(options)
    predictor = open_predictor_for(opened, found, reading, **own)
    say(f"{opened.description.title}: {predictor}")
    for note in predictor.engine.notes:
        say(note)
    job = Job(
        tuple(results) or predictor.results[:1], reading, zarr_version, asked, outlining, all_tiles
    )
    place = as_path(out)
    bucket = as_remote(place)
    delivery = None if bucket is None else Delivery(bucket)
    with ExitStack() as stack:
        elsewhere = report = None
        if cluster is not None:
            workers = stack.enter_context(
                open_cluster(cluster, say, on_gpus=options.get("device") == "cuda")
            )
            elsewhere = Elsewhere(workers, options, None if prompts is None else as_path(prompts))
        if progress:
            report = stack.enter_context(images_by_name("predict", len(found)))
        folder = place if delivery is None else delivery.folder
        return predict_many(predictor, found, folder, job, report, elsewhere, delivery)


def _reading(
    channels: Sequence[str] | None,
    pixel_size: float | None,
    override_pixel_size: float | None,
    diameter: Diameter | None,
) -> Reading:
    """How the user has files read."""
    check_scale(pixel_size, override_pixel_size, diameter)
    named = None if channels is None else tuple(channels)
    across = diameter if diameter is None or diameter == "auto" else float(diameter)
    return Reading(named, pixel_size, override_pixel_size, across)
