"""How a student is taught: what each recipe adds to the plain training."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from abbe.config.length import one_length
from abbe.config.section import Section
from abbe.config.values import Fraction, Switch
from abbe.near import meant

TERMS = ("supervised", "probability", "boundary", "target_boundary")
"""Terms of the loss that a fixed weight is given for."""


class Promptable(Section):
    """How a promptable student is taught: its image encoder first, then the mask decoder."""

    side: Annotated[int, Field(ge=64, multiple_of=32)] = 1024
    """Side of the square that the student sees, in px; SAM's is 1024."""
    neck: Literal["default", "nanosam"] = "default"
    """Layers from the encoder's last map to SAM's embedding."""
    mse: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the mean squared error between embeddings, as a share of the variance of the
    teacher's; 0 for none."""
    perceptual: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the perceptual loss, as a share of what the teacher's mean embedding costs; 0 for
    none."""
    perceptual_mode: Literal["triplets", "pca3", "decoder"] = "triplets"
    """triplets: all channels, three at a time, through a feature network; pca3: the three main
    directions alone; decoder: through the teacher's own decoder."""
    features: Literal["vgg16", "vgg19", "resnet50"] = "vgg16"
    """The feature network of the perceptual loss."""
    vgg_weights: Literal["imagenet", "random"] | Path = "imagenet"
    """Of the feature network: imagenet (downloaded by torchvision), a file in its layout, or random
    (whose features are no measure of likeness)."""
    decoder_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps of the second stage; 0 leaves the teacher's decoder as it is. 1000 where neither these
    nor decoder_passes are given."""
    decoder_passes: Annotated[float, Field(gt=0)] | None = None
    """Instead of decoder_steps: how often each labelled picture is shown; training.minimum_steps
    is the least."""
    decoder_learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Of the second stage."""
    bce: bool = False
    """Add cross-entropy to the decoder's Dice."""
    train_neck: bool = False
    """Fit the neck too in the second stage, at a tenth of the rate."""
    train_encoder: bool = False
    """Fit the whole encoder too in the second stage, at the first stage's rate."""
    prompts: Literal["box", "point", "mixed"] = "mixed"
    """How an object is asked for in the second stage; mixed: a box or a point, by chance."""
    rounds: Annotated[int, Field(ge=1)] = 1
    """Times an object is asked for in the second stage; each after the first with one point more,
    drawn from where the answer was wrong."""
    objects: Annotated[int, Field(ge=1)] = 4
    """Objects that are asked for in each training picture."""
    mask_step: Annotated[int, Field(ge=1)] = 4
    """Masks are compared by squares of so many px a side: as many as the network answers at 4."""
    jitter: Fraction = 0.02
    """Sides of training boxes move by up to this share of the square."""
    zoom: tuple[Fraction, Fraction] = (0.6, 1.0)
    """Shares of a picture's sides that the second stage shows."""
    baseline: Path | None = None
    """Another network of SAM's family, such as mobile_sam.pt, or another run's student.safetensors.
    It is scored beside the student as it comes, and again after the same second stage, for which
    both see squares of the student's side."""

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: Any) -> Any:
        return one_length(values, "decoder_steps", "decoder_passes", usual=1000)

    @model_validator(mode="after")
    def _masks_fit(self) -> "Promptable":
        if self.side % self.mask_step:
            raise ValueError(
                f"mask_step {self.mask_step} does not divide the side of {self.side} px: take one "
                "that does, such as 4"
            )
        return self

    @model_validator(mode="after")
    def _fits_once(self) -> "Promptable":
        if self.train_neck and self.train_encoder:
            raise ValueError("train_encoder fits the neck with the encoder: leave train_neck out")
        for key in ("train_neck", "train_encoder"):
            if getattr(self, key) and self.decoder_steps == 0:
                raise ValueError(
                    f"decoder_steps is 0, so there is no second stage for {key}: leave it out, or "
                    "give decoder_steps"
                )
        return self

    @model_validator(mode="after")
    def _distils(self) -> "Promptable":
        if self.mse == 0 and self.perceptual == 0:
            raise ValueError("mse and perceptual are both 0, so nothing is distilled")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(
                f"zoom {self.zoom[0]:g} {self.zoom[1]:g}: the smaller share comes first"
            )
        return self


class Pretraining(Section):
    """How an encoder learns from tiles without labels, before the task (recipe rckd)."""

    method: Literal["none", "contrastive", "rckd", "rckd+contrastive"] = "rckd"
    """rckd: the teacher's response to the tiles; contrastive: two views of a tile are alike
    (SimCLR); none: straight to the task, from student.encoder_weights."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """5000 where neither these nor passes are given."""
    passes: Annotated[float, Field(gt=0)] | None = None
    """Instead of steps: how often crops show as many pixels as all tiles have."""
    minimum_steps: Annotated[int, Field(ge=1)] = 1
    """Steps at least where the length is said in passes."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Over all processes."""
    crop: Annotated[int, Field(ge=32, multiple_of=32)] = 224
    """Side of a training crop in px."""
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """auto: 1e-3 for CNNs, 1e-4 for transformers and ConvNeXt."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Of AdamW, in pretraining."""
    response: Literal["soft_bce", "kl"] = "soft_bce"
    """soft_bce: maps that do not exclude each other; kl: classes that do, at a temperature."""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Of kl."""
    hv: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the horizontal and vertical maps, where the teacher gives instances; 0 for none."""
    contrastive: Annotated[float, Field(gt=0)] = 0.1
    """Weight of the contrastive term beside the response."""
    contrastive_temperature: Annotated[float, Field(gt=0)] = 0.1
    """Of the contrastive term (NT-Xent)."""
    stain: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """How far the stains change (HED); for red, green and blue only."""
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """How far brightness, contrast and saturation change; for red, green and blue only."""

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: Any) -> Any:
        return one_length(values, "steps", "passes", usual=5000)


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
    """As in pretraining, for student and baselines alike."""
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """As in pretraining: brightness, contrast and saturation."""

    @model_validator(mode="after")
    def _probe_classifies(self) -> "FineTuning":
        if self.trains == "linear" and self.task != "classification":
            raise ValueError("trains: linear goes with task: classification only")
        return self


class Loss(Section):
    """The terms of the loss; a switched-off term is not computed."""

    supervised: bool = True
    """BCE + Dice on labelled images."""
    probability: Annotated[
        Literal["off", "mse", "soft_bce", "logit_mse", "cwd", "dist"], Switch
    ] = "mse"
    """How the student's probabilities are matched to the teacher's; cwd and dist: where there is
    more and less of them, too."""
    boundary: Annotated[
        Literal["off", "dice", "weighted_bce", "sobel_mse", "edge_head"], Switch
    ] = "dice"
    """How foreground edges are supervised, from labels and from targets."""
    target_boundary: bool = True
    """Whether edges are learned from targets, too; false leaves those of labels alone."""
    weighting: Literal["uncertainty", "fixed"] = "uncertainty"
    """uncertainty: weights are learned (Kendall et al. 2018); fixed: those of loss.weights."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Fixed weights by term; 1 for supervised and probability and 0.5 for the boundary terms."""

    @model_validator(mode="after")
    def _weighs_what_there_is(self) -> "Loss":
        if unknown := sorted(set(self.weights) - set(TERMS)):
            raise ValueError(
                f"weights: there is no term {', '.join(unknown)}; there are: {', '.join(TERMS)}."
                f"{meant(unknown[0], TERMS)}"
            )
        return self
