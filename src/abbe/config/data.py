"""Which images a run reads."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from abbe.config.section import Section
from abbe.config.values import Fraction, Place
from abbe.registry import DATASETS

if TYPE_CHECKING:
    DataKind = str
else:
    DataKind = Literal[("given", *DATASETS)]
"""Names of the registry; ``given``: from Python."""


class Data(Section):
    """Which images, which labels, and how they are split."""

    kind: DataKind = "folder"
    """folder: images/, labels/, index.csv; classes: a folder of images a class; slides: the tiles
    of whole slides; simulated: made up by Abbe; given: from Python; else the original layout of a
    public set (`abbe data list`)."""
    path: Place | None = None
    """The data set's folder (for tissuenet that of its three .npz files, train, val and test)."""
    channels: tuple[str, ...] | None = None
    """Names of the image's channels in order; taken from the files' metadata where omitted."""
    labels: str = "labels"
    """Folder of the labels, relative to the data set's folder."""
    ignore: int | None = None
    """A number in label files that means unknown, such as 255; −1 always does."""
    types: str | None = None
    """Folder of pictures that number the class of each pixel, for a task of regions."""
    classes: tuple[str, ...] = ()
    """What these numbers mean, from 1; or the order of the values in index.csv's column class."""
    class_colours: tuple[str, ...] = ()
    """NAME=COLOUR of each class, such as tumor=#ff0000 stroma=0,128,0, where pictures say classes
    by colours: those in types, or in labels where types is not given. background and unknown are
    no classes; black is background where nothing else is."""
    objects: Literal["cell", "nucleus"] = "cell"
    """What is labelled, where a set offers both (tissuenet, simulated)."""
    pixel_size: Annotated[float, Field(gt=0)] | None = None
    """µm per pixel, where the files do not say; of slides, at their finest level."""
    override_pixel_size: Annotated[float, Field(gt=0)] | None = None
    """µm per pixel, whatever the files say: for files that are wrong."""
    tile_pixel_size: Annotated[float, Field(gt=0)] = 0.5
    """µm per pixel of the tiles (slides only)."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """px from one tile to the next; a tile's side where omitted (slides only)."""
    minimum_tissue: Fraction = 0.5
    """Least share of a tile that is tissue (slides only)."""
    maximum_pen: Fraction = 0.1
    """Largest share of a tile under ink (slides only)."""
    minimum_sharpness: Annotated[float, Field(ge=0)] = 40.0
    """Least sharpness of a tile, meant for 0.5 µm; 0 takes blurred ones, too (slides only)."""
    where: dict[str, str] = Field(default_factory=dict)
    """Keep only the images with these values in index.csv or the set's own columns, several
    separated by commas, for example kind: fluo, or modality: fluorescence,brightfield."""
    fold: Annotated[int, Field(ge=0, le=4)] = 0
    """Fold of the training images that is held out (bbbc038 only)."""
    group: str | None = None
    """Column of index.csv that names the patient, slide or video, or a regular expression with
    brackets around it in the files' names, such as '(P\\d+)_'; a group is never split."""
    split: str = "auto"
    """auto: the set's own splits, else fractions; fraction; a column name; or a .csv file."""
    fractions: tuple[Fraction, Fraction, Fraction] = (0.7, 0.1, 0.2)
    """Shares of train, val and test when splits are drawn."""
    split_seed: int = 0
    """Seed of drawn splits and of the choice of labelled images."""
    labelled: int | float | Literal["all"] = "all"
    """How many training images keep their labels: all, a count (20) or a share (0.1)."""
    validation_labels: Annotated[int, Field(ge=0)] | float | Literal["all"] = "all"
    """How many validation images keep theirs, likewise; they choose weights and thresholds. With 0
    the last weights are taken, and training images choose the thresholds."""
    count: Annotated[int, Field(ge=3)] = 200
    """Number of images (simulated only)."""
    size: Annotated[int, Field(ge=64)] = 256
    """Side of an image in px (simulated, and the tiles of slides)."""
    seed: int = 0
    """Seed of the simulator (simulated only)."""

    @model_validator(mode="after")
    def _path_fits_kind(self) -> "Data":
        if self.kind not in ("simulated", "given") and self.path is None:
            raise ValueError(f"kind '{self.kind}' needs a path: give --data.path FOLDER")
        if self.kind == "simulated" and self.path is not None:
            raise ValueError("kind 'simulated' reads no files: leave path out, or set kind: folder")
        if self.kind != "bbbc038" and self.fold:
            raise ValueError("fold is about bbbc038: leave it out, or set kind: bbbc038")
        for key in ("stride", "minimum_tissue", "maximum_pen", "minimum_sharpness"):
            if self.kind != "slides" and getattr(self, key) != Data.model_fields[key].default:
                raise ValueError(f"{key} is about slides: leave it out, or set kind: slides")
        for key in ("labelled", "validation_labels"):
            value = getattr(self, key)
            if isinstance(value, float) and not 0 <= value <= 1:
                raise ValueError(f"{key} as a share lies between 0 and 1; a count has no decimals")
        if self.pixel_size is not None and self.override_pixel_size is not None:
            raise ValueError(
                "pixel_size fills in where files do not say, override_pixel_size goes before what "
                "they say: give one of them"
            )
        if abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(f"fractions must add up to 1, not {sum(self.fractions):g}")
        return self


class PretrainData(Data):
    """Where tiles to pretrain on come from; no label of theirs is looked at."""

    kind: DataKind = "given"
    """As in data; given: the training images of data."""
