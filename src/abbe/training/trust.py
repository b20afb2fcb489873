"""How far a student believes its teacher: what labels say of both, before the student is trained.

The weight of a teacher's map is that which it gets in the best mixture with the map of a network
that labels alone have taught: a q + (1 − a) p, by least squares on labelled validation images
(stacking: Wolpert 1992; Breiman 1996). A teacher that is right gets 1; one that adds nothing to
what labels teach gets 0. Images count by how far both agree on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from abbe import losses, scoring, students
from abbe.datasets.training.prepare import Prepared
from abbe.errors import InputError
from abbe.files import parse_json, write_json
from abbe.object_types import shape_maps, types_in
from abbe.progress import track
from abbe.summary import Trust

FILE = "trust.json"
"""In the folder of a run: what was found before its first student was trained."""
LEAST = 0.25
"""A weight below counts as 0: what so weak a teacher might add is less than the luck of a seed."""

Maps = np.ndarray
"""(K, H, W) float32 in [0, 1], of the outputs that student and teacher share."""
Scores = dict[str, dict[str, float]]
"""By output and metric."""


@dataclass(frozen=True)
class Believed:
    """How much a teacher counts.

    Attributes:
        trust: by output, and what it rests on.
        agreement: by image, of the teacher with the label, or with the network that labels alone
            have taught; empty where all images count alike.
    """

    trust: Trust
    agreement: Mapping[str, float]

    @property
    def most(self) -> float:
        """The weight of the output that is believed most; 0: the teacher is not heard."""
        return max(self.trust.outputs.values(), default=0.0)

    @property
    def counts(self) -> dict[str, float]:
        """How much each output counts beside that one."""
        return {output: weight / self.most for output, weight in self.trust.outputs.items()}

    @property
    def shares(self) -> dict[str, float]:
        """How much each term counts that learns from the teacher."""
        return {
            "probability": self.most,
            "target_boundary": self.trust.outputs.get("foreground", 0.0),
        }

    def labelled_share(self, usual: float, batch_size: int) -> float:
        """The labelled share of a batch: the less a teacher is believed, the more labels.

        Where it is heard at all, a crop of each batch is left for it.
        """
        if self.most == 1:
            return usual
        return min(1 - self.most * (1 - usual), max(usual, 1 - 1 / batch_size))

    def weighed(self, images: Sequence[Prepared]) -> list[Prepared]:
        """The images with what their targets count: the square of the agreement, 1 in the mean."""
        if not self.agreement:
            return list(images)
        squares = {id: agreement**2 for id, agreement in self.agreement.items()}
        mean = float(np.mean(list(squares.values()))) or 1.0
        return [
            replace(image, target_weight=squares.get(image.id, mean) / mean) for image in images
        ]

    def write(self, folder: Path) -> None:
        """Write trust.json."""
        values = {**self.trust.model_dump(mode="json"), "by_image": dict(self.agreement)}
        write_json(folder / FILE, values)


def read_believed(folder: Path) -> Believed | None:
    """What `Believed.write` wrote; None where it did not.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        agreement = {str(id): float(each) for id, each in values.pop("by_image").items()}
        return Believed(Trust.model_validate(values), agreement)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise InputError(f"{path}: damaged ({error}). Delete it to measure the teacher anew") from (
            error
        )


def as_told(
    trust: float,
    outputs: Sequence[str],
    labelled: Sequence[Prepared],
    target_outputs: Sequence[str],
) -> Believed:
    """The trust that the experiment names, and how the teacher compares with training labels.

    Args:
        trust: from 0 to 1, for all outputs.
        outputs: of the student.
        labelled: training images with labels; see `answered`.
        target_outputs: names of the teacher's maps.
    """
    found = Trust(asked=trust, outputs=dict.fromkeys(outputs, trust))
    measured = answered(labelled)
    if measured:
        shared = _shared(outputs, target_outputs)
        scores = [
            _scores(shared, _target_maps(image, target_outputs, shared), *_truth(image, shared))
            for image in measured
        ]
        found.measured_on, found.images, found.teacher = "training", len(scores), _means(scores)
    return Believed(found, {})


