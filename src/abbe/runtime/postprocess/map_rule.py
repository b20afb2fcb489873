"""How a network's maps become a mask and instances: thresholds and the least area."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from abbe.runtime.package import InstanceRule, PackageDescription, Thresholds
from abbe.runtime.postprocess.calibration import calibrated
from abbe.runtime.postprocess.instances import instances_from_maps


@dataclass(frozen=True)
class MapRule:
    """From maps to a mask and instances.

    Attributes:
        outputs: Names of the maps; one is ``foreground``, another may be ``boundary``.
        thresholds: Where the maps are cut.
        instances: Whose ``minimum_area`` smaller objects lack.
        temperature: Of each map, where its probabilities are told; none: as they are.
    """

    outputs: tuple[str, ...]
    thresholds: Thresholds
    instances: InstanceRule
    temperature: tuple[float, ...] = ()

    @staticmethod
    def of(description: PackageDescription) -> "MapRule":
        """That of a package."""
        return MapRule(
            description.outputs, description.thresholds, description.instances,
            description.temperature,
        )  # fmt: skip

    def mask(self, maps: np.ndarray) -> np.ndarray:
        """(K, H, W) probabilities → (H, W) bool."""
        return self._named(maps)["foreground"] >= self.thresholds.mask

    def objects(self, maps: np.ndarray, minimum_area: int | None = None) -> np.ndarray:
        """(K, H, W) probabilities → (H, W) int32.

        Args:
            maps: The maps, in the order of ``outputs``.
            minimum_area: px; the rule's own where omitted.

        Raises:
            InputError: The maps are no probabilities.
        """
        named = self._named(maps)
        return instances_from_maps(
            named["foreground"],
            named.get("boundary"),
            threshold=self.thresholds.foreground,
            boundary_threshold=self.thresholds.boundary,
            minimum_area=self.instances.minimum_area if minimum_area is None else minimum_area,
        )

    def told_foreground(self, maps: np.ndarray) -> np.ndarray:
        """(K, …) probabilities → (…), the foreground's as they are told: calibrated."""
        place = self.outputs.index("foreground")
        own = self.temperature[place : place + 1]
        return calibrated(maps[place : place + 1], own, exclusive=False)[0]

    def _named(self, maps: np.ndarray) -> Mapping[str, np.ndarray]:
        return dict(zip(self.outputs, maps, strict=True))
