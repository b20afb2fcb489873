"""Write what `segment-anything` (or MobileSAM's own package) answers with published weights.

    python benchmarks/sam_expectations.py WEIGHTS/sam_vit_h_4b8939.pth

The answers go beside the weights, as NAME.expected.npz; tests/sam/test_published_weights.py holds
ours against them. The picture is made by a formula, so that no image has to be had.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"vit_h": "vit_h", "vit_l": "vit_l", "vit_b": "vit_b", "mobile": "vit_t"}


def picture() -> np.ndarray:
    """Bright ellipses on a shaded ground, (600, 800, 3) uint8."""
    rows, columns = np.mgrid[:600, :800]
    shown = np.stack([40 + rows / 12, 60 + columns / 16, 90 + 0 * rows], axis=2)
    for row, column, height, width in [(150, 200, 60, 90), (380, 520, 110, 70), (480, 150, 50, 50)]:
        inside = ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 < 1
        shown[inside] = (220, 170, 110)
    return shown.astype(np.uint8)


def predictor_of(weights: Path) -> Any:
    kind = next((k for name, k in KINDS.items() if name in weights.name), None)
    if kind is None:
        sys.exit(f"{weights.name}: the name must hold one of {', '.join(KINDS)}")
    package: Any = import_module("mobile_sam" if kind == "vit_t" else "segment_anything")
    network = package.sam_model_registry[kind](checkpoint=str(weights))
    return package.SamPredictor(network.eval())


def main(weights: Path) -> None:
    predictor = predictor_of(weights)
    shown = picture()
    box, point = np.array([100, 80, 300, 220]), np.array([[520, 380]])
    predictor.set_image(shown)
    answers: dict[str, np.ndarray] = {"picture": shown, "box": box, "point": point}
    masks, scores, _ = predictor.predict(box=box, multimask_output=True)
    answers |= {"box_masks": masks, "box_scores": scores}
    masks, scores, _ = predictor.predict(
        point_coords=point, point_labels=np.array([1]), multimask_output=True
    )
    answers |= {"point_masks": masks, "point_scores": scores}
    path = weights.with_suffix(".expected.npz")
    np.savez_compressed(path, **answers)  # pyright: ignore
    print(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
