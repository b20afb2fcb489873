"""What a promptable package's model card says otherwise than those of other tasks."""

from abbe.runtime.package import PackageDescription


def summary(package: PackageDescription) -> str:
    """What the package is, in a paragraph."""
    assert package.image_size is not None  # the description demands it
    return (
        f"{package.architecture}: masks for boxes and points, as SAM gives them, made with Abbe "
        f"{package.abbe}. It sees {', '.join(package.channels)} as a colour picture "
        f"({package.three_channels}), its longest side {package.image_size[0]} px."
    )


def use(package: PackageDescription, place: str) -> str:
    """How to run it."""
    return f"""## Use

```
pip install abbe
abbe predict {place} images/ --prompts boxes.csv --out results
```

```python
import abbe

predictor = abbe.PromptablePredictor("{place}")
predictor.set_image(picture)  # (H, W, 3) uint8
masks, scores, logits = predictor.predict(box=[10, 20, 110, 90], multimask_output=False)
```"""


def parity(package: PackageDescription) -> str:
    """How far each engine agrees with eager torch."""
    columns = (
        "engine/precision", "images", "prompts", "embedding error", "mask IoU", "least", "Dice lost"
    )  # fmt: skip
    keys = ("images", "prompts", "embedding_error", "mask_iou", "least_mask_iou", "dice_lost")
    rows = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for name, figures in package.parity.items():
        values = [figures.get(key) for key in keys]
        cells = [f"{value:.4g}" if isinstance(value, int | float) else "" for value in values]
        rows.append("| " + " | ".join([name, *cells]) + " |")
    return (
        "## Does it answer as the student did?\n\nEmbeddings and masks against the student in "
        "eager torch, for a box and a point of each object. The encoder alone is ever in int8.\n\n"
        + "\n".join(rows)
    )