def chosen(
    outputs: Sequence[str],
    input_channels: Sequence[str],
    target_outputs: Sequence[str],
    held_out: Sequence[Prepared],
    images: Sequence[Prepared],
    network: students.UNet,
    *,
    device: torch.device,
    progress: bool,
) -> Believed:
    """The trust that validation images speak for.

    Args:
        outputs: of the student.
        input_channels: its channels.
        target_outputs: names of the teacher's maps.
        held_out: validation images with labels; see `answered`.
        images: all training images, of which each gets its own weight.
        network: that labels alone have taught.
        device: where it computes.
        progress: show bars.

    Raises:
        InputError: the teacher answered for no labelled validation image, or one of both gives NaN.
    """
    require_answers(held_out)
    network.to(device)
    shared = _shared(outputs, target_outputs)
    places = [list(outputs).index(output) for output in shared]

    def alone(image: Prepared) -> Maps:
        seen = [image.channels.index(name) for name in input_channels]
        return students.predict(network, image.whole()[seen])[places]

    taught, own, products = [], [], []
    for image in track(answered(held_out), "trust: validation images", shown=progress):
        q, p = _target_maps(image, target_outputs, shared), alone(image)
        y, known = _truth(image, shared)
        taught.append(_scores(shared, q, y, known))
        own.append(_scores(shared, p, y, known))
        weight = agreement(q[0], p[0], known) ** 2
        products.append(weight * mixture_products(p, q, y, known))
    by_image = {}
    for image in track(images, "trust: training images", shown=progress):
        if image.has_target:
            q, known = _target_maps(image, target_outputs, shared), None
            if _is_known(image):
                other, known = _truth(image, shared)
            else:
                other = alone(image)
            by_image[image.id] = agreement(q[0], other[0], known)
    network.to("cpu")
    weights = dict(zip(shared, weights_of(np.sum(products, axis=0)), strict=True))
    trust = Trust(
        asked="auto",
        outputs={output: weights.get(_measured_by(output), 0.0) for output in outputs},
        measured_on="validation",
        images=len(taught),
        teacher=_means(taught),
        alone=_means(own),
        agreement=tuple(np.quantile(list(by_image.values()), (0, 0.5, 1)).tolist()),
    )
    return Believed(trust, by_image)


def _measured_by(output: str) -> str:
    """The map that speaks for a map: the foreground for types, which count where objects are."""
    return "foreground" if types_in([output]) else output


def answered(labelled: Sequence[Prepared]) -> list[Prepared]:
    """Those that a teacher can be measured on: it has answered, and a pixel of them is known."""
    return [image for image in labelled if image.has_target and _is_known(image)]


def _is_known(image: Prepared) -> bool:
    return image.label is not None and bool((image.label >= 0).any())


def require_answers(held_out: Sequence[Prepared]) -> None:
    """Refuse to choose a trust where the teacher said nothing of what is known.

    Raises:
        InputError: so it is.
    """
    if not answered(held_out):
        raise InputError(
            "teacher.trust auto: the teacher has no answer for any labelled validation image, so "
            "it cannot be measured. Teach these images, too, or give a number"
        )


def mixture_products(p: Maps, q: Maps, y: Maps, known: np.ndarray) -> np.ndarray:
    """What an image says of the best mixture: means of (y − p)(q − p) and of (q − p)².

    Args:
        p: (K, H, W) of the network that labels alone have taught.
        q: (K, H, W) of the teacher.
        y: (K, H, W) the truth.
        known: (H, W) bool, where there is one; true somewhere.

    Returns:
        (2, K).
    """
    away = (q - p)[:, known].astype(np.float64)
    return np.stack([((y - p)[:, known] * away).mean(1), (away**2).mean(1)])


def weights_of(products: np.ndarray) -> list[float]:
    """The teacher's weight in the best mixture a q + (1 − a) p of each map, from 0 to 1.

    Where both say the same it is 1. No map counts more than the foreground, which comes first: a
    teacher that does not know where objects are has nothing to say of what parts them.

    Args:
        products: (2, K), sums over images of `mixture_products`.

    Raises:
        InputError: they are not finite.

    >>> weights_of(np.array([[0.09, 0.1, -0.2], [0.1, 0.1, 0.1]]))
    [0.9, 0.9, 0.0]
    """
    if not np.isfinite(products).all():
        raise InputError(
            "teacher.trust auto: the teacher, or the network that labels alone have taught, "
            "answers with NaN, so they cannot be compared. Lower training.learning_rate, or give "
            "a number"
        )
    above, below = products
    raw = np.divide(above, below, out=np.ones_like(above), where=below > 0).clip(0, 1)
    raw = np.minimum(raw, raw[0])
    return np.where(raw < LEAST, 0.0, raw).round(3).tolist()


