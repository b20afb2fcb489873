"""Networks trained here say what they are wherever they are loaded."""

import json

import pytest
import torch
from safetensors.torch import save_file

from abbe import teachers
from abbe.errors import InputError
from abbe.sam import Layout, build_sam, load_sam, save_sam
from abbe.sam.weights import STATED

TINY = Layout("vit", image_size=64, width=32, depth=2, heads=2, global_layers=(1,))
SAID = {
    "name": "a stand-in",
    "trained_on": "discs",
    "weights_licence": "mine",
    "training_data_licence": "yours",
    "stand_in": True,
}


def test_what_was_said_is_said_again_and_by_the_teacher_too(tmp_path):
    network = build_sam(TINY, seed=0)
    save_sam(tmp_path / "own.safetensors", network, **SAID)
    loaded, facts = load_sam(tmp_path / "own.safetensors")
    assert (facts.name, facts.weights_licence) == ("a stand-in", "mine")
    assert (facts.training_data_licence, facts.stand_in) == ("yours", True)
    assert facts.notes == ("trained by Abbe on discs",)
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
    source = teachers.sam(tmp_path / "own.safetensors", ("nucleus",), device="cpu").provenance
    assert source.stand_in
    assert source.teacher == "a stand-in"


def test_the_image_size_that_weights_do_not_tell_is_said(tmp_path):
    network = build_sam(Layout("tiny_vit", image_size=256), seed=0)
    save_sam(tmp_path / "mobile.safetensors", network, **SAID)
    assert load_sam(tmp_path / "mobile.safetensors")[0].side == 256


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({**SAID, "image_size": "64"})])
def test_damaged_metadata_is_refused(tmp_path, text):
    tensors = {k: v.contiguous() for k, v in build_sam(TINY, seed=0).state_dict().items()}
    save_file(tensors, tmp_path / "own.safetensors", metadata={STATED: text})
    with pytest.raises(InputError, match="metadata 'abbe-sam' is damaged"):
        load_sam(tmp_path / "own.safetensors")
