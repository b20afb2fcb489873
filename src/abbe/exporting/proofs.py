"""How networks of each task are held against their student."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from abbe.exporting import parity
from abbe.exporting.class_parity import class_proof
from abbe.exporting.comparison import Comparison, Images, Probabilities, Proof, answer
from abbe.exporting.eager import eager_probabilities
from abbe.exporting.example import normalised, write_example
from abbe.exporting.region_parity import region_proof


@dataclass(frozen=True)
class SegmentationProof:
    """Maps, masks and instances against those of the student.

    ``expected.npz`` holds ``probabilities`` (K, H, W) float32 and ``instances`` (H, W) int32.
    """

    eager: Probabilities
    known: Sequence[parity.Reference]
    cuts: parity.Cuts
    images: Images
    facts: Mapping[str, Any]

    def compare(self, probabilities: Probabilities, *, strict: bool) -> Comparison:
        """See `abbe.exporting.parity.compare`."""
        return parity.compare(
            probabilities, self.known, self.cuts, self.facts["divisor"],
            strict=strict, images_of=self.images.proof_split,
        )  # fmt: skip

    def write_example(self, folder: Path) -> None:
        """Write the test image and what is expected of it."""
        pixels = self.images.example
        maps = answer(self.eager, normalised(pixels, self.facts), self.facts["divisor"])
        instances = self.cuts.objects(maps).astype(np.int32)
        write_example(folder, pixels, self.facts, probabilities=maps, instances=instances)


def segmentation_proof(student: nn.Module, images: Images, facts: Mapping[str, Any]) -> Proof:
    """Ask the student itself about every proof image."""
    eager = eager_probabilities(student)
    cuts = parity.Cuts(facts["outputs"], facts["thresholds"], facts["instances"])
    known = parity.references(eager, images.proof, cuts, facts["divisor"])
    return SegmentationProof(eager, known, cuts, images, facts)


PROOFS: dict[str, Callable[[nn.Module, Images, Mapping[str, Any]], Proof]] = {
    "segmentation": segmentation_proof,
    "classification": class_proof,
    "regions": region_proof,
}
"""By task of the package."""
