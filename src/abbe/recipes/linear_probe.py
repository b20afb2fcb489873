"""Linear probes: what the frozen features of an encoder are worth to one linear layer.

Features are computed once an image, whole and unchanged by augmentation; the layer is logistic
regression on them (scikit-learn). How strongly it is held back is chosen on validation images.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from abbe import scoring
from abbe.datasets.training.prepare import Prepared
from abbe.imaging.windows import pad_to
from abbe.students import Classifier
from abbe.tasks.classification import Classification

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
"""scikit-learn's C that are tried, from the most held back to the least."""
UNCHOSEN = 1.0
"""C where there is no validation image to choose it on."""
_AT_ONCE = 32
_SIDES = 32
"""px of which sides are made multiples: the coarsest stride of the encoders with the usual ones."""
_STEPS = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """What an encoder sees in N images.

    Attributes:
        ids: (N,) of the images.
        table: (N, D) features.
        truth: (N,) numbers of their classes.
    """

    ids: tuple[str, ...]
    table: Floats
    truth: NDArray[np.int64]

    def of(self, ids: Collection[str]) -> "Features":
        """Those of some of the images, in the same order."""
        kept = np.array([id in ids for id in self.ids], bool)
        chosen = tuple(id for id in self.ids if id in ids)
        return Features(chosen, self.table[kept], self.truth[kept])


@dataclass(frozen=True)
class Probed:
    """What a probe came to.

    Attributes:
        table: (N, K) probabilities of the test images.
        strength: scikit-learn's C that was taken.
    """

    table: Floats
    strength: float


def features_of(
    model: Classifier,
    images: Sequence[Prepared],
    input_channels: Sequence[str],
    device: torch.device | None = None,
) -> Features:
    """What the weights make of each whole image: `Classifier.features`.

    Args:
        model: its encoder is looked through; it is left in evaluation mode, on ``device``.
        images: with the number of their class; of any size, neighbours of one size go together.
        input_channels: the model's channels.
        device: where to compute; the CPU where None.
    """
    device = device or torch.device("cpu")
    model.to(device).eval()
    rows: list[Floats] = []
    waiting: list[NDArray[np.float32]] = []

    def compute() -> None:
        if waiting:
            pixels = torch.from_numpy(np.stack(waiting)).to(device)
            with torch.inference_mode():
                rows.append(model.features(pixels).double().cpu().numpy())
            waiting.clear()

    for image in images:
        pixels = image.whole()[[image.channels.index(name) for name in input_channels]]
        # Strided layers lay another grid over other sides than those of their training.
        pixels = pad_to(pixels, _SIDES)
        if waiting and (waiting[0].shape != pixels.shape or len(waiting) == _AT_ONCE):
            compute()
        waiting.append(pixels)
    compute()
    truth = np.array([image.category for image in images], np.int64)
    return Features(tuple(image.id for image in images), np.concatenate(rows), truth)


def probe(
    train: Features, validation: Features | None, tests: Floats, *, classes: int, balanced: bool
) -> Probed:
    """Fit the linear layer and ask it for the test images.

    Args:
        train: of the labelled training images.
        validation: of the validation images, which choose the strength by balanced accuracy; where
            several are alike, the layer that is held back most is taken.
        tests: (N, D) features of the test images.
        classes: K; one that no training image is of gets probability 0.
        balanced: whether rare classes count as much as frequent ones.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def answers_of(strength: float, wanted: Sequence[Floats]) -> list[Floats]:
        layer = LogisticRegression(
            C=strength, class_weight="balanced" if balanced else None, max_iter=_STEPS
        )
        fitted = make_pipeline(StandardScaler(), layer).fit(train.table, train.truth)
        tables = [np.zeros((len(each), classes)) for each in wanted]
        for table, each in zip(tables, wanted, strict=True):
            table[:, layer.classes_] = fitted.predict_proba(each)
        return tables

    if len(np.unique(train.truth)) == 1:  # nothing to tell apart: whatever is shown, it is that
        return Probed(np.eye(classes)[np.full(len(tests), train.truth[0])], UNCHOSEN)
    if validation is None:
        return Probed(answers_of(UNCHOSEN, [tests])[0], UNCHOSEN)
    best: tuple[float, Probed] | None = None
    for strength in STRENGTHS:
        on_validation, on_tests = answers_of(strength, [validation.table, tests])
        scores = scoring.classification_scores(validation.truth, on_validation)
        value = float(scores[Classification.watch][0])
        if best is None or value > best[0]:
            best = value, Probed(on_tests, strength)
    assert best is not None  # there are strengths to try
    return best[1]
