"""Several teachers as one: the mean, its weights, and where they disagree."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_of_teachers import dataset_of

from abbe import losses
from abbe.datasets import Dataset
from abbe.errors import ConfigError, InputError, StoreError
from abbe.targets import Provenance, TargetStore, TargetWriter
from abbe.teachers import several, teach
from abbe.teachers.several import agreement, drawn, stacking_weights

SHAPE = (48, 40)


def store(
    path: Path,
    maps: dict[str, np.ndarray],
    *,
    outputs: tuple[str, ...] = ("foreground",),
    channels: tuple[str, ...] = ("nucleus",),
    images: Dataset | None = None,
    empty: tuple[str, ...] = (),
    name: str = "",
) -> TargetStore:
    """The same answer for each image of four."""
    licence = f"licence of {path.stem}"
    provenance = Provenance(
        name or path.stem, "a" * 64, licence, "CC0", channels, "none", outputs=outputs,
        notes=(f"a note of {path.stem}",),
    )  # fmt: skip
    with TargetWriter.open(path, provenance) as writer:
        for record in images or dataset_of(4):
            image = record.image.open()
            found = {} if record.id in empty else maps
            writer.append(
                record.id, found, image_sha256=image.sha256(channels), shape=SHAPE,
                empty=record.id in empty,
            )  # fmt: skip
    return TargetStore(path)


def flat(value: float, count: int = 1) -> dict[str, np.ndarray]:
    return {"probability": np.full((count, *SHAPE), value, np.float32)}


def combined(stores: list[TargetStore], dataset: Dataset, out: Path, **options: object):
    teacher = several(stores, dataset.channels, **options)  # pyright: ignore[reportArgumentType]
    return teacher, teach(teacher, dataset, out, progress=False)


def test_without_labels_all_count_alike_and_dispute_counts_less(tmp_path: Path):
    stores = [store(tmp_path / "a.zarr", flat(1.0)), store(tmp_path / "b.zarr", flat(0.2))]
    _, report = combined(stores, dataset_of(4), tmp_path / "both.zarr")
    assert (report.done, report.failed) == (4, {})
    found = TargetStore(tmp_path / "both.zarr")
    assert found.provenance.outputs == ("foreground", "agreement")
    mean, agreed = found.read("image-2", "probability")
    assert np.allclose(mean, 0.6, atol=1 / 255)
    assert np.allclose(agreed, 1 - 4 * 0.4**2, atol=1 / 255)  # both are 0.4 from their mean


def test_the_better_teacher_on_labels_counts_more(tmp_path: Path):
    dataset = labelled(dataset_of(4))
    truth = (dataset.records[0].label.read() > 0).astype(np.float32)  # pyright: ignore
    good = {"probability": np.where(truth > 0, 0.9, 0.1)[None].astype(np.float32)}
    bad = {"probability": np.where(truth > 0, 0.1, 0.9)[None].astype(np.float32)}
    stores = [store(tmp_path / "good.zarr", good), store(tmp_path / "bad.zarr", bad)]
    teacher = several(stores, dataset.channels, dataset.records)
    assert teacher.provenance.settings == {
        "weight of good": "foreground 1",
        "weight of bad": "foreground 0",
        "weights from": "4 labelled images",
    }
    maps = teacher.predict(dataset.records[0].image.open(), "image-0").maps["probability"]
    assert np.allclose(maps[0], good["probability"], atol=1 / 255)
    assert np.allclose(maps[1], 1)  # who counts nothing disputes nothing


def test_the_rim_of_what_nobody_knows_is_no_boundary_to_measure_by(tmp_path: Path):
    """Who drew no edge there counted less than who drew one."""
    label = np.zeros(SHAPE, np.int32)
    label[:, 10:30], label[:, 20:] = 1, -1
    records = tuple(replace(record, label=DrawnLabel(label)) for record in dataset_of(4))
    edge, foreground = np.zeros(SHAPE, np.float32), (label > 0).astype(np.float32)
    edge[:, 10] = 1
    rim = edge.copy()
    rim[:, 19] = 1
    stores = [
        store(
            tmp_path / f"{name}.zarr", {"probability": np.stack([foreground, boundary])},
            outputs=("foreground", "boundary"),
        )
        for name, boundary in (("right", edge), ("rim", rim))
    ]  # fmt: skip
    settings = several(stores, ("nucleus",), records).provenance.settings
    assert settings["weight of right"] == "foreground 0.5, boundary 1"


def test_maps_that_labels_do_not_show_count_as_the_foreground_does(tmp_path: Path):
    """The edges of all nuclei were taken for the truth of each type."""
    dataset = labelled(dataset_of(4))
    label = dataset.records[0].label.read()  # pyright: ignore
    truth = (label > 0).astype(np.float32)
    outputs = ("type:tumour", "foreground", "boundary")
    edges = drawn(label, "boundary")
    answers = {  # the first finds nuclei and knows none of their types; the other finds edges alone
        "good": np.stack([np.zeros_like(truth), truth, edges]),
        "bad": np.stack([edges, 1 - truth, edges]),
    }
    stores = [
        store(tmp_path / f"{name}.zarr", {"probability": maps}, outputs=outputs)
        for name, maps in answers.items()
    ]
    teacher = several(stores, dataset.channels, dataset.records)
    assert teacher.provenance.settings["weight of good"] == (
        "type:tumour 1, foreground 1, boundary 0.5"
    )
    alike = several(stores, dataset.channels)
    maps = alike.predict(dataset.records[0].image.open(), "image-0").maps["probability"]
    assert np.allclose(maps[0], edges / 2)
    # That types are in dispute is no reason to doubt where nuclei are.
    assert np.array_equal(maps[3], agreement(*_shapes(answers)))


def _shapes(answers: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([maps[1:] for maps in answers.values()]), np.full((2, 2), 0.5)


def test_classes_of_which_labels_show_none_all_count_alike(tmp_path: Path):
    dataset, outputs = labelled(dataset_of(4)), ("tumour", "stroma")
    stores = [
        store(tmp_path / f"{n}.zarr", flat(value, 2), outputs=outputs)
        for n, value in enumerate((0.2, 1.0))
    ]
    teacher = several(stores, dataset.channels, dataset.records)
    assert teacher.provenance.settings == {
        "weight of 0": "tumour 0.5, stroma 0.5",
        "weight of 1": "tumour 0.5, stroma 0.5",
        "weights from": "no labels: all alike",
    }
    maps = teacher.predict(dataset.records[0].image.open(), "image-0").maps["probability"]
    assert np.allclose(maps[2], 1 - 4 * 0.4**2, atol=1 / 255)
    with pytest.raises(InputError, match="instances show no map 'tumour'"):
        drawn(np.zeros(SHAPE, np.int32), "tumour")


def test_an_answer_that_found_nothing_counts_by_its_maps(tmp_path: Path):
    stores = [store(tmp_path / "a.zarr", flat(1.0)), store(tmp_path / "b.zarr", flat(1.0))]
    provenance = replace(stores[0].provenance, teacher="faint")
    image = dataset_of(1).records[0].image.open()
    with TargetWriter.open(tmp_path / "c.zarr", provenance) as writer:
        writer.append(
            "image-0", flat(0.4), image_sha256=image.sha256(("nucleus",)), shape=SHAPE, empty=True
        )
    teacher = several([stores[0], TargetStore(tmp_path / "c.zarr")], ("nucleus",))
    maps = teacher.predict(image, "image-0").maps["probability"]
    assert np.allclose(maps[0], 0.7, atol=1 / 255)


@dataclass(frozen=True)
class DrawnLabel:
    instances: np.ndarray

    def read(self) -> np.ndarray:
        return self.instances


def labelled(dataset: Dataset) -> Dataset:
    label = np.zeros(SHAPE, np.int32)
    label[8:24, 8:20] = 1
    records = [replace(record, label=DrawnLabel(label)) for record in dataset]
    return replace(dataset, records=tuple(records))


@pytest.mark.parametrize(
    ("variances", "weights"),
    [((1.0, 1.0), [0.5, 0.5]), ((1.0, 3.0), [0.75, 0.25]), ((1.0, 1.0, 2.0), [0.4, 0.4, 0.2])],
)
def test_errors_that_have_nothing_in_common_are_weighed_by_their_size(
    variances: tuple[float, ...], weights: list[float]
):
    """Of independent errors the best weights are as 1 / variance."""
    assert stacking_weights(np.diag(variances)) == pytest.approx(weights)


def test_a_teacher_that_only_adds_error_counts_nothing():
    # q2 = q1 + more error: the best mean is q1 alone, and no weight falls below 0.
    assert stacking_weights(np.array([[1.0, 1.2], [1.2, 2.0]])) == [1.0, 0.0]


def test_agreement_is_of_the_map_they_agree_on_least():
    answers = np.zeros((2, 2, 1, 2))
    answers[1, 1, 0, 1] = 1  # of the second map, at the second pixel, one says 1
    assert agreement(answers, np.full((2, 2), 0.5)).tolist() == [[1.0, 0.0]]


def test_instances_stand_for_their_foreground_and_boundary(tmp_path: Path):
    instances = np.zeros(SHAPE, np.int32)
    instances[4:12, 4:12], instances[4:12, 12:20] = 1, 2
    stores = [
        store(tmp_path / "masks.zarr", {"instances": instances}),
        store(tmp_path / "maps.zarr", flat(0.0, 2), outputs=("boundary", "foreground")),
    ]
    teacher = several(stores, ("nucleus", "membrane"))
    image = dataset_of(1).records[0].image.open()
    assert teacher.provenance.outputs == ("foreground", "boundary", "agreement")
    maps = teacher.predict(image, "image-0").maps["probability"]
    assert np.array_equal(maps[0] > 0, instances > 0)
    assert np.array_equal(maps[1] > 0, drawn(instances, "boundary") > 0)


def test_maps_are_drawn_as_the_losses_draw_them():
    random = np.random.default_rng(0)
    instances = np.kron(random.integers(0, 4, (8, 8)), np.ones((3, 3), int)).astype(np.int32)
    expected = torch.from_numpy(instances.astype(np.int64))[None]
    assert np.array_equal(drawn(instances, "foreground"), losses.foreground_of(expected)[0])
    assert np.array_equal(drawn(instances, "boundary"), losses.boundary_of(expected)[0])


def test_what_only_one_found_is_in_dispute_and_nothing_found_teaches_nothing(tmp_path: Path):
    stores = [
        store(tmp_path / "a.zarr", flat(1.0), empty=("image-1",)),
        store(tmp_path / "b.zarr", flat(1.0), empty=("image-1", "image-2")),
    ]
    _, report = combined(stores, dataset_of(4), tmp_path / "both.zarr")
    assert (report.done, report.empty) == (4, 1)
    found = TargetStore(tmp_path / "both.zarr")
    assert found.empty_ids == ("image-1",)
    assert np.unique(found.read("image-2", "probability")[1]).tolist() == [0.0]


def test_every_teacher_is_named_with_its_licence(tmp_path: Path):
    stores = [
        store(tmp_path / "a.zarr", flat(1.0), name="same"),
        store(tmp_path / "b.zarr", flat(1.0), name="same", channels=("nucleus", "membrane")),
    ]
    combined(stores, dataset_of(4), tmp_path / "both.zarr")
    found = TargetStore(tmp_path / "both.zarr").provenance  # as it comes back from the disk
    assert found.teacher == "same (a.zarr) + same (b.zarr)"
    assert found.weights_licence == "same (a.zarr): licence of a; same (b.zarr): licence of b"
    assert found.training_data_licence == "CC0"
    assert found.channels == ("nucleus", "membrane")
    assert [part.weights_licence for part in found.parts] == ["licence of a", "licence of b"]
    assert found.parts[0].weights_sha256 == "a" * 64
    assert found.notes == ("a note of a", "a note of b")
    # …and the same teachers continue the store.
    _, report = combined(stores, dataset_of(4), tmp_path / "both.zarr")
    assert (report.done, report.skipped) == (0, 4)


def test_what_cannot_be_combined_is_refused(tmp_path: Path):
    a = store(tmp_path / "a.zarr", flat(1.0))
    features = {"embedding": np.zeros((4, 3, 3), np.float32)}
    others = {
        "there is no mean of different classes": store(
            tmp_path / "c.zarr", flat(0.5, 2), outputs=("tumour", "stroma")
        ),
        "neither probability maps nor instances": store(tmp_path / "e.zarr", features),
    }
    for message, other in others.items():
        with pytest.raises(StoreError, match=message):
            several([a, other], ("nucleus",))
    with pytest.raises(ConfigError, match="is named twice"):
        several([a, TargetStore(tmp_path / "a.zarr")], ("nucleus",))
    with pytest.raises(ConfigError, match="two stores or more"):
        several([a], ("nucleus",))
    elsewhere = store(tmp_path / "d.zarr", flat(1.0), images=dataset_of(1))
    only_others = store(tmp_path / "f.zarr", flat(1.0), images=_renamed(dataset_of(1)))
    with pytest.raises(StoreError, match=r"no image in common \(such as 'image-0' and 'other-0'"):
        several([a, only_others], ("nucleus",))
    _, report = combined([a, elsewhere], dataset_of(2), tmp_path / "both.zarr")
    assert report.done == 1
    assert "has no answer for 'image-1'" in report.failed["image-1"]
    with pytest.raises(InputError, match="other pixels"):
        several([a, elsewhere], ("nucleus",)).predict(
            dataset_of(6).records[5].image.open(), "image-0"
        )


def _renamed(dataset: Dataset) -> Dataset:
    records = [replace(r, id=r.id.replace("image", "other")) for r in dataset]
    return replace(dataset, records=tuple(records))
