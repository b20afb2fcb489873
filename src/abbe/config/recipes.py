"""The recipes: where each is, and which keys of the experiment file it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abbe.config import recipe_checks
from abbe.registry import Table

if TYPE_CHECKING:
    from abbe.config.experiment import Experiment

COMMON = (
    "recipe", "title", "out", "seed", "allow_failed", "allow_overlap", "data", "student", "training"
)  # fmt: skip
"""Keys and sections that every recipe reads."""


@dataclass(frozen=True)
class RecipeKeys:
    """What a recipe reads of the experiment file.

    Attributes:
        place: ``module:class`` of the recipe, an `abbe.recipes.recipe.Recipe`.
        reads_also: sections or keys beside those in `COMMON`, such as ``loss`` or
            ``fine_tuning.colour``.
        without: keys of these sections that it does not read.
        important: the ten that matter first, which ``--help`` shows; ``--help-all`` shows all.
        check: what is wrong with an experiment of this recipe, a line each; nothing may be read.
        promptable: its students are promptable networks, which no other recipe takes.
    """

    place: str
    reads_also: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    important: tuple[str, ...] = ()
    check: Callable[[Experiment], Iterable[str]] = lambda experiment: ()
    promptable: bool = False

    def reads(self, key: str) -> bool:
        """Whether it reads a key such as ``training.crop``, or anything of a section."""
        named = {*COMMON, *self.reads_also}
        above = set(_with_sections(key))
        if not above.isdisjoint(self.without):
            return False
        return bool(above & named) or any(each.startswith(f"{key}.") for each in named)


def _with_sections(key: str) -> Iterator[str]:
    """``a.b.c`` → ``a``, ``a.b``, ``a.b.c``."""
    parts = key.split(".")
    return (".".join(parts[: count + 1]) for count in range(len(parts)))


_ONE_KIND_OF_IMAGE = ("training.labelled_share", "training.watch")
"""Keys of students that learn maps from labelled and unlabelled images together."""

_LAYOUT = ("student.depth", "student.decoder_widths")
"""Of U-Nets that find objects; others have the usual layout."""
_EVIDENCE = ("evidence", "seeds", "baselines")

RECIPES: Table[RecipeKeys] = Table("recipe", {
    "cmkd": RecipeKeys(
        "abbe.recipes.cmkd:Cmkd",
        (*_EVIDENCE, "teacher", "loss", "evaluation"),
        check=recipe_checks.cmkd,
        important=(
            "out", "data.kind", "data.path", "data.channels", "teacher.kind", "teacher.path",
            "student.architecture", "student.input_channels", "student.encoder_weights",
            "training.passes",
        ),
    ),
    "imagenet": RecipeKeys(
        "abbe.recipes.imagenet:ImageNet",
        ("fine_tuning.label_smoothing", "fine_tuning.colour"),
        without=(
            "allow_overlap", "student.outputs", "student.types", *_LAYOUT, *_ONE_KIND_OF_IMAGE,
            *(f"training.augmentation.{key}" for key in
              ("scale", "gamma", "brightness", "noise", "blur")),
        ),
        check=recipe_checks.imagenet,
        important=(
            "out", "data.path", "student.architecture", "student.encoder_weights",
            "fine_tuning.colour", "training.passes", "training.batch_size", "training.crop",
            "training.learning_rate", "training.workers",
        ),
    ),
    "kdsam": RecipeKeys(
        "abbe.recipes.kdsam:KdSam",
        (*_EVIDENCE, "teacher", "promptable", "evaluation"),
        without=(
            "teacher.also", "teacher.tta", "teacher.trust", "student.outputs", "student.types",
            "student.normalisation", *_LAYOUT,
            *_ONE_KIND_OF_IMAGE, "training.crop",
            "training.augmentation.scale", "evaluation.minimum_area",
        ),
        check=recipe_checks.kdsam,
        promptable=True,
        important=(
            "out", "data.kind", "data.path", "teacher.path", "student.architecture",
            "student.encoder_weights", "promptable.side", "promptable.vgg_weights",
            "promptable.decoder_passes", "training.passes",
        ),
    ),
    "rckd": RecipeKeys(
        "abbe.recipes.rckd:Rckd",
        (*_EVIDENCE, "teacher", "pretrain_data", "pretraining", "fine_tuning", "evaluation"),
        without=(
            "teacher.also", "teacher.live", "teacher.trust", "student.outputs", "student.types",
            *_LAYOUT, *_ONE_KIND_OF_IMAGE, "evaluation.tolerance",
        ),
        check=recipe_checks.rckd,
        important=(
            "out", "data.kind", "data.path", "pretrain_data.kind", "pretrain_data.path",
            "teacher.kind", "teacher.path", "student.encoder_weights", "pretraining.method",
            "fine_tuning.task",
        ),
    ),
    "supervised": RecipeKeys(
        "abbe.recipes.supervised:Supervised",
        ("loss", "evaluation"),
        without=(
            "loss.supervised", "loss.probability", "loss.target_boundary",
            "training.labelled_share",
        ),
        important=(
            "out", "data.kind", "data.path", "data.channels", "data.labelled",
            "student.architecture", "student.input_channels", "student.encoder_weights",
            "training.passes", "training.batch_size",
        ),
    ),
})  # fmt: skip
"""By recipe; a recipe of another package adds a line of its own."""


def readers_of(key: str) -> tuple[str, ...]:
    """The recipes that read a key.

    >>> readers_of("training.watch")
    ('cmkd', 'supervised')
    """
    return tuple(name for name, keys in RECIPES.items() if keys.reads(key))
