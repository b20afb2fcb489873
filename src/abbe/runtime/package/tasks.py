"""What packages may be for, and what follows from it for whatever runs one."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """What packages of a task have in common.

    Attributes:
        predictor: ``module:function`` that makes one ready; imported when asked for.
        of_pixels: The network answers for each pixel; else for its input as a whole.
        tells_classes: Its logits stand for classes that exclude each other; else each for a map.
        prompted: It must be shown each object, and has an encoder and a decoder.
    """

    predictor: str
    of_pixels: bool = False
    tells_classes: bool = False
    prompted: bool = False

    @property
    def finds_objects(self) -> bool:
        """Whether it finds objects by itself, in maps one of which is the foreground."""
        return self.of_pixels and not self.tells_classes

    @property
    def tells_areas(self) -> bool:
        """Whether it gives each pixel a class."""
        return self.of_pixels and self.tells_classes


PACKAGE_TASKS: Mapping[str, Traits] = {
    "segmentation": Traits("abbe.runtime.predictors.instances:predictor", of_pixels=True),
    "regions": Traits(
        "abbe.runtime.predictors.regions:region_predictor", of_pixels=True, tells_classes=True
    ),
    "classification": Traits(
        "abbe.runtime.predictors.classification:class_predictor", tells_classes=True
    ),
    "promptable": Traits("abbe.runtime.predictors.prompted:prompted_predictor", prompted=True),
}
"""By `PackageDescription.task`."""
