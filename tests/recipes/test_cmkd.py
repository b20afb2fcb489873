"""CMKD's terms, its twin, and the plain supervised recipe."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from abbe import losses
from abbe.datasets.training.batches import Batch
from abbe.errors import InputError
from abbe.recipes.cmkd import cmkd
from abbe.recipes.supervised import supervised
from abbe.recipes.terms import (
    boundary_term,
    maps_of,
    probability_term,
    supervised_term,
    target_boundary_term,
)
from abbe.training.loss_of import LossOf
from abbe.training.stage import Schedule, Stage, Term, twin_of

SIDE = 16
BOTH = ("foreground", "boundary")
SCHEDULE = Schedule(steps=3, learning_rate=0.01)
ALL_TERMS = ["supervised", "probability", "boundary", "target_boundary"]


class TinyNet(nn.Module):
    """One convolution to as many maps as there are outputs."""

    divisor = 1

    def __init__(self, outputs: tuple[str, ...] = BOTH) -> None:
        super().__init__()
        self.outputs = outputs
        self.convolution = nn.Conv2d(1, len(outputs), 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.convolution(image)


def batch_of(size: int = 2, outputs: int = 2, seed: int = 0) -> Batch:
    """A batch of two squares an image, everything labelled and taught."""
    random = torch.Generator().manual_seed(seed)
    label = torch.zeros(size, SIDE, SIDE, dtype=torch.int64)
    label[:, 2:8, 2:8], label[:, 8:14, 3:9] = 1, 2
    return {
        "image": torch.rand(size, 1, SIDE, SIDE, generator=random),
        "label": label,
        "has_label": torch.ones(size, dtype=torch.bool),
        "target": torch.rand(size, outputs, SIDE, SIDE, generator=random),
        "has_target": torch.ones(size, dtype=torch.bool),
        "valid": torch.ones(size, SIDE, SIDE, dtype=torch.bool),
    }


def logits_of(size: int = 2, outputs: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(size, outputs, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def only(stages: list[Stage]) -> Stage:
    (stage,) = stages
    return stage


def stage_of(network: nn.Module | None = None, **options: Any) -> Stage:
    batches: Any = options.pop("batches", object())
    given = {"outputs": BOTH, "target_outputs": BOTH, **options}
    return only(cmkd(network or TinyNet(), batches, SCHEDULE, **given))


def terms_of(stage: Stage) -> dict[str, Term]:
    return {term.name: term for term in stage.terms}


def value(term: Term, logits: torch.Tensor, batch: Batch) -> float:
    result = term.loss(logits, batch)
    assert result is not None
    return float(result.detach())


# -- which terms there are


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ALL_TERMS),
        ({"supervised": False}, ["probability", "boundary", "target_boundary"]),
        ({"probability": "off"}, ["supervised", "boundary", "target_boundary"]),
        ({"boundary": "off"}, ["supervised", "probability"]),
        ({"target_boundary": False}, ["supervised", "probability", "boundary"]),
        ({"boundary": "weighted_bce"}, ALL_TERMS),
        ({"boundary": "sobel_mse"}, ALL_TERMS),
        ({"boundary": "edge_head"}, ["supervised", "probability", "boundary"]),
        ({"supervised": False, "boundary": "off"}, ["probability"]),
    ],
)
def test_every_ingredient_can_be_switched(options: dict[str, Any], names: list[str]) -> None:
    stage = stage_of(**options)
    assert [term.name for term in stage.terms] == names
    distilling = {term.name for term in stage.terms if term.distils}
    assert distilling == set(names) & {"probability", "target_boundary"}


def test_the_alternatives_differ() -> None:
    logits, batch = logits_of(), batch_of()
    probabilities = [
        value(terms_of(stage_of(probability=kind))["probability"], logits, batch)
        for kind in ("mse", "soft_bce", "logit_mse", "cwd", "dist")
    ]
    boundaries = [
        value(terms_of(stage_of(boundary=kind))["boundary"], logits, batch)
        for kind in ("dice", "weighted_bce", "sobel_mse", "edge_head")
    ]
    for values in (probabilities, boundaries):
        assert len({round(each, 6) for each in values}) == len(values)


def test_a_teacher_without_foreground_is_refused() -> None:
    with pytest.raises(InputError, match=r"the teacher gives cells, edges .*teacher\.options"):
        stage_of(target_outputs=("cells", "edges"))


# -- what each term says


def test_the_supervised_term_is_cross_entropy_and_dice_of_every_output() -> None:
    logits, batch = logits_of(), batch_of()
    expected = []
    for index, truth in enumerate(maps_of(batch["label"], BOTH).values()):
        p = logits[:, index].sigmoid()
        entropy = F.binary_cross_entropy(p, truth)
        dice = 1 - (2 * (p * truth).sum((1, 2)) + 1) / ((p + truth).sum((1, 2)) + 1)
        expected.append(entropy + dice.mean())
    both = value(supervised_term(BOTH, BOTH), logits, batch)
    assert both == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)
    foreground = value(supervised_term(BOTH, ("foreground",)), logits, batch)
    assert foreground == pytest.approx(float(expected[0]), rel=1e-5)


@pytest.mark.parametrize("kind", ["mse", "logit_mse"])
def test_the_probability_term_is_0_only_where_student_and_teacher_agree(kind: str) -> None:
    term = probability_term(BOTH, BOTH, losses.PROBABILITY_LOSSES[kind])
    batch = batch_of()
    batch["target"] = batch["target"].clamp(0.01, 0.99)
    agreeing = batch["target"].logit()
    assert value(term, agreeing, batch) == pytest.approx(0, abs=1e-10)
    for image, output in itertools.product(range(2), range(2)):
        other = agreeing.clone()
        other[image, output, 5, 5] += 1
        assert value(term, other, batch) > 1e-8


def test_soft_cross_entropy_is_least_where_student_and_teacher_agree() -> None:
    term = probability_term(BOTH, BOTH, losses.PROBABILITY_LOSSES["soft_bce"])
    batch = batch_of()
    agreeing = batch["target"].clamp(0.01, 0.99).logit().requires_grad_()
    batch["target"] = agreeing.detach().sigmoid()
    loss = term.loss(agreeing, batch)
    assert loss is not None
    (gradient,) = torch.autograd.grad(loss, agreeing)
    assert gradient.abs().max() < 1e-8
    assert (
        value(term, agreeing + 0.5, batch)
        > float(loss.detach())
        < value(term, agreeing - 0.5, batch)
    )


@pytest.mark.parametrize(
    ("outputs", "target_outputs", "pairs"),
    [
        (BOTH, ("foreground",), [(0, 0)]),
        (("foreground",), BOTH, [(0, 0)]),
        (BOTH, ("boundary", "foreground"), [(0, 1), (1, 0)]),
    ],
)
def test_maps_are_matched_by_name(
    outputs: tuple[str, ...], target_outputs: tuple[str, ...], pairs: list[tuple[int, int]]
) -> None:
    batch = batch_of(outputs=len(target_outputs))
    logits = logits_of(outputs=len(outputs))
    mine, theirs = (list(indices) for indices in zip(*pairs, strict=True))
    expected = F.mse_loss(logits[:, mine].sigmoid(), batch["target"][:, theirs])
    term = probability_term(outputs, target_outputs, losses.probability_mse)
    assert value(term, logits, batch) == pytest.approx(float(expected), rel=1e-5)


def test_boundaries_are_those_of_labels_and_of_targets_cut_at_one_half() -> None:
    logits, batch = logits_of(), batch_of()
    from_labels = boundary_term(BOTH, losses.boundary_dice)
    from_targets = target_boundary_term(BOTH, BOTH, losses.boundary_dice)
    foreground = (batch["label"] > 0).float()
    batch["target"][:, 0] = 0.4 + 0.1 * foreground  # 0.5 inside, 0.4 outside
    expected = float(losses.boundary_dice(logits[:, 0], foreground, batch["valid"]))
    assert value(from_labels, logits, batch) == pytest.approx(expected)
    assert value(from_targets, logits, batch) == pytest.approx(expected)
    batch["target"][:, 0] -= 0.1
    assert value(from_labels, logits, batch) == pytest.approx(expected)
    assert from_targets.loss(logits, batch) is None  # nothing is above one half: no edge


def test_foreground_edges_do_not_part_touching_objects() -> None:
    batch = batch_of()
    touching, merged = dict(batch), dict(batch)
    merged["label"] = (batch["label"] > 0).long()
    term = boundary_term(BOTH, losses.boundary_dice)
    assert value(term, logits_of(), touching) == value(term, logits_of(), merged)


def test_the_edge_head_learns_object_boundaries_from_labels() -> None:
    terms = terms_of(stage_of(boundary="edge_head"))
    logits, batch = logits_of().requires_grad_(), batch_of()
    for name, output in (("supervised", 0), ("boundary", 1)):
        loss = terms[name].loss(logits, batch)
        assert loss is not None
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient[:, output].abs().max() > 0
        assert gradient[:, 1 - output].abs().max() == 0
    touching = losses.boundary_of(batch["label"])
    expected = float(losses.supervised(logits[:, 1].detach(), touching, batch["valid"]))
    assert value(terms["boundary"], logits, batch) == pytest.approx(expected)
    assert not terms["boundary"].distils


def test_instance_targets_give_foreground_and_boundary() -> None:
    batch, logits = batch_of(), logits_of()
    maps = dict(batch)
    maps["target"] = torch.stack(
        [losses.foreground_of(batch["label"]), losses.boundary_of(batch["label"])], dim=1
    )
    instances = {key: value for key, value in batch.items() if key != "target"}
    instances["target_instances"] = batch["label"]
    for name in ("probability", "target_boundary"):
        term = terms_of(stage_of())[name]
        assert value(term, logits, instances) == value(term, logits, maps)
    # The line between the two touching squares is boundary, though it is foreground all through.
    assert maps["target"][0, :, 7, 5].tolist() == maps["target"][0, :, 8, 5].tolist() == [1, 1]


# -- the unknown


@pytest.mark.parametrize("name", ALL_TERMS)
def test_a_term_with_nothing_to_learn_from_says_none(name: str) -> None:
    term = terms_of(stage_of())[name]
    batch = batch_of()
    assert term.loss(logits_of(), batch) is not None
    lacking = []
    if term.distils:
        lacking.append({"has_target": torch.zeros(2, dtype=torch.bool)})
    else:
        unknown = torch.full_like(batch["label"], -1)
        lacking.append({"has_label": torch.zeros(2, dtype=torch.bool), "label": unknown})
        lacking.append({"label": unknown})  # crops of the unknown part of partly labelled images
    lacking.append({"valid": torch.zeros_like(batch["valid"])})
    for changes in lacking:
        assert term.loss(logits_of(), {**batch, **changes}) is None


@pytest.mark.parametrize("name", ALL_TERMS)
def test_images_without_label_or_target_add_nothing(name: str) -> None:
    term = terms_of(stage_of())[name]
    batch, logits = batch_of(), logits_of().requires_grad_()
    if term.distils:
        batch["has_target"][1] = False
        batch["target"][1] = 0  # what an image without target, such as an empty one, is filled with
    else:
        batch["has_label"][1] = False
        batch["label"][1] = -1
    loss = term.loss(logits, batch)
    assert loss is not None
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0
    alone = {key: tensor[:1] for key, tensor in batch.items()}
    assert float(loss.detach()) == pytest.approx(value(term, logits[:1], alone))  # nor to the mean


@pytest.mark.parametrize("name", ALL_TERMS)
def test_pixels_beyond_the_edge_add_nothing(name: str) -> None:
    term = terms_of(stage_of())[name]
    batch, logits = batch_of(), logits_of().requires_grad_()
    batch["valid"][:, 10:] = False
    loss = term.loss(logits, batch)
    assert loss is not None
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[:, :, :9].abs().max() > 0
    assert gradient[:, :, 10:].abs().max() == 0


# -- the twin


def test_the_twin_is_the_same_stage_without_distillation() -> None:
    student = TinyNet()
    twin = copy.deepcopy(student)
    stage = stage_of(student, teacher=TinyNet(), validate=lambda network: {"iou": 1.0}, watch="iou")
    its = twin_of(stage, twin)
    assert its is not None
    assert its.trains is twin
    assert its.teacher is None
    assert its.terms == tuple(term for term in stage.terms if not term.distils)
    assert [term.name for term in its.terms] == ["supervised", "boundary"]
    for name in ("name", "batches", "weighting", "schedule", "validate", "watch"):
        assert getattr(its, name) is getattr(stage, name)


def test_a_stage_that_only_distils_has_no_twin() -> None:
    assert twin_of(stage_of(supervised=False, boundary="off"), TinyNet()) is None


def test_the_twin_never_looks_at_targets() -> None:
    network = TinyNet()
    stage = stage_of(network)
    twin = twin_of(stage, network)
    assert twin is not None
    first, second = batch_of(), batch_of(seed=5)
    second = {**first, "target": second["target"]}
    for each, differs in ((stage, True), (twin, False)):
        names = [term.name for term in each.terms]
        loss_of = LossOf(network, each.terms, losses.UncertaintyWeighting(names))
        values = [loss_of(batch)[0].item() for batch in (first, second)]
        assert (values[0] != values[1]) is differs


# -- the supervised recipe


@pytest.mark.parametrize(
    ("boundary", "names"),
    [
        ("off", ["supervised"]),
        ("dice", ["supervised", "boundary"]),
        ("edge_head", ["supervised"]),  # its boundary output is supervised in any case
    ],
)
def test_training_on_labels_alone(boundary: Any, names: list[str]) -> None:
    batches: Any = object()
    weighting: Callable[[list[str]], nn.Module] = losses.UncertaintyWeighting
    stage = only(
        supervised(
            TinyNet(), batches, SCHEDULE, outputs=BOTH, weighting=weighting, boundary=boundary
        )
    )
    assert [term.name for term in stage.terms] == names
    assert not any(term.distils for term in stage.terms)
    expected = value(supervised_term(BOTH, BOTH), logits_of(), batch_of())
    assert value(terms_of(stage)["supervised"], logits_of(), batch_of()) == expected
