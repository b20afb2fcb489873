"""A teacher tuned by adapters: the file that comes out, where it goes, and what is refused."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import abbe
from drawn import draw_discs
from safetensors.torch import load_file

import abbe as in_python
from abbe.datasets.fingerprints import trained_on
from abbe.errors import ConfigError
from abbe.sam import LAYOUTS, build_sam, load_sam
from abbe.tuning.lora import add_adapters, merge_adapters
from abbe.tuning.tune import ASKED, Tuned

pytest.importorskip("peft")
pytestmark = pytest.mark.slow

TINY = ["--steps", 4, "--batch-size", 2, "--objects", 1, "--validate-every", 2, "--rank", 2,
        "--learning-rate", 0.01, "--precision", "fp32"]  # fmt: skip


@pytest.fixture(scope="module")
def tuned(pictures: Path, sam_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "discs"
    words = ["--teacher", sam_file, "--data.path", pictures, "--out", out, *TINY]
    assert abbe("tune-teacher", *words) == 0
    return out


def test_the_file_has_the_layers_it_began_with_and_only_what_was_tuned_has_changed(
    tuned: Path, sam_file: Path
) -> None:
    before, after = load_file(sam_file), load_file(tuned / "teacher.safetensors")
    assert {name: t.shape for name, t in after.items()} == {n: t.shape for n, t in before.items()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.endswith("attn.qkv.weight") for name in changed)
    assert any(name.endswith("attn.proj.weight") for name in changed)
    assert all(
        name.endswith(("attn.qkv.weight", "attn.proj.weight")) or name.startswith("mask_decoder.")
        for name in changed
    )
    assert not any(name.startswith("prompt_encoder.") for name in changed)


def test_what_was_learned_is_of_low_rank_and_in_its_place(tuned: Path, sam_file: Path) -> None:
    before, after = load_file(sam_file), load_file(tuned / "teacher.safetensors")
    name = next(n for n in before if n.endswith("blocks.0.attn.qkv.weight"))
    learned = (after[name] - before[name]).double()
    singular = torch.linalg.svdvals(learned)
    assert singular[1] > 1e-7
    assert singular[2] < 1e-5 * singular[0]  # rank 2, but for rounding


def test_it_says_where_it_comes_from_and_what_it_saw(tuned: Path, pictures: Path) -> None:
    network, facts = load_sam(tuned / "teacher.safetensors")
    assert network.side == 64
    assert not facts.stand_in  # as what it began with
    assert "tuned on" in facts.name
    assert "labelled images of" in facts.notes[-1]
    assert "with adapters (LoRA)" in facts.notes[-1]
    told = json.loads((tuned / "tuning.json").read_text())
    assert set(told["before"]) == set(told["after"]) == {"dice", "dice_point", "dice_mean"}
    assert told["before"] != told["after"]
    lines = (tuned / "training-images.txt").read_text().splitlines()
    index = (pictures / "index.csv").read_text()
    assert len(lines) == index.count(",train") + index.count(",val")
    log = [json.loads(line) for line in (tuned / "log.jsonl").read_text().splitlines()]
    assert list(log[-1]["validation"]) == ["dice_mean", "dice", "dice_point"]


def test_it_teaches_where_test_images_are_others(
    tuned: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = ["--teacher.kind", "sam", "--teacher.path", tuned / "teacher.safetensors",
               "--teacher.options", "prompts", "oracle_box"]  # fmt: skip
    out = ["--out", tmp_path / "t.zarr"]
    assert abbe("teach", "--data.path", pictures, *teacher, *out, "--allow-failed", 9) == 0
    assert "tuned on" in capsys.readouterr().out
    kept, known = (
        set((folder / "training-images.txt").read_text().split())
        for folder in (tmp_path / "t.zarr", tuned)
    )
    assert kept == known


def test_what_the_first_tuning_saw_is_no_test_of_the_second_and_is_handed_on(
    tuned: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = ["--teacher", tuned / "teacher.safetensors"]
    shutil.copytree(pictures, tmp_path / "turned")
    index = tmp_path / "turned" / "index.csv"
    swapped = {"train": "test", "test": "train"}
    lines = [line.rpartition(",") for line in index.read_text().splitlines()]
    index.write_text("".join(f"{a},{swapped.get(split, split)}\n" for a, _, split in lines))
    words = ["--data.path", tmp_path / "turned", "--out", tmp_path / "refused", *TINY]
    assert abbe("tune-teacher", *teacher, *words) == 1
    assert "was trained or validated on" in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()
    others = draw_discs(tmp_path / "others", seed=77)
    words = ["--data.path", others, "--out", tmp_path / "again", *TINY]
    assert abbe("tune-teacher", *teacher, *words) == 0
    first, second = (trained_on(folder) or set() for folder in (tuned, tmp_path / "again"))
    assert first
    assert first < second


def test_a_tuning_that_was_stopped_goes_on_to_the_same_weights(
    tuned: Path, pictures: Path, sam_file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from abbe.training import fit

    out = tmp_path / "parts"
    words = ["--teacher", sam_file, "--data.path", pictures, "--out", out, *TINY]
    validate = fit._Run.save

    def stopping(self: Any) -> None:
        validate(self)
        if self.step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit._Run, "save", stopping)
    assert abbe("tune-teacher", *words) == 130
    assert not (out / "teacher.safetensors").exists()
    monkeypatch.undo()
    assert abbe("tune-teacher", *words) == 1  # it must be said that it goes on
    assert abbe("tune-teacher", *words, "--resume", "--seed", 5) == 1  # and with the same
    assert abbe("tune-teacher", *words, "--resume") == 0
    whole, parts = (load_file(each / "teacher.safetensors") for each in (tuned, out))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not (out / "checkpoints").exists()
    bars = capsys.readouterr().err
    assert all(f"test images, {when} ━" in bars for when in ("before", "after"))
    made = (out / "teacher.safetensors").stat().st_mtime_ns
    assert abbe("tune-teacher", *words, "--resume") == 0  # nothing is left to do
    assert (out / "teacher.safetensors").stat().st_mtime_ns == made


def test_python_is_its_twin(tuned: Path, pictures: Path, sam_file: Path, tmp_path: Path) -> None:
    found = in_python.tune_teacher(
        sam_file, pictures, tmp_path / "own", steps=4, batch_size=2, objects=1, validate_every=2,
        rank=2, learning_rate=0.01, precision="fp32", progress=False,
    )  # fmt: skip
    told = json.loads((tuned / "tuning.json").read_text())
    assert (found.before, found.after) == (told["before"], told["after"])
    whole, own = load_file(tuned / "teacher.safetensors"), load_file(found)
    assert all(torch.equal(whole[name], own[name]) for name in whole)


def test_mobile_sams_attention_is_adapted_and_begins_as_it_was() -> None:
    layout = LAYOUTS["mobile"]
    network = build_sam(layout, seed=0).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    stage: Any = network.image_encoder.get_submodule("layers.1")
    tokens = torch.randn(1, 128, 14, 14, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = stage(tokens)
    parts = add_adapters(network, rank=4, alpha=8)
    assert len(parts) == 2 * 2 * 10  # A and B, qkv and proj, ten blocks with attention
    adapted: Any = network.image_encoder.get_submodule("base_model.model.layers.1")
    with torch.inference_mode():
        assert torch.equal(adapted(tokens), expected)
    merge_adapters(network)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_without_test_images_it_says_that_nothing_is_known(tmp_path: Path) -> None:
    assert "whether it is better is not known" in Tuned(tmp_path / "a", {}, {}, 3).summary()


def test_what_cannot_be_tuned_is_told(
    pictures: Path, sam_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    words = ["--data.path", pictures, "--out", tmp_path / "x"]
    assert abbe("tune-teacher", "--teacher", sam_file, *words, "--side", 100) == 1
    assert "side: must be a multiple of 64 px" in capsys.readouterr().err
    from abbe.students import build_promptable

    student = build_promptable("promptable-resnet18", side=64, encoder_weights="random")
    with pytest.raises(ConfigError, match="no attention"):
        add_adapters(student, 2, 4)
    monkeypatch.setattr("abbe.tuning.tune.picture_records", None)  # none is decoded before
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ASKED).write_text("{}")
    old = ["--data.path", pictures, "--out", tmp_path / "old", *TINY]
    assert abbe("tune-teacher", "--teacher", sam_file, *old) == 1
    assert "holds a tuning. Go on with --resume" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "peft", None)
    assert abbe("tune-teacher", "--teacher", sam_file, *words, *TINY) == 1
    assert "pip install 'abbe[lora]'" in capsys.readouterr().err
