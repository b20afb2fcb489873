"""Promptable students: their size, their decoder, their files."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from abbe.errors import ConfigError, InputError
from abbe.sam import SAM, Layout, Prompts, build_sam
from abbe.students import (
    PROMPTABLE_ARCHITECTURES,
    build_promptable,
    copy_decoder,
    load,
    load_promptable,
    save_promptable,
)

SIDE = 128
SMALL = "promptable-mobilenetv3-large"
ANY = torch.rand(1, 3, SIDE, SIDE)
BOX = Prompts(boxes=torch.tensor([[10.0, 20.0, 90.0, 70.0], [0.0, 0.0, 50.0, 128.0]]))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def hollow(architecture: str, **arguments: Any) -> SAM:
    with torch.device("meta"):
        return build_promptable(architecture, encoder_weights="random", **arguments)


@pytest.fixture(scope="module")
def student() -> SAM:
    torch.manual_seed(0)
    return build_promptable(SMALL, side=SIDE, encoder_weights="random").eval()


@pytest.fixture(scope="module")
def teacher() -> SAM:
    layout = Layout("vit", image_size=SIDE, width=32, depth=1, heads=2, window=4)
    return build_sam(layout, seed=3).eval()


def test_the_default_has_the_parameters_that_kd_sam_states():
    encoder = hollow("promptable-resnet50", side=1024).image_encoder
    trunk = parameters(timm.create_model("resnet50", num_classes=0))
    neck = 2048 * 256 + 256 + 4 * (9 * 256 * 256 + 256)
    assert parameters(encoder) == trunk + neck == 26_392_896


def test_the_neck_of_nanosam_is_larger_and_has_places():
    encoder = hollow("promptable-resnet50", side=1024, neck="nanosam").image_encoder
    wide = 9 * 256 * 256 + 256
    neck = 9 * 2048 * 256 + 256 + 4 * wide + 256 * 256 + 256 + 256 * 64 * 64
    assert parameters(encoder.get_submodule("neck")) == neck
    assert round(parameters(encoder) / 1e6, 1) == 31.7


@pytest.mark.parametrize("side", [256, 512, 1024])
@pytest.mark.parametrize("architecture", ["promptable-resnet50", "promptable-timm-regnety_004"])
def test_the_embedding_has_sams_size(architecture, side):
    sam = hollow(architecture, side=side)
    images = torch.empty(2, 3, side, side, device="meta")
    assert sam.encode(images).shape == (2, 256, side // 16, side // 16)


@pytest.mark.parametrize("architecture", PROMPTABLE_ARCHITECTURES)
def test_every_architecture_answers_prompts(architecture):
    torch.manual_seed(0)
    sam = build_promptable(architecture, side=SIDE, encoder_weights="random").eval()
    with torch.inference_mode():
        embedding = sam.encode(ANY)
        logits, iou = sam.decode(embedding, BOX, multimask=False)
    assert embedding.shape == (1, 256, SIDE // 16, SIDE // 16)
    assert logits.shape == (2, 1, SIDE // 4, SIDE // 4)
    assert embedding.isfinite().all()
    assert iou.isfinite().all()


def test_both_necks_depend_on_every_layer():
    for neck in ("default", "nanosam"):
        sam = build_promptable(SMALL, side=SIDE, encoder_weights="random", neck=neck)
        sam.encode(torch.rand(2, 3, SIDE, SIDE)).square().mean().backward()
        unused = [
            name
            for name, parameter in sam.image_encoder.named_parameters()
            if parameter.grad is None or not parameter.grad.any()
        ]
        assert unused == []


def test_the_teachers_embedding_makes_the_teachers_masks(student: SAM, teacher: SAM):
    points = Prompts(torch.tensor([[[30.0, 40.0]]]), torch.ones(1, 1))
    embedding = teacher.encode(ANY)
    before, _ = student.decode(embedding, BOX, multimask=False)
    copy_decoder(student, teacher)
    for prompts in (BOX, points):
        for multimask in (False, True):
            ours = student.decode(embedding, prompts, multimask=multimask)
            theirs = teacher.decode(embedding, prompts, multimask=multimask)
            assert torch.equal(ours[0], theirs[0])
            assert torch.equal(ours[1], theirs[1])
    assert not torch.equal(before, student.decode(embedding, BOX, multimask=False)[0])
    places = student.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    assert torch.equal(places, teacher.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix)


def test_the_copy_is_the_students_own(student: SAM, teacher: SAM):
    copy_decoder(student, teacher)
    shared = {p.data_ptr() for p in student.parameters()} & {
        p.data_ptr() for p in teacher.parameters()
    }
    assert shared == set()


def test_a_decoder_of_another_form_is_refused(student: SAM):
    other = SAM(nn.Identity(), SIDE)
    other.mask_decoder.iou_token = nn.Embedding(1, 128)
    with pytest.raises(InputError, match=r"teacher's mask_decoder .* Other shape: iou_token"):
        copy_decoder(student, other)


@pytest.mark.parametrize("neck", ["default", "nanosam"])
def test_files_give_back_the_student(neck, tmp_path):
    model = build_promptable(SMALL, side=SIDE, encoder_weights="random", neck=neck).eval()
    save_promptable(tmp_path / "student.safetensors", model, {"teacher": "sam", "stages": [1, 2]})
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again, facts = load_promptable(tmp_path / "student.safetensors")
    assert torch.equal(torch.rand(3), expected)  # loading draws no random numbers of the caller's
    assert facts == {"teacher": "sam", "stages": [1, 2]}
    assert again.side == SIDE
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again.encode(ANY), model.encode(ANY))
    assert all(
        torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items()
    )


def test_mobile_sam_is_saved_and_loaded_too(tmp_path):
    model = build_promptable("promptable-mobilesam", side=SIDE, encoder_weights="random").eval()
    save_promptable(tmp_path / "mobile.safetensors", model, {})
    again, _ = load_promptable(tmp_path / "mobile.safetensors")
    assert again.layout == Layout("tiny_vit", image_size=SIDE)
    torch.save(model.state_dict(), tmp_path / "mobile_sam.pt")
    fetched = build_promptable(
        "promptable-mobilesam", side=SIDE, encoder_weights=tmp_path / "mobile_sam.pt"
    )
    for other in (again, fetched):
        assert all(
            torch.equal(tensor, other.state_dict()[name])
            for name, tensor in model.state_dict().items()
        )


def test_a_vision_transformer_is_no_student(teacher: SAM, tmp_path):
    with pytest.raises(InputError, match="image encoder is a ImageEncoderViT"):
        save_promptable(tmp_path / "teacher.safetensors", teacher, {})


@pytest.fixture(scope="module")
def saved(tmp_path_factory, student: SAM):
    path = tmp_path_factory.mktemp("saved") / "student.safetensors"
    save_promptable(path, student, {})
    return path


def altered(saved, path, change: Callable[[dict, dict], object]):
    with safe_open(saved, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["abbe-promptable"])
    change(tensors, description)
    save_file(tensors, path, {"abbe-promptable": json.dumps(description)})
    return path


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("format_version", 2, "format_version 2; this version of Abbe reads 1"),
        ("architecture", "promptable-vgg", "'promptable-vgg' is no promptable student"),
        ("architecture", "promptable-resnet18", "not those of promptable-resnet18. Missing"),
        ("side", 130, "side is 130 px"),
        ("side", "big", "lacks a proper 'side'"),
        ("neck", "giraffe", "neck 'giraffe'"),
        ("neck", "nanosam", "image_encoder.neck.places"),
    ],
)
def test_what_a_file_may_not_say(saved, tmp_path, field, value, words):
    path = altered(saved, tmp_path / "a.safetensors", lambda _, d: d.update({field: value}))
    with pytest.raises(InputError, match=r"a\.safetensors") as caught:
        load_promptable(path)
    assert words in str(caught.value)


def test_files_of_others_are_refused(saved, tmp_path):
    with pytest.raises(InputError, match=r"not a student saved by Abbe .*'abbe-promptable'"):
        load(saved)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not a promptable student saved by Abbe"):
        load_promptable(tmp_path / "other.safetensors")
    (tmp_path / "short.safetensors").write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"short\.safetensors: damaged"):
        load_promptable(tmp_path / "short.safetensors")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"architecture": "unet-resnet18"}, "'unet-resnet18' is no promptable student"),
        ({"architecture": "promptable-timm-nothing"}, "is no promptable student"),
        ({"side": 0}, "side is 0 px"),
        ({"side": 240}, "side is 240 px"),
        ({"neck": "long"}, "neck 'long': must be 'default' or 'nanosam'"),
        ({"encoder_weights": "sa-1b"}, "'sa-1b': must be 'random', 'imagenet'"),
        ({"architecture": "promptable-mobilesam", "neck": "nanosam"}, "a neck of its own"),
        ({"architecture": "promptable-mobilesam", "encoder_weights": "imagenet"}, "mobile_sam.pt"),
    ],
)
def test_choices_that_are_none(arguments, words):
    usual = {"architecture": SMALL, "side": SIDE, "encoder_weights": "random"}
    with pytest.raises(ConfigError) as caught:
        build_promptable(**(usual | arguments))  # pyright: ignore[reportArgumentType]
    assert words in str(caught.value)


def test_a_trunk_takes_weights_from_a_file(tmp_path):
    torch.manual_seed(1)
    whole = timm.create_model("resnet18")
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    sam = build_promptable(
        "promptable-resnet18", side=SIDE, encoder_weights=tmp_path / "resnet18.pth"
    )
    ours = sam.image_encoder.get_submodule("trunk.features.model.layer4").state_dict()
    theirs = whole.get_submodule("layer4").state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
