"""``abbe predict``: run a package on images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from abbe.cli.arguments import parse, say
from abbe.errors import ConfigError
from abbe.progress import images_by_name

if TYPE_CHECKING:
    from abbe.imaging import Reading

Result = Literal[
    "labels", "zarr", "probability", "geojson", "geojson.gz", "geoparquet", "table", "overview"
]


@dataclass(frozen=True)
class PredictArguments:
    """Arguments of ``abbe predict``."""

    package: tyro.conf.Positional[Path]
    """The package that abbe export wrote."""
    images: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Images, folders of images, or patterns in quotes."""
    out: Path
    """Folder for the results; they are named after the images."""
    prompts: Path | None = None
    """For a promptable package: a .csv file of boxes or points, or a folder of masks."""
    results: tuple[Result, ...] = ()
    """Which files to write for each image; labels where omitted, a table of classes."""
    channels: tuple[str, ...] | None = None
    """Names of all the images' channels in order, where the files do not say."""
    pixel_size: float | None = None
    """µm per pixel of the images, where the files do not say."""
    override_pixel_size: float | None = None
    """µm per pixel of the images, whatever the files say."""
    engine: Literal["openvino", "onnxruntime"] | None = None
    """What runs the network; the package's choice where omitted."""
    precision: Literal["fp32", "bf16", "int8"] | None = None
    """How it computes; the package's choice where omitted."""
    threads: int | None = None
    """Processor threads for the network; all where omitted."""
    tile: int | None = None
    """Side of the network's windows, px; the package's choice where omitted."""
    workers: int | None = None
    """Tiles or small images in hand at a time; as many as the cores where omitted (4 images at most
    of a promptable package)."""
    zarr_version: Literal["0.4", "0.5"] = "0.5"
    """Version of OME-Zarr for the result zarr."""


# long: half of it is the text of --help
def run(words: list[str]) -> int:
    """``abbe predict``; exit code 1 where an image failed."""
    description = """Find the objects of images with a package: PNG to whole slides, without torch.

Results, for an image NAME: labels (NAME.labels.tif, one number an object), zarr (labels as
OME-Zarr), probability (the maps, 0 to 255), geojson and geojson.gz (outlines for QuPath),
geoparquet, table (NAME.csv: area, centroid, intensities of each object), overview (a picture).

A package of regions writes the class of each pixel as labels, its probabilities, outlines with the
names of classes, a table of areas by class, and an overview with a legend. A package that
classifies writes classes.csv, a row an image; of an image larger than its tile also a table of
tiles (NAME.csv), their squares for QuPath, and an overview coloured by class.

Images of any size go through in tiles; objects on seams are found whole. A run that was stopped
goes on where it was. Images that cannot be read are listed; the rest go on.

A promptable package is asked for each object with a prompt: FILE.csv has the columns id, x0, y0,
x1, y1 (boxes) or id, x, y[, positive] (points); rows that share a value in the column object are
one object. Of a folder of masks the boxes of their objects are taken.

examples:
  abbe predict packages/nuclei slide.ome.tiff --out results/
  abbe predict packages/nuclei images/ --out results/ --results labels table overview
  abbe predict packages/tissue-types tiles/ --out results/
  abbe predict packages/tissue-types slide.svs --out results/ --results table geojson overview
  abbe predict packages/polyps images/ --prompts boxes.csv --out results/
  abbe predict packages/nuclei "scans/*.svs" --out results/ --results geojson.gz \\
      --pixel-size 0.25                       (for files that do not say)
  abbe predict packages/nuclei old/ --out results/ --override-pixel-size 0.5"""
    arguments = parse(PredictArguments, "predict", words, description)
    from abbe.runtime.batch.find_images import find_images, left_out
    from abbe.runtime.batch.many import Job, predict_many
    from abbe.runtime.package import read_package
    from abbe.runtime.predictors.prompt_files import read_prompts
    from abbe.runtime.predictors.tasks import open_predictor_for

    if not arguments.images:
        raise ConfigError("no image was named: give files, folders or patterns")
    images = find_images(arguments.images, arguments.out)
    for line in left_out(arguments.images, arguments.out):
        say(f"note: {line}")
    package = read_package(arguments.package)
    prompts = None if arguments.prompts is None else read_prompts(arguments.prompts)
    ready = open_predictor_for(
        package,
        images,
        _reading(arguments),
        engine=arguments.engine,
        precision=arguments.precision,
        threads=arguments.threads,
        tile=arguments.tile,
        workers=arguments.workers,
    )
    say(f"{package.description.title}: {ready}")
    for note in ready.engine.notes:
        say(note)
    results = arguments.results or ready.results[:1]
    job = Job(results, _reading(arguments), arguments.zarr_version, prompts)
    with images_by_name("predict", len(images)) as report:
        outcome = predict_many(ready, images, arguments.out, job, report)
    say(outcome.summary())
    return 1 if outcome.failed else 0


def _reading(arguments: PredictArguments) -> "Reading":
    from abbe.imaging import Reading

    if arguments.pixel_size is not None and arguments.override_pixel_size is not None:
        raise ConfigError(
            "--pixel-size fills in where files do not say, --override-pixel-size goes before what "
            "they say: give one of them"
        )
    return Reading(arguments.channels, arguments.pixel_size, arguments.override_pixel_size)
