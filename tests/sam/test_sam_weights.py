"""Weights in every form they come in, and every way in which they can be wrong."""

import shutil
from dataclasses import replace

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file
from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamVisionConfig
from transformers import SamPromptEncoderConfig as PromptConfig

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.sam import LAYOUTS, Layout, Prompts, build_sam, load_sam, network


@pytest.fixture(scope="module")
def sam(small, lively):
    return lively(small, 9)


def assert_same(loaded, sam):
    expected = sam.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    assert not loaded.training


WRAPPINGS = {
    "as it is": lambda state: state,
    "micro-sam": lambda state: {
        "model_state": {f"sam.{name}": tensor for name, tensor in state.items()},
        "decoder_state": {"out.weight": torch.zeros(1)},
        "iteration": 7,
    },
    "several processes": lambda state: {
        "model_state": {f"module.sam.{name}": tensor for name, tensor in state.items()}
    },
    "with pixels": lambda state: (
        state
        | {
            "pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(-1, 1, 1),
            "pixel_std": torch.tensor([58.395, 57.12, 57.375]).view(-1, 1, 1),
        }
    ),
    "half precision": lambda state: {name: tensor.half() for name, tensor in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_files_of_torch(wrapping, sam, small, tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(WRAPPINGS[wrapping](sam.state_dict()), path)
    loaded, facts = load_sam(path)
    if wrapping == "half precision":
        assert loaded.image_encoder.pos_embed.dtype == torch.float32
    else:
        assert_same(loaded, sam)
    assert facts.layout == small
    assert (facts.name, facts.sha256) == ("mine", sha256_of_file(path))
    assert facts.weights_licence == facts.training_data_licence == "not stated"
    assert facts.notes == ()


def test_a_file_of_an_older_torch(sam, tmp_path):
    torch.save(sam.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(load_sam(str(tmp_path / "old.pth"))[0], sam)


def test_safetensors_and_changing_what_was_loaded_leaves_the_file(sam, tmp_path):
    for name, write in (("a.safetensors", save_file), ("a.pth", torch.save)):
        write(sam.state_dict(), tmp_path / name)
        before = sha256_of_file(tmp_path / name)
        loaded, _ = load_sam(tmp_path / name)
        assert_same(loaded, sam)
        with torch.no_grad():
            for parameter in loaded.parameters():
                parameter.zero_()
        assert sha256_of_file(tmp_path / name) == before


def test_published_files_are_known_by_their_digest(sam, tmp_path, monkeypatch):
    torch.save(sam.state_dict(), tmp_path / "renamed.pth")
    published = "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"
    monkeypatch.setattr("abbe.sam.weights.sha256_of_file", lambda path: published)
    _, facts = load_sam(tmp_path / "renamed.pth")
    assert (facts.name, facts.weights_licence) == ("SAM ViT-H", "Apache-2.0")
    assert facts.training_data_licence == "SA-1B Dataset Research License"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reduced SamModel of transformers, as save_pretrained leaves it."""
    path = tmp_path_factory.mktemp("hub") / "sam-small"
    vision = SamVisionConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=256,
        global_attn_indexes=[1],
        window_size=14,
        mlp_dim=256,
        initializer_range=0.02,
    )
    config = SamConfig(
        vision_config=vision,
        prompt_encoder_config=PromptConfig(image_size=256),
        mask_decoder_config=SamMaskDecoderConfig(layer_norm_eps=1e-5),  # as SAM's own code
    )
    torch.manual_seed(3)
    model = SamModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += (0.3 if "rel_pos" in name else 0.02) * torch.randn_like(parameter)
    model.save_pretrained(path)
    (path / "README.md").write_text("---\nlicense: bsd-3-clause\ntags:\n- vision\n---\nA card.\n")
    return path, model


@torch.no_grad()
def test_a_folder_of_transformers_gives_what_transformers_gives(folder, relative_error):
    path, model = folder
    sam, facts = load_sam(path)
    assert facts.layout == Layout(
        "vit", image_size=256, width=64, depth=2, heads=2, global_layers=(1,)
    )
    assert (facts.name, facts.weights_licence) == ("sam-small", "bsd-3-clause")
    assert facts.sha256 == sha256_of_file(path / "model.safetensors")
    images, points = torch.randn(1, 3, 256, 256), torch.rand(4, 2, 2) * 256
    labels, corners = torch.tensor([[1, 0]] * 4), torch.rand(4, 2, 2) * 256
    boxes = corners.sort(dim=1).values.flatten(1)
    embedding = sam.encode(images)
    theirs = model.get_image_embeddings(images)
    assert relative_error(embedding, theirs) <= 1e-4
    for ours, given in (
        (Prompts(points, labels), {"input_points": points[None], "input_labels": labels[None]}),
        (Prompts(boxes=boxes), {"input_boxes": boxes[None]}),
    ):
        for multimask in (True, False):
            logits, iou = sam.decode(embedding, ours, multimask=multimask)
            expected = model(image_embeddings=theirs, multimask_output=multimask, **given)
            assert relative_error(logits, expected.pred_masks[0]) <= 1e-4
            assert relative_error(iou, expected.iou_scores[0]) <= 1e-4


def test_weights_in_parts_and_in_the_older_form(folder, tmp_path):
    whole, _ = load_sam(folder[0])
    parts, older = tmp_path / "parts", tmp_path / "older"
    folder[1].save_pretrained(parts, max_shard_size="5MB")
    assert len(list(parts.glob("model-*-of-*.safetensors"))) > 1
    older.mkdir()
    shutil.copy(folder[0] / "config.json", older)
    torch.save(folder[1].state_dict(), older / "pytorch_model.bin")
    for path in (parts, older):
        loaded, facts = load_sam(path)
        assert_same(loaded, whole)
        assert len(facts.sha256) == 64


@torch.no_grad()
def test_another_image_size_resizes_positions_as_sam_does(
    sam, small, oracle_of, tmp_path, relative_error
):
    torch.save(sam.state_dict(), tmp_path / "a.pth")
    wanted = replace(small, image_size=384)
    loaded, facts = load_sam(tmp_path / "a.pth", layout=wanted)
    assert facts.layout == loaded.layout == wanted
    assert "from images of 256 px" in facts.notes[0]
    oracle = oracle_of(loaded)
    table = torch.nn.Parameter(sam.image_encoder.blocks[1].attn.rel_pos_h.detach().clone())
    across = torch.nn.Parameter(sam.image_encoder.blocks[1].attn.rel_pos_w.detach().clone())
    attention = oracle.image_encoder.blocks[1].attn
    attention.rel_pos_h, attention.rel_pos_w = table, across  # too short: it interpolates itself
    images = torch.randn(1, 3, 384, 384)
    assert relative_error(loaded.encode(images), oracle.image_encoder(images)) <= 1e-4


def test_a_layout_can_be_named_or_given(small, tmp_path):
    wide = Layout("vit", image_size=64, width=768, depth=1, heads=12, window=2)
    torch.save(build_sam(wide, 0).state_dict(), tmp_path / "wide.pth")
    with pytest.raises(InputError, match=r"Missing: image_encoder.blocks.1.* and \d+ more"):
        load_sam(tmp_path / "wide.pth")  # the width of ViT-B is taken for a ViT-B
    assert load_sam(tmp_path / "wide.pth", layout=wide)[1].layout == wide
    with pytest.raises(ConfigError, match="no layout is named 'vit_s'"):
        load_sam(tmp_path / "wide.pth", layout="vit_s")


def test_mobile_sam_lacking_the_counters_of_early_torch(tmp_path):
    state = network(LAYOUTS["mobile"]).state_dict()
    kept = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    torch.save(kept, tmp_path / "m.pt")
    sam, facts = load_sam(tmp_path / "m.pt", layout="mobile")
    assert facts.layout == LAYOUTS["mobile"]
    assert sam.state_dict()["image_encoder.patch_embed.seq.0.bn.num_batches_tracked"] == 0


def changed(state, change):
    state = dict(state)
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("image_encoder.neck.0.weight"), "Missing: image_encoder.neck.0.weight."),
        (lambda s: s.update(head=torch.zeros(3)), "Not expected: head."),
        (
            lambda s: s.update({"image_encoder.neck.0.weight": torch.zeros(9)}),
            r"Other shape: image_encoder.neck.0.weight \(9,\) instead of \(256, 96, 1, 1\)",
        ),
        (lambda s: s.update(pixel_mean=torch.tensor([0.0, 0, 0])), "Not expected: pixel_mean."),
        (lambda s: s.pop("image_encoder.pos_embed"), "pos_embed is missing .* It holds"),
        (
            lambda s: [s.pop(name) for name in list(s) if "decoder" in name],
            r"Missing: mask_decoder.* and \d\d\d more",
        ),
    ],
)
def test_incomplete_and_foreign_weights_are_refused_by_name(change, says, sam, tmp_path):
    torch.save(changed(sam.state_dict(), change), tmp_path / "a.pth")
    with pytest.raises(InputError, match=says) as raised:
        load_sam(tmp_path / "a.pth")
    assert str(tmp_path / "a.pth") in str(raised.value)


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save(torch.nn.Conv2d(3, 8, 3).state_dict(), tmp_path / "conv.pth")
    with pytest.raises(InputError, match=r"not the weights of a SAM .* 2 tensors: weight, bias"):
        load_sam(tmp_path / "conv.pth")


def test_damaged_and_dangerous_files_are_refused(sam, tmp_path):
    torch.save(sam.state_dict(), tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    torch.save({"model_state": sam.state_dict(), "net": Prompts}, tmp_path / "code.pth")
    with pytest.raises(InputError, match=r"cut.pth: damaged"):
        load_sam(tmp_path / "cut.pth")
    with pytest.raises(InputError, match="holds more than tensors"):
        load_sam(tmp_path / "code.pth")
    with pytest.raises(InputError, match=r"gone.pth: no such file"):
        load_sam(tmp_path / "gone.pth")
    with pytest.raises(InputError, match=r"weights/gone.pth: no such file"):
        load_sam("weights/gone.pth")


def test_folders_of_something_else_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no weights; looked for model.safetensors"):
        load_sam(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "sam2"}')
    with pytest.raises(InputError, match=r"config.json says model_type 'sam2'; 'sam' is needed"):
        load_sam(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json: damaged"):
        load_sam(tmp_path)


def test_without_a_network_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"'facebook/sam-vit-base' is no file or folder here") as e:
        load_sam("facebook/sam-vit-base")
    assert "give the path of its folder" in str(e.value)
