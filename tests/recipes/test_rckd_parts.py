"""RCKD's parts, without a run: what answers, classes, rates and shares of labels come to."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from abbe import students
from abbe.datasets import class_folder, keep_labels
from abbe.datasets.training.prepare import Prepared
from abbe.errors import ConfigError, InputError
from abbe.recipes.pretraining import ResponseOutput, require_exclusive, response_term
from abbe.recipes.rckd import parts_of
from abbe.students.classifier import Classifier
from abbe.students.encoders import ENCODERS
from abbe.students.unet import encoder_name_of
from abbe.tasks.classification import Classification, class_weights
from abbe.teachers import TEACHERS


def test_a_student_that_tells_classes_apart_is_no_teacher_of_objects(tmp_path):
    network = students.build(
        "unet-mobilenetv3", in_channels=3, outputs=("background", "a"), encoder_weights="random"
    )
    classes = ["background", "a"]
    facts = {"channels": ["red", "green", "blue"], "task": "semantic", "classes": classes}
    students.save(tmp_path / "student.safetensors", network, facts)
    with pytest.raises(InputError, match="tells classes apart"):
        TEACHERS["run"](tmp_path, None)


def test_shares_of_labels_contain_each_other_and_lose_no_class(tiles):
    dataset = class_folder(tiles / "classes")

    def kept(amount):
        few = keep_labels(dataset, amount, seed=1)
        return {r.id for r in Classification().labelled(few.split("train"))}

    assert kept(0.01) < kept(0.5) < kept(1.0)
    assert {id.split("/")[1] for id in kept(0.01)} == {"dense", "sparse"}
    few = keep_labels(dataset, 0.01, seed=1)
    assert len(Classification().labelled(few.split("test"))) == 6


def test_classes_that_exclude_each_other_are_learned_at_a_temperature():
    random = torch.Generator().manual_seed(0)
    probabilities = torch.rand(2, 3, 4, 4, generator=random).softmax(1)
    batch = {
        "target": probabilities,
        "valid": torch.ones(2, 4, 4, dtype=torch.bool),
        "has_target": torch.tensor([True, False]),
    }
    term = response_term(3, "kl", 2.0)
    learned = term.loss(ResponseOutput(maps=probabilities.log()), batch)
    assert learned is not None
    assert learned.item() == pytest.approx(0, abs=1e-6)
    other = probabilities.flip(1).log()
    other[1] = 99.0  # the teacher has not spoken of this tile
    first = {key: value[:1] for key, value in batch.items()}
    alone = term.loss(ResponseOutput(maps=other[:1]), first)
    assert alone is not None
    assert term.loss(ResponseOutput(maps=other), batch) == pytest.approx(alone.item(), rel=1e-5)
    assert alone > 0
    batch["has_target"] = torch.tensor([False, False])
    assert term.loss(ResponseOutput(maps=other), batch) is None


def test_a_teacher_that_keeps_its_background_to_itself_is_not_learned_by_kl():
    """Its maps were stretched to a sum of 1: glass became tumour, and surely so."""
    shares = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0)).softmax(0)
    stored = (255 * shares).round().byte().numpy()
    bare = Prepared("a", np.zeros((1, 16, 16)), ("red",), np.zeros((1, 2)), (16, 16))
    whole = [replace(bare, id=str(n), probability=stored) for n in range(40)]
    require_exclusive(whole, "t.zarr")
    cut = [replace(image, probability=stored[1:]) for image in whole]
    with pytest.raises(ConfigError, match=r"of '0' in t\.zarr add up to 0\.\d\d.*background"):
        require_exclusive(cut, "t.zarr")
    background = np.zeros_like(stored)
    background[0] = 255
    tissue = replace(whole[0], id="tissue", probability=background[:0:-1])
    with pytest.raises(ConfigError, match="of 'tissue' in"):
        require_exclusive([*whole[:3], tissue], "t.zarr")


def test_rare_classes_weigh_as_much_as_frequent_ones():
    image = Prepared("a", np.zeros((1, 2, 2)), ("red",), np.zeros((1, 2)), (2, 2))
    images = [replace(image, category=number) for number in (0, 0, 0, 1)]
    assert class_weights(images, 3) == pytest.approx([4 / 9, 4 / 3, 1.0])


@pytest.mark.parametrize("name", sorted(set(ENCODERS) - {"swin-tiny"}))
def test_each_weight_has_the_rate_of_its_part(name):
    with torch.device("meta"):
        model = Classifier(name, 3, ("a", "b"))
    rates = parts_of(model, 1.0, 5.0)
    encoder = set(map(id, model.encoder_parameters()))
    head = {id(parameter) for parameter in model.parameters()} - encoder
    assert head
    for key, parameter in model.named_parameters():
        matching = [rate for part, rate in rates.items() if key.startswith(part)]
        assert matching == [5.0 if id(parameter) in head else 1.0], key
    assert encoder_name_of(f"unet-{name}") == name
