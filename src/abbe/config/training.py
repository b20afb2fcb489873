"""How long students are trained, and how they are scored."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from abbe.config.length import one_length
from abbe.config.section import Section
from abbe.config.values import Fraction


class Augmentation(Section):
    """Random changes of training crops. Geometry moves image, label and target together."""

    flips: bool = True
    """Mirror and rotate by quarter turns."""
    scale: tuple[float, float] = (0.8, 1.25)
    """Smallest and largest factor by which crops are enlarged."""
    gamma: tuple[float, float] = (0.7, 1.4)
    """Smallest and largest exponent of the normalised intensities."""
    brightness: Annotated[float, Field(ge=0)] = 0.2
    """Largest share by which a channel becomes brighter or darker."""
    noise: Annotated[float, Field(ge=0)] = 0.05
    """Largest standard deviation of Gaussian noise, in units of the normalised image."""
    blur: Annotated[float, Field(ge=0)] = 1.0
    """Largest sigma of Gaussian blur, in px."""


class Training(Section):
    """How long and how the student and its baselines are trained."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps; 2000 where neither these nor passes are given."""
    passes: Annotated[float, Field(gt=0)] | None = None
    """Instead of steps: how often crops show as many pixels as all training images have."""
    minimum_steps: Annotated[int, Field(ge=1)] = 1
    """Steps at least where the length is said in passes, so that small sets train at all."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Over all processes."""
    crop: Annotated[int, Field(ge=32, multiple_of=32)] = 256
    """Side of a training crop in px."""
    labelled_share: Fraction = 0.5
    """Share of each batch drawn from labelled images, where both kinds exist."""
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """auto: by recipe and architecture, from 1e-3 for small CNNs to 1e-4 for transformers."""
    final_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    """What the rate falls to over the steps (cosine)."""
    warmup: Fraction = 0.05
    """Share of the steps over which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Of AdamW."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the moving average of the weights; 0 for none."""
    validate_every: Annotated[int, Field(ge=1)] = 100
    """Steps from one validation to the next."""
    validation_images: Annotated[int, Field(ge=1)] = 200
    """Labelled validation images that choose the best weights, at most: the same at each validation
    and for all networks, drawn by data.split_seed, as many from each group as from any other."""
    watch: Literal["dice", "iou", "precision", "recall"] = "dice"
    """Validation metric that picks the best weights and stops early."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many validations without a better value."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the hardware has it, else fp16 on GPUs, else fp32."""
    sync_batch_norm: bool = False
    """Statistics of batch norm over all processes' parts of a batch; on GPUs only."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Processes that prepare batches."""
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] | Literal["installed"] = (
        "installed"
    )
    """TensorBoard always; W&B and MLflow (with its database) too where they are installed."""
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: Any) -> Any:
        return one_length(values, "steps", "passes", usual=2000)


class Evaluation(Section):
    """How the test images are scored."""

    tolerance: Annotated[float, Field(gt=0)] = 2.0
    """Tolerance of boundary F1 and NSD in px."""
    minimum_area: Annotated[int, Field(ge=0)] = 16
    """Objects below this many px are dropped."""
    smallest_gain: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """A smaller difference of scores in [0, 1] is called none that matters, however sure it is."""

    @model_validator(mode="before")
    @classmethod
    def _without_resamples(cls, values: Any) -> Any:
        """Files of earlier versions say how often a bootstrap drew; nothing is drawn any more."""
        if isinstance(values, dict):
            return {key: value for key, value in values.items() if key != "resamples"}
        return values