def agreement(first: np.ndarray, second: np.ndarray, known: np.ndarray | None = None) -> float:
    """Soft Dice of two maps (H, W): (2 Σ pq + 1) / (Σ p² + Σ q² + 1), over known pixels."""
    if known is not None:
        first, second = first[known], second[known]
    first, second = first.astype(np.float64), second.astype(np.float64)
    return float((2 * (first * second).sum() + 1) / ((first**2).sum() + (second**2).sum() + 1))


def in_words(trust: Trust) -> str:
    """What was measured, and what follows from it.

    >>> found = Trust(asked="auto", outputs={"foreground": 0.0}, measured_on="validation", images=9)
    >>> found.teacher = {"foreground": {"dice": 0.61}}
    >>> found.alone = {"foreground": {"dice": 0.9}}
    >>> in_words(found)
    'teacher: Dice 0.61 on 9 labelled validation images (labels alone: 0.90); trusted 0'
    """
    told = ""
    if trust.images:
        count = f"{trust.images} labelled {trust.measured_on} image{'s' * (trust.images > 1)}"
        told = f"Dice {_dice(trust.teacher)} on {count}"
        told += f" (labels alone: {_dice(trust.alone)})" if trust.alone else ""
        told += "; "
    values = set(trust.outputs.values())
    each = ", ".join(f"{output} {weight:g}" for output, weight in trust.outputs.items())
    return f"teacher: {told}trusted {each if len(values) > 1 else f'{values.pop():g}'}"


def _dice(scores: Mapping[str, Mapping[str, Any]]) -> str:
    dice = scores["foreground"]["dice"]
    return "undefined" if dice is None else f"{dice:.2f}"


def _shared(outputs: Sequence[str], target_outputs: Sequence[str]) -> list[str]:
    """Maps that both have, the foreground first."""
    both = [output for output in shape_maps(outputs) if output in target_outputs]
    return sorted(both, key=lambda output: output != "foreground")


def _target_maps(image: Prepared, names: Sequence[str], wanted: Sequence[str]) -> Maps:
    if image.probability is not None:
        maps = image.probability[:]
        return np.stack([maps[list(names).index(each)] for each in wanted]).astype(np.float32) / 255
    assert image.instances is not None
    return _drawn(image.instances[:], wanted)


def _truth(image: Prepared, wanted: Sequence[str]) -> tuple[Maps, np.ndarray]:
    """The label's maps, and where it is known."""
    assert image.label is not None
    return _drawn(image.label, wanted), image.label >= 0


def _drawn(instances: np.ndarray, wanted: Sequence[str]) -> Maps:
    drawn = torch.from_numpy(instances.astype(np.int64))[None]
    maps = {"foreground": losses.foreground_of, "boundary": losses.boundary_of}
    return np.stack([maps[output](drawn)[0].numpy() for output in wanted])


def _scores(outputs: Sequence[str], maps: Maps, truth: Maps, known: np.ndarray) -> Scores:
    """Of one image, with maps cut at one half."""
    found: Scores = {}
    for place, output in enumerate(outputs):
        cut = maps[place] >= 0.5, truth[place] > 0, known
        found[output] = {"dice": scoring.pixel_scores(*cut)["dice"]}
        if output == "foreground":
            found[output]["boundary_f1"] = scoring.boundary_scores(*cut)["boundary_f1"]
    return found


def _means(images: Sequence[Scores]) -> dict[str, dict[str, float | None]]:
    """Over images; None where a score is defined of none."""
    found: dict[str, dict[str, float | None]] = {}
    for output, metrics in images[0].items():
        values = {key: np.array([image[output][key] for image in images]) for key in metrics}
        found[output] = {
            key: None if np.isnan(each).all() else float(np.nanmean(each))
            for key, each in values.items()
        }
    return found
