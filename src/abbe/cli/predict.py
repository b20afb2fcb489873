"""``abbe predict``: run a package on images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from abbe.cli.shared.arguments import parse, say
from abbe.remote import as_path

Result = Literal[
    "labels", "zarr", "probability", "geojson", "geojson.gz", "geoparquet", "table", "overview",
    "dicom-seg", "dicom-ann",
]  # fmt: skip


@dataclass(frozen=True)
class PredictArguments:
    """Arguments of ``abbe predict``."""

    package: tyro.conf.Positional[str]
    """The package: its folder, the name of one that comes with Abbe (abbe models), or
    hf:OWNER/NAME, a repository on Hugging Face."""
    images: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Images, folders of images, or patterns in quotes; by URL (s3://, gs://, az://, https://),
    too, with abbe[cloud]."""
    out: Path | None = None
    """Folder, or s3://BUCKET/…, for the results, which are named after the images; PACKAGE-results
    here where omitted."""
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
    diameter: Literal["auto"] | float | None = None
    """px across of the images' objects, where no pixel size tells their scale; auto: estimated for
    each image, and said."""
    engine: Literal["openvino", "onnxruntime"] | None = None
    """What runs the network; the package's choice where omitted."""
    precision: Literal["fp32", "bf16", "int8"] | None = None
    """How it computes; the package's choice where omitted."""
    device: Literal["cpu", "cuda", "gpu"] | None = None
    """cuda: an NVIDIA GPU, by onnxruntime-gpu; gpu: an Intel GPU, by OpenVINO; both in fp32. The
    processor, with a word, where that cannot be had."""
    threads: int | None = None
    """Processor threads for the network; OMP_NUM_THREADS or all where omitted."""
    tile: int | None = None
    """Side of the network's windows, px; the package's choice where omitted."""
    workers: int | None = None
    """Tiles or small images in hand at a time; as many as the cores where omitted (4 images at most
    of a promptable package)."""
    cluster: str | None = None
    """Workers to run on: local:N (processes here), tcp://HOST:PORT (a dask scheduler), or a .yaml
    file of dask-jobqueue (SLURM, LSF, PBS, SGE); this process alone where omitted."""
    simplify: float = 0.0
    """px by which outlines may leave the pixels' edges, such as 0.5: files become smaller and
    quicker to draw, areas are kept within 1 %."""
    minimum_area: int | None = None
    """For a package of regions: px of the image below which an area is not outlined."""
    class_name: str | None = None
    """Class of all objects in outlines; the package's where omitted."""
    all_tiles: bool = False
    """Compute everything: without it, glass, ink and blur of H&E slides are left out."""
    stain_like: str | None = None
    """Show H&E to the network in the stains of an image that it was trained on: package (its test
    image), or FILE. Macenko's method; results are of the image as it is."""
    zarr_version: Literal["0.4", "0.5"] = "0.5"
    """Version of OME-Zarr for the result zarr."""


def run(words: list[str]) -> int:
    """``abbe predict``; exit code 1 where an image failed."""
    description = """Find the objects of images with a package: PNG to whole slides, without torch.

Results, for an image NAME: labels (NAME.labels.tif, one number an object), zarr (labels as
OME-Zarr), probability (the maps, 0 to 255), geojson and geojson.gz (outlines for QuPath),
geoparquet, table (NAME.csv: area, centroid, intensities of each object), overview (a picture).
Of DICOM images also dicom-seg (NAME.seg.dcm: the classes of pixels), and of slides dicom-ann
(NAME.ann.dcm: outlines with classes and measurements), which refer to the image.

A package of regions writes the class of each pixel as labels, its probabilities, outlines with the
names of classes, a table of areas by class, and an overview with a legend. A package that
classifies writes classes.csv, a row an image; of an image larger than its tile also a table of
tiles (NAME.csv), their squares for QuPath, and an overview coloured by class.

Of slides in red, green and blue, tissue is looked for first: glass, ink of markers and blurred
places are left out, as they are in training, and the overview shows what was taken.

Images of any size go through in tiles; objects on seams are found whole. A run that was stopped
goes on where it was. Images that cannot be read are listed; the rest go on.

A promptable package is asked for each object with a prompt: FILE.csv has the columns id, x0, y0,
x1, y1 (boxes) or id, x, y[, positive] (points); rows that share a value in the column object are
one object. Of a folder of masks the boxes of their objects are taken.

examples:
  abbe predict nuclei images/                   (fluorescence; comes with Abbe)
  abbe predict packages/nuclei slide.ome.tiff --out results/
  abbe predict packages/nuclei images/ --out results/ --results labels table overview
  abbe predict packages/tissue-types tiles/ --out results/
  abbe predict packages/tissue-types slide.svs --out results/ --results table geojson overview
  abbe predict packages/polyps images/ --prompts boxes.csv --out results/
  abbe predict packages/nuclei "scans/*.svs" --out results/ --results geojson.gz \\
      --pixel-size 0.25                       (for files that do not say)
  abbe predict packages/nuclei slide.svs --out results/ --results geojson --simplify 0.5 \\
      --class-name Nucleus                    (for QuPath)
  abbe predict packages/nuclei dicom/level-0.dcm --out results/ --results dicom-seg dicom-ann
  abbe predict nuclei-he slides/ --out results/ --stain-like package
  abbe predict packages/nuclei old/ --out results/ --override-pixel-size 0.5
  abbe predict packages/nuclei slide.svs --out results/ --device cuda
  abbe predict nuclei s3://lab/scans/ --out s3://lab/results/
  abbe predict nuclei scans/ --out results/ --cluster local:4
  abbe predict nuclei scans/ --out results/ --cluster slurm.yaml
  abbe predict nuclei images/ --diameter 12     (px; of images whose pixel size nobody knows)
  abbe predict nuclei images/ --diameter auto   (found in two looks at each image)"""
    arguments = parse(PredictArguments, "predict", words, description)
    from abbe.runtime.batch.predict_files import predict_files

    options = vars(arguments)
    out = options.pop("out") or default_out(arguments.package)
    outcome = predict_files(**options, out=out, say=say)
    say(outcome.summary())
    say(f"results: {as_path(out)}")
    return 1 if outcome.failed else 0


def default_out(package: str) -> Path:
    """Where results go if nothing is said: packages/nuclei → nuclei-results, in this folder."""
    place = as_path(package)
    return Path(f"{place.resolve().name}-results")
