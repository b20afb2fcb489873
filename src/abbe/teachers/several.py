"""Several teachers as one: the weighted mean of their maps, and where they agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError, StoreError
from abbe.imaging import inner_boundary
from abbe.teachers.teacher import AGREEMENT, Prediction

if TYPE_CHECKING:
    from abbe.datasets.collection import Record
    from abbe.imaging import Image
    from abbe.targets import Provenance, TargetStore

DRAWN = ("foreground", "boundary")
"""Maps that follow from instances."""
Weights = Mapping[str, Sequence[float]]
"""By output, what each teacher counts; their sum is 1."""


class SeveralTeachers:
    """Teachers of whom each has left a store; make one with `several`."""

    def __init__(self, stores: Sequence[TargetStore], weights: Weights, provenance: Provenance):
        self.provenance = provenance
        self._stores, self._weights = stores, weights

    def predict(self, image: Image, id: str) -> Prediction:
        """The mean of their maps, (K + 1, H, W); the last is their `agreement`.

        An answer that found nothing counts by its maps, or as zeros where it stored none, so that
        what only others found is in dispute. Where all are empty, so is this one.

        Raises:
            InputError: a teacher has no answer for this image, or one for other pixels.
        """
        for store in self._stores:
            _require_answer(store, image, id)
        if all(store.entry(id).empty for store in self._stores):
            return Prediction(empty=True)
        outputs = tuple(self._weights)
        answers = np.stack([maps_of(store, id, outputs, image.shape) for store in self._stores])
        weights = np.array([self._weights[output] for output in outputs], np.float32).T
        mean = np.einsum("tk,tkyx->kyx", weights, answers)
        shapes = [place for place, output in enumerate(outputs) if output in DRAWN]
        told = shapes or list(range(len(outputs)))  # types of objects part no pixels
        agreed = agreement(answers[:, told], weights[:, told])
        return Prediction({"probability": np.concatenate([mean, agreed[None]]).clip(0, 1)})


def agreement(answers: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float32]:
    """How far teachers agree on each pixel: 1 − 4 Σ a (q − q̄)², of the map they agree on least.

    Σ a (q − q̄)² is the weighted variance of their probabilities, at most 1/4. So it is 1 where all
    say the same, and 0 where two that count alike say 0 and 1.

    Args:
        answers: (T, K, H, W) the probabilities q of each teacher.
        weights: (T, K) what each counts, a; Σ a = 1.

    Returns:
        (H, W) in [0, 1].
    """
    mean = np.einsum("tk,tkyx->kyx", weights, answers)
    variance = np.einsum("tk,tkyx->kyx", weights, (answers - mean) ** 2)
    return (1 - 4 * variance.max(0)).clip(0, 1).astype(np.float32)


def several(
    stores: Sequence[TargetStore], channels: Sequence[str], labelled: Iterable[Record] = ()
) -> SeveralTeachers:
    """One teacher of several, by the answers that each has stored.

    What a teacher counts is measured on labelled images, for foreground and boundary: the weights,
    none below 0, whose mean map has the least squared error there (stacking: Breiman 1996). Other
    maps, such as types of objects, count as the foreground does. Without labels, or one of these
    maps, all count alike.

    Args:
        stores: of two teachers or more. Instances stand for the foreground and boundary that follow
            from them.
        channels: of the images.
        labelled: images to measure on, best the validation images; those without an answer of all
            teachers are passed over.

    Raises:
        ConfigError: there is one store, or two are the same.
        StoreError: the teachers have no image in common, other classes, or give no maps.
    """
    from abbe.targets import Provenance

    _require_different(stores)
    outputs = _shared_outputs(stores)
    weights, images = _weights(stores, outputs, labelled)
    parts = [store.provenance for store in stores]
    names = _names(stores)
    settings = {
        f"weight of {name}": ", ".join(f"{output} {weights[output][n]:g}" for output in outputs)
        for n, name in enumerate(names)
    }
    settings["weights from"] = f"{images} labelled images" if images else "no labels: all alike"
    provenance = Provenance(
        teacher=" + ".join(names),
        weights_sha256=None,
        weights_licence=_each(names, [part.weights_licence for part in parts]),
        training_data_licence=_each(names, [part.training_data_licence for part in parts]),
        channels=_channels(stores, channels),
        normalisation=_each(names, [part.normalisation for part in parts]),
        outputs=(*outputs, AGREEMENT),
        settings=settings,
        sees_labels=any(part.sees_labels for part in parts),
        stand_in=any(part.stand_in for part in parts),
        simulated=any(part.simulated for part in parts),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        parts=tuple(parts),
    )
    return SeveralTeachers(stores, weights, provenance)


def stacking_weights(errors: NDArray[Any]) -> list[float]:
    """The weights w ≥ 0, Σ w = 1, of the mean with the least squared error: of w' E w.

    Args:
        errors: (T, T) E, the mean product of the errors q − y of each two teachers.

    >>> stacking_weights(np.array([[0.01, 0.0], [0.0, 0.03]]))
    [0.75, 0.25]
    >>> stacking_weights(np.array([[0.2, 0.2], [0.2, 0.2]]))
    [0.5, 0.5]
    """
    from scipy.optimize import minimize

    count = len(errors)
    # A little on the diagonal: teachers that are wrong alike count alike.
    scaled = errors / max(float(np.trace(errors)), 1e-12) + 1e-6 * np.eye(count)
    found = minimize(
        lambda w: w @ scaled @ w,
        np.full(count, 1 / count),
        jac=lambda w: 2 * scaled @ w,
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(count)},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    rounded = (found.x / found.x.sum()).round(2)
    rounded[rounded.argmax()] += 1 - rounded.sum()
    return rounded.round(2).tolist()


def equal(count: int) -> list[float]:
    """As much for each of so many teachers."""
    return [1 / count] * count


def maps_of(
    store: TargetStore, id: str, outputs: Sequence[str], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """A teacher's maps (K, H, W) in [0, 1]; zeros where it found nothing.

    Raises:
        InputError: it has neither probability maps nor instances of this image, or of another size.
    """
    kinds = store.kinds(id)
    if "probability" in kinds:
        maps = store.read(id, "probability")
        names = store.provenance.outputs
        found = maps[[names.index(output) for output in outputs]]
    elif "instances" in kinds:
        found = np.stack([drawn(store.read(id, "instances"), output) for output in outputs])
    elif store.entry(id).empty:
        return np.zeros((len(outputs), *shape), np.float32)
    else:
        raise InputError(
            f"{store.path}: has {', '.join(sorted(kinds))} of '{id}', but neither probability maps "
            "nor instances, whose mean could be taken"
        )
    if found.shape[1:] != tuple(shape):
        raise InputError(
            f"{store.path}: the answer for '{id}' is {found.shape[1]} x {found.shape[2]} px, but "
            f"the image {shape[0]} x {shape[1]}"
        )
    return found


def drawn(instances: NDArray[Any], output: str) -> NDArray[np.float32]:
    """Foreground of (H, W) instances, or their inner boundary; below 0 nobody knows.

    Raises:
        InputError: ``output`` is another map, which instances do not show.
    """
    if output not in DRAWN:
        raise InputError(
            f"instances show no map '{output}', but {' and '.join(DRAWN)}. Teach this image again, "
            "so that its answer has all of the teacher's maps"
        )
    if output == "foreground":
        return (instances > 0).astype(np.float32)
    return inner_boundary(instances).astype(np.float32)


def _weights(
    stores: Sequence[TargetStore], outputs: Sequence[str], labelled: Iterable[Record]
) -> tuple[Weights, int]:
    """What each teacher counts, and on how many images that was measured."""
    measured = [output for output in outputs if output in DRAWN]
    errors, images = _errors(stores, measured, labelled) if measured else ((), 0)
    usual = equal(len(stores))
    found = {
        output: stacking_weights(each) if images else usual
        for output, each in zip(measured, errors, strict=True)
    }
    others = found.get("foreground", usual)
    return {output: found.get(output, others) for output in outputs}, images


def _errors(
    stores: Sequence[TargetStore], outputs: Sequence[str], labelled: Iterable[Record]
) -> tuple[NDArray[np.float64], int]:
    """(K, T, T) sums over images of the mean product of errors, and of how many images."""
    sums, images = np.zeros((len(outputs), len(stores), len(stores))), 0
    for record in labelled:
        if record.label is None or any(record.id not in store for store in stores):
            continue
        label = record.label.read()
        known = label >= 0
        if not known.any():
            continue
        truth = np.stack([drawn(label, output) for output in outputs])
        errors = [maps_of(store, record.id, outputs, label.shape) - truth for store in stores]
        away = np.stack(errors)[:, :, known].astype(np.float64)
        sums += np.einsum("tkn,ukn->ktu", away, away) / known.sum()
        images += 1
    return sums, images


def _require_different(stores: Sequence[TargetStore]) -> None:
    places = [store.path.resolve() for store in stores]
    if len(places) < 2:
        raise ConfigError("teacher.also: two stores or more are needed for a mean")
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise ConfigError(f"teacher.also: {twice} is named twice. Name each store once")
    common = set(stores[0].ids).intersection(*(store.ids for store in stores[1:]))
    if not common:
        first, other = stores[0], next(s for s in stores if set(s.ids).isdisjoint(stores[0].ids))
        raise StoreError(
            f"{first.path} and {other.path}: have no image in common (such as "
            f"'{next(iter(first.ids), '')}' and '{next(iter(other.ids), '')}'). Have both teachers "
            "answer for the same data set"
        )


def _shared_outputs(stores: Sequence[TargetStore]) -> tuple[str, ...]:
    """Maps that all have, in the first one's order.

    Raises:
        StoreError: they give no maps, or maps of other things than each other.
    """
    given = [_outputs_of(store) for store in stores]
    for store, outputs in zip(stores, given, strict=True):
        # An edge is no class: one teacher may draw it, and another not.
        if set(outputs) - {"boundary"} != set(given[0]) - {"boundary"}:
            raise StoreError(
                f"{store.path}: gives {', '.join(outputs)}, but {stores[0].path} gives "
                f"{', '.join(given[0])}: there is no mean of different classes. Name outputs that "
                "mean the same alike when you teach (teacher.options: outputs)"
            )
    return tuple(output for output in given[0] if all(output in each for each in given))


def _outputs_of(store: TargetStore) -> tuple[str, ...]:
    kinds = set().union(*(entry.maps for entry in store))
    if "probability" in kinds:
        return tuple(name for name in store.provenance.outputs if name != AGREEMENT)
    if "instances" in kinds:
        return DRAWN
    there = ", ".join(sorted(kinds)) or "nothing"
    raise StoreError(
        f"{store.path}: holds {there}, but neither probability maps nor instances, whose mean "
        "could be taken. Teach with gives probability or instances"
    )


def _require_answer(store: TargetStore, image: Image, id: str) -> None:
    from abbe.imaging.channels import matching

    if id not in store:
        raise InputError(
            f"{store.path}: has no answer for '{id}', which the other teachers have answered for. "
            "Teach it there, too, or leave the image out"
        )
    seen = matching(image.channels, store.provenance.channels) or store.provenance.channels
    if store.entry(id).image_sha256 != image.sha256(seen):
        raise InputError(
            f"{store.path}: its answer for '{id}' is of other pixels than the image has now"
        )


def _channels(stores: Sequence[TargetStore], channels: Sequence[str]) -> tuple[str, ...]:
    """All that any of them saw, by the images' own names."""
    from abbe.imaging.channels import matching

    seen: list[str] = []
    for store in stores:
        own = store.provenance.channels
        seen += matching(tuple(channels), own) or own
    return tuple(dict.fromkeys(seen))


def _names(stores: Sequence[TargetStore]) -> list[str]:
    """Of the teachers; two of one name are told apart by their stores."""
    names = [store.provenance.teacher for store in stores]
    return [
        name if names.count(name) == 1 else f"{name} ({store.path.name})"
        for name, store in zip(names, stores, strict=True)
    ]


def _each(names: Sequence[str], said: Sequence[str]) -> str:
    """What is said of each; once where it is the same of all."""
    if len(set(said)) == 1:
        return said[0]
    return "; ".join(f"{name}: {text}" for name, text in zip(names, said, strict=True))
