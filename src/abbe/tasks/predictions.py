"""What classifiers said of each test image: the table of a run, and how often classes are mixed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from abbe import scoring
from abbe.datasets.training.prepare import Prepared
from abbe.files import atomic_path
from abbe.tasks.answers import Answers


def save_predictions(
    path: Path,
    classes: Sequence[str],
    answers: Mapping[str, Answers],
    images: Sequence[Prepared],
    groups: Sequence[str | None],
) -> None:
    """Write predictions.parquet: a row an image and model, with the probability of each class.

    Args:
        path: of the file.
        classes: names by number.
        answers: by model.
        images: what they answered for, with the number of their class.
        groups: of each image; None where it stands alone.
    """
    import pyarrow
    from pyarrow import parquet

    rows = [
        {
            "image": image.id,
            "group": group,
            "model": model,
            "class": classes[image.category],
            "predicted": classes[int(probabilities.argmax())],
            **{
                f"probability_{name}": value
                for name, value in zip(classes, probabilities.tolist(), strict=True)
            },
        }
        for model, each in answers.items()
        for image, group, probabilities in zip(images, groups, each.table, strict=True)
    ]
    texts = [(name, pyarrow.string()) for name in ("image", "group", "model", "class", "predicted")]
    numbers = [(f"probability_{name}", pyarrow.float64()) for name in classes]
    table = pyarrow.Table.from_pylist(rows, pyarrow.schema(texts + numbers))
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary)


def confusions(
    answers: Mapping[str, Answers], images: Sequence[Prepared]
) -> dict[str, list[list[int]]]:
    """By model, how many images of each class (rows) were answered as which (columns)."""
    truth = np.array([image.category for image in images])
    return {
        model: scoring.class_confusion(truth, each.table).tolist()
        for model, each in answers.items()
    }
