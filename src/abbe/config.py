"""The experiment file: everything a run depends on, typed, and checked before any work starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from abbe.errors import ConfigError
from abbe.files import write_text

NamedArchitecture = Literal[
    "unet-swin-tiny",
    "unet-resnet18",
    "unet-efficientnet-b0",
    "unet-mobilenetv3",
    "unet-mobilenetv3-large",
    "unet-resnet50",
    "unet-convnextv2-atto",
    "unet-csat-like",
    "promptable-resnet50",
    "promptable-resnet18",
    "promptable-mobilenetv3-large",
    "promptable-tiny-vit-5m",
    "promptable-repvit-m0.9",
    "promptable-repvit-m1",
    "promptable-mobilesam",
]
TimmArchitecture = Annotated[str, Field(pattern=r"^(unet|promptable)-timm-\w[\w.]*$")]
"""On any encoder of timm's with the usual strides, such as unet-timm-regnety_004."""
Output = Literal["foreground", "boundary"]
DataKind = Literal[
    "folder", "tissuenet", "bbbc038", "kvasir", "isic2017", "hc18", "busi", "simulated", "given",
    "classes", "slides", "nct_crc", "bach", "breakhis", "chaoyang", "glas", "bcss", "pannuke",
    "monuseg", "nucls",
]  # fmt: skip
Fraction = Annotated[float, Field(ge=0, le=1)]
Switch = BeforeValidator(lambda value: "off" if value is False else value)
"""YAML reads a bare off as false."""
Option = Annotated[
    bool | int | float | str,
    BeforeValidator(lambda value: {"true": True, "false": False}.get(str(value), value)),
]
"""On the command line true is as good as True."""
Made = TypeVar("Made")


class _SectionType(type(BaseModel)):
    """Calling a section (as the command line does) raises ConfigError, in the words of a file."""

    def __call__(cls: type[Made], **values: Any) -> Made:
        try:
            return super().__call__(**values)  # pyright: ignore[reportAttributeAccessIssue]
        except ValidationError as error:
            raise ConfigError(describe(error, cls).lstrip()) from error


class Section(BaseModel, metaclass=_SectionType):
    """A part of the experiment file: unknown keys are refused and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """Which images, which labels, and how they are split."""

    kind: DataKind = "folder"
    """folder: images/, labels/, index.csv; classes: a folder of images a class; slides: the tiles
    of whole slides; simulated: made up by Abbe; given: from Python; else the original layout of a
    public set (`abbe data list`)."""
    path: Path | None = None
    """The data set's folder (or .npz file for tissuenet)."""
    channels: tuple[str, ...] | None = None
    """Names of the image's channels in order; taken from the files' metadata where omitted."""
    labels: str = "labels"
    """Folder of the labels, relative to the data set's folder."""
    types: str | None = None
    """Folder of pictures that number the class of each pixel, for a task of regions."""
    classes: tuple[str, ...] = ()
    """What these numbers mean, from 1; or the order of the values in index.csv's column class."""
    objects: Literal["cell", "nucleus"] = "cell"
    """What is labelled, where a set offers both (tissuenet, simulated)."""
    pixel_size: Annotated[float, Field(gt=0)] | None = None
    """µm per pixel, where the files do not say or are wrong; of slides, at their finest level."""
    tile_pixel_size: Annotated[float, Field(gt=0)] = 0.5
    """µm per pixel of the tiles (slides only)."""
    where: dict[str, str] = {}
    """Keep only the images with these values in index.csv, for example kind: fluo."""
    group: str | None = None
    """Column of index.csv that names the patient, slide or video; a group is never split."""
    split: str = "auto"
    """auto: the set's own splits, else fractions; fraction; a column name; or a .csv file."""
    fractions: tuple[Fraction, Fraction, Fraction] = (0.7, 0.1, 0.2)
    """Shares of train, val and test when splits are drawn."""
    split_seed: int = 0
    """Seed of drawn splits and of the choice of labelled images."""
    labelled: int | float | Literal["all"] = "all"
    """How many training images keep their labels: all, a count (20) or a share (0.1)."""
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
        if isinstance(self.labelled, float) and not 0 <= self.labelled <= 1:
            raise ValueError("labelled as a share lies between 0 and 1; a count has no decimals")
        if abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(f"fractions must add up to 1, not {sum(self.fractions):g}")
        return self


class PretrainData(Data):
    """Where tiles to pretrain on come from; no label of theirs is looked at."""

    kind: DataKind = "given"
    """As in data; given: the training images of data."""


class Teacher(Section):
    """Where the targets come from."""

    kind: Literal[
        "none", "masks", "onnx", "bioimageio", "torch", "run", "sam", "cellpose", "cellsam", "store"
    ] = "none"
    """masks of any program; onnx; bioimageio; torch module; an earlier Abbe run; SAM's family;
    cellpose and cellsam where they are installed; a target store."""
    path: Path | None = None
    """Folder, file, package, run or target store, by kind; for torch, package.module:factory; for
    sam, a file, a folder or a Hugging Face id; for cellpose and cellsam, a model's name or file."""
    sees: tuple[str, ...] | None = None
    """Channels the teacher reads, in its order; all of the image's where omitted."""
    options: dict[str, Option] = {}
    """Further arguments of its function in abbe.teachers, for example tile: 512."""
    live: bool = False
    """Run the teacher inside the training loop instead of storing its maps (torch and run)."""

    @model_validator(mode="after")
    def _path_fits_kind(self) -> "Teacher":
        if self.kind != "none" and self.path is None:
            raise ValueError(f"kind '{self.kind}' needs a path: give --teacher.path")
        if self.live and self.kind not in ("torch", "run", "sam"):
            raise ValueError("live: true works with kind torch, run or sam only")
        return self


class Student(Section):
    """The network that is trained."""

    architecture: NamedArchitecture | TimmArchitecture = "unet-resnet18"
    """One of those named, or unet-timm-NAME or promptable-timm-NAME for an encoder of timm's."""
    sees: Annotated[tuple[str, ...], Field(min_length=1)] = ("nucleus",)
    """Channels the student reads."""
    outputs: tuple[Output, ...] = ("foreground", "boundary")
    """foreground alone, or with the boundary map that separates touching objects."""
    encoder_weights: Literal["choose", "random", "imagenet"] | Path = "choose"
    """imagenet (downloaded by timm), a file in timm's layout, or random. There is no default."""

    @model_validator(mode="after")
    def _weights_chosen(self) -> "Student":
        if self.encoder_weights == "choose":
            raise ValueError(
                "encoder_weights must be chosen: 'imagenet' (downloaded through timm), the path "
                "of a weight file, or 'random' (trains from scratch, usually worse)"
            )
        if "foreground" not in self.outputs or len(set(self.outputs)) != len(self.outputs):
            raise ValueError("outputs are [foreground] or [foreground, boundary]")
        return self


class Promptable(Section):
    """How a promptable student is taught: its image encoder first, then the mask decoder."""

    side: Annotated[int, Field(ge=64, multiple_of=32)] = 1024
    """Side of the square that the student sees, in px; SAM's is 1024."""
    neck: Literal["default", "nanosam"] = "default"
    """Layers from the encoder's last map to SAM's embedding."""
    mse: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the mean squared error between embeddings; 0 for none."""
    perceptual: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the perceptual loss; 0 for none."""
    perceptual_mode: Literal["pca3", "triplets", "decoder"] = "pca3"
    """pca3 and triplets: through a feature network; decoder: through the teacher's own decoder."""
    features: Literal["vgg16", "vgg19", "resnet50"] = "vgg16"
    vgg_weights: Literal["imagenet", "random"] | Path = "imagenet"
    """Of the feature network: imagenet (downloaded by torchvision), a file in its layout, or random
    (whose features are no measure of likeness)."""
    decoder_steps: Annotated[int, Field(ge=0)] = 1000
    """Steps of the second stage; 0 leaves the teacher's decoder as it is."""
    decoder_learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    bce: bool = False
    """Add cross-entropy to the decoder's Dice."""
    train_neck: bool = False
    """Fit the neck too in the second stage, at a tenth of the rate."""
    prompts: Literal["box", "point", "mixed"] = "mixed"
    rounds: Annotated[int, Field(ge=1)] = 1
    """Times an object is asked for in the second stage; each after the first with one point more,
    drawn from where the answer was wrong."""
    objects: Annotated[int, Field(ge=1)] = 4
    """Objects that are asked for in each training picture."""
    mask_step: Annotated[int, Field(ge=1)] = 4
    """Masks are compared at every so many px of the square."""
    jitter: Fraction = 0.02
    """Sides of training boxes move by up to this share of the square."""
    zoom: tuple[Fraction, Fraction] = (0.6, 1.0)
    """Shares of a picture's sides that the second stage shows."""
    baseline: Path | None = None
    """Another network of SAM's family, such as mobile_sam.pt, that gets the same second stage and
    is scored beside the student."""

    @model_validator(mode="after")
    def _distils(self) -> "Promptable":
        if self.mse == 0 and self.perceptual == 0:
            raise ValueError("mse and perceptual are both 0, so nothing is distilled")
        return self


class Pretraining(Section):
    """How an encoder learns from tiles without labels, before the task (recipe rckd)."""

    method: Literal["none", "contrastive", "rckd", "rckd+contrastive"] = "rckd"
    """rckd: the teacher's response to the tiles; contrastive: two views of a tile are alike
    (SimCLR); none: straight to the task, from student.encoder_weights."""
    steps: Annotated[int, Field(ge=1)] = 5000
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Over all processes."""
    crop: Annotated[int, Field(ge=32, multiple_of=32)] = 224
    """Side of a training crop in px."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    response: Literal["soft_bce", "kl"] = "soft_bce"
    """soft_bce: maps that do not exclude each other; kl: classes that do, at a temperature."""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Of kl."""
    hv: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the horizontal and vertical maps, where the teacher gives instances; 0 for none."""
    contrastive: Annotated[float, Field(gt=0)] = 0.1
    """Weight of the contrastive term beside the response."""
    contrastive_temperature: Annotated[float, Field(gt=0)] = 0.1
    stain: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """How far the stains change (HED); for red, green and blue only."""
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """How far brightness, contrast and saturation change; for red, green and blue only."""


class FineTuning(Section):
    """The task that the student is for in the end (recipe rckd); its schedule is training."""

    task: Literal["classification", "segmentation"] = "classification"
    """Of images, by their column class; of pixels, by their types or else the foreground."""
    trains: Literal["all", "linear"] = "all"
    """linear: a linear probe on the frozen encoder (classification only)."""
    encoder_rate: Annotated[float, Field(gt=0)] = 1.0
    """The encoder learns at so many times training.learning_rate."""
    head_rate: Annotated[float, Field(gt=0)] = 5.0
    """What is new learns at so many times training.learning_rate."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Classification only."""
    class_weights: Literal["balanced", "none"] = "balanced"
    """balanced: rare classes count as much as frequent ones (classification only)."""
    stain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """As in pretraining, for student and twin alike."""
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _probe_classifies(self) -> "FineTuning":
        if self.trains == "linear" and self.task != "classification":
            raise ValueError("trains: linear goes with task: classification only")
        return self


class Loss(Section):
    """The terms of the loss; a switched-off term is not computed."""

    supervised: bool = True
    """BCE + Dice on labelled images."""
    probability: Annotated[Literal["off", "mse", "soft_bce", "logit_mse"], Switch] = "mse"
    """How the student's probabilities are matched to the teacher's."""
    boundary: Annotated[
        Literal["off", "dice", "weighted_bce", "sobel_mse", "edge_head"], Switch
    ] = "dice"
    """How foreground edges are supervised, from labels and from targets."""
    weighting: Literal["uncertainty", "fixed"] = "uncertainty"
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Fixed weights by term; 1 for supervised and probability and 0.5 for the boundary terms."""


class Augmentation(Section):
    """Random changes of training crops. Geometry moves image, label and target together."""

    flips: bool = True
    """Mirror and rotate by quarter turns."""
    scale: tuple[float, float] = (0.8, 1.25)
    gamma: tuple[float, float] = (0.7, 1.4)
    brightness: Annotated[float, Field(ge=0)] = 0.2
    noise: Annotated[float, Field(ge=0)] = 0.05
    """Largest standard deviation of Gaussian noise, in units of the normalised image."""
    blur: Annotated[float, Field(ge=0)] = 1.0
    """Largest sigma of Gaussian blur, in px."""


class Training(Section):
    """How long and how the student and its twin are trained."""

    steps: Annotated[int, Field(ge=1)] = 2000
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Over all processes."""
    crop: Annotated[int, Field(ge=32, multiple_of=32)] = 256
    """Side of a training crop in px."""
    labelled_share: Fraction = 0.5
    """Share of each batch drawn from labelled images, where both kinds exist."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    final_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    warmup: Fraction = 0.05
    """Share of the steps over which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the moving average of the weights; 0 for none."""
    validate_every: Annotated[int, Field(ge=1)] = 100
    watch: Literal["dice", "iou", "precision", "recall"] = "dice"
    """Validation metric that picks the best weights and stops early."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many validations without a better value."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the hardware has it, else fp16 on GPUs, else fp32."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Processes that prepare batches."""
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] | Literal["installed"] = (
        "installed"
    )
    """TensorBoard always; W&B and MLflow too where they are installed."""
    augmentation: Augmentation = Augmentation()


class Evaluation(Section):
    """How the test images are scored."""

    tolerance: Annotated[float, Field(gt=0)] = 2.0
    """Tolerance of boundary F1 and NSD in px."""
    minimum_area: Annotated[int, Field(ge=0)] = 16
    """Objects below this many px are dropped."""
    resamples: Annotated[int, Field(ge=100)] = 10_000
    """Draws of the bootstrap."""


class Experiment(Section):
    """One run: data, teacher, student, loss, training and evaluation."""

    recipe: Literal["cmkd", "kdsam", "rckd", "supervised"]
    title: str = ""
    out: Path
    """The run folder."""
    seed: int = 0
    twin: bool = True
    """Train the same student without distillation too, for comparison."""
    data: Data = Data(kind="given")
    teacher: Teacher = Teacher()
    student: Student
    loss: Loss = Loss()
    promptable: Promptable = Promptable()
    pretrain_data: PretrainData = PretrainData()
    pretraining: Pretraining = Pretraining()
    fine_tuning: FineTuning = FineTuning()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _parts_fit(self) -> "Experiment":
        if self.recipe == "cmkd":
            if self.teacher.kind == "none":
                raise ValueError("recipe 'cmkd' needs a teacher: give --teacher.kind and its path")
            if self.loss.probability == "off" and self.loss.boundary == "off":
                raise ValueError("recipe 'cmkd' with both loss terms off distils nothing")
        if self.recipe == "kdsam" and self.teacher.kind != "sam":
            raise ValueError("recipe 'kdsam' needs a teacher of SAM's family: --teacher.kind sam")
        if self.recipe == "rckd":
            if "rckd" in self.pretraining.method and self.teacher.kind == "none":
                raise ValueError(
                    f"recipe 'rckd' with pretraining.method '{self.pretraining.method}' needs a "
                    "teacher: give --teacher.kind and its path"
                )
            if self.teacher.live:
                raise ValueError("teacher.live: recipe 'rckd' learns from stored answers")
            if "contrastive" in self.pretraining.method and self.pretraining.batch_size < 2:
                raise ValueError("pretraining.batch_size: a contrastive term needs 2 or more")
        if self.teacher.live and self.teacher.kind == "sam" and self.recipe != "kdsam":
            raise ValueError("teacher.live: a teacher of kind sam runs live with recipe kdsam only")
        if (self.recipe == "kdsam") != self.student.architecture.startswith("promptable-"):
            raise ValueError(
                f"student.architecture '{self.student.architecture}' does not go with recipe "
                f"'{self.recipe}': promptable students are for kdsam, and it takes no others"
            )
        if self.recipe == "supervised" and self.teacher.kind != "none":
            raise ValueError("recipe 'supervised' has no teacher: remove the teacher section")
        if self.loss.boundary == "edge_head" and "boundary" not in self.student.outputs:
            raise ValueError("loss.boundary 'edge_head' needs 'boundary' among student.outputs")
        return self


def parse(values: Mapping[str, Any], source: str) -> Experiment:
    """Check ``values`` against the schema.

    Raises:
        ConfigError: naming ``source``, each wrong key, what it holds and what is allowed.
    """
    try:
        return Experiment.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{source}:\n{describe(error)}") from error


def describe(error: ValidationError, section: type[Any] = Experiment) -> str:
    """One line a key, as it is written in the file: what is wrong with it and what is allowed."""
    messages: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        key, message = _key(problem["loc"], section), problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key; {_allowed_keys(problem['loc'], section)}"
        elif problem["type"] == "model_type":
            message = f"must hold keys and values (it is {problem['input']!r})"
        elif problem["type"] not in ("value_error", "missing"):
            message = f"{message} (it is {problem['input']!r})"
        messages.setdefault(key, []).append(message)
    return "\n".join(f"  {key}: {'; or: '.join(each)}" for key, each in messages.items())


def _key(location: tuple[int | str, ...], section: type[Any]) -> str:
    """The key in the file; pydantic adds the alternative it tried ('int', 'float')."""
    parts = [] if section is Experiment else [section.__name__.lower()]
    for part in location:
        parts.append(str(part))
        field = section.model_fields.get(str(part))
        if field is None:
            break
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            section = field.annotation
            continue
        if get_origin(field.annotation) in (tuple, dict):
            parts += [str(inner) for inner in location[location.index(part) + 1 :][:1]]
        break
    return ".".join(parts) or "experiment"


def _allowed_keys(location: tuple[int | str, ...], section: type[Any] = Experiment) -> str:
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    return "allowed here: " + ", ".join(section.model_fields)


def read_values(path: Path) -> dict[str, Any]:
    """The contents of an experiment file, not yet checked.

    Raises:
        ConfigError: if the file is missing or is no YAML mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such experiment file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: an experiment file holds keys and values, such as 'recipe: cmkd'"
        )
    return values


def load(path: Path) -> Experiment:
    """Read and check an experiment file."""
    return parse(read_values(path), str(path))


def draft(values: Mapping[str, Any], source: str) -> Experiment:
    """The experiment as far as ``values`` give it, for the command line to complete.

    Keys and types are checked here; whether the parts fit, once the command line has been read.

    Raises:
        ConfigError: naming ``source`` and each wrong key.
    """
    return _draft_section(Experiment, values, source, ())


def _draft_section(
    section: type[Section], values: Any, source: str, location: tuple[str, ...]
) -> Any:
    if not isinstance(values, Mapping):
        key = ".".join(location)
        raise ConfigError(f"{source}:\n  {key}: must hold keys and values (it is {values!r})")
    for key in values:
        if key not in section.model_fields:
            name = ".".join((*location, str(key)))
            known = _allowed_keys((*location, str(key)))
            raise ConfigError(f"{source}:\n  {name}: unknown key; {known}")
    drafted = {}
    for key, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            inner = values.get(key, {})
            drafted[key] = _draft_section(field.annotation, inner, source, (*location, key))
        elif key in values:
            drafted[key] = _draft_value(field, values[key], source, (*location, key))
    return section.model_construct(**drafted)


def _draft_value(field: FieldInfo, value: Any, source: str, location: tuple[str, ...]) -> Any:
    try:
        # A constrained annotation keeps its limits only together with the field's metadata.
        return TypeAdapter(Annotated[field.annotation, field]).validate_python(value)
    except ValidationError as error:
        problems = "; or: ".join(problem["msg"] for problem in error.errors(include_url=False))
        key = ".".join(location)
        raise ConfigError(f"{source}:\n  {key}: {problems} (it is {value!r})") from error


def save(experiment: Experiment, path: Path) -> None:
    """Write the resolved experiment as YAML, atomically."""
    text = yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(path, text)
