"""The weights of a run are those that it trained: its summary has their checksums."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import TISSUE, abbe
from safetensors.torch import load_file

from abbe import students
from abbe.errors import InputError
from abbe.runs.folder import Run
from abbe.students.files.unchanged import sha256_of_tensors
from abbe.summary import read_summary
from abbe.teachers.run import run as run_teacher

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    """Of a run, with the files of a second seed: those of the first."""
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("package", "evaluations"))
    (folder / "seeds" / "1").mkdir(parents=True)
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    for name in ("student", "twin"):
        shutil.copy(folder / f"{name}.safetensors", folder / "seeds" / "1")
        known = summary["weights_sha256"]
        known[f"seeds/1/{name}.safetensors"] = known[f"{name}.safetensors"]
    summary["evidence"]["seeds"] = [0, 1]
    (folder / "summary.json").write_text(json.dumps(summary), "utf-8")
    return folder


def change(path: Path) -> None:
    """Eight bytes of a tensor; the file is read as before."""
    content = bytearray(path.read_bytes())
    content[-8:] = bytes(255 - byte for byte in content[-8:])
    path.write_bytes(content)


def evaluate(folder: Path, name: str = "again") -> int:
    return abbe("evaluate", folder, *TISSUE, "--name", name, "--allow-overlap")


def test_the_summary_has_the_checksum_of_each_network(run: Run) -> None:
    known = run.summary.weights_sha256
    assert sorted(known) == ["student.safetensors", "twin.safetensors"]
    for name, digest in known.items():
        assert digest == sha256_of_tensors(load_file(run.folder / name))


def test_names_types_shapes_and_values_count() -> None:
    tensors = {"a": torch.ones(2, 3), "b": torch.tensor(4, dtype=torch.int64)}
    others = [
        {"a": torch.ones(3, 2), "b": tensors["b"]},
        {"a": torch.ones(2, 3).int().view(torch.float32), "b": tensors["b"]},
        {"a": torch.ones(2, 3), "b": tensors["b"].int()},
        {"a": torch.ones(2, 3), "c": tensors["b"]},
        {"a": torch.ones(2, 3, dtype=torch.bfloat16), "b": tensors["b"]},
    ]
    digests = {sha256_of_tensors(each) for each in (tensors, *others)}
    assert len(digests) == 6
    assert sha256_of_tensors(dict(reversed(tensors.items()))) == sha256_of_tensors(tensors)
    turned = {"a": torch.ones(3, 2).T, "b": tensors["b"]}
    assert sha256_of_tensors(turned) == sha256_of_tensors(tensors)


def test_changed_weights_are_refused_by_whoever_reads_them(copy: Path, capsys) -> None:
    path = copy / "student.safetensors"
    change(path)
    reason = f"{path}: its weights are not those that the run trained"
    assert evaluate(copy) == 1
    assert reason in capsys.readouterr().err
    assert abbe("export", copy, "--out", copy / "package") == 1
    assert reason in capsys.readouterr().err
    for place in (copy, path):
        with pytest.raises(InputError, match="its weights are not those that the run trained"):
            run_teacher(place)
    with pytest.raises(InputError, match="its weights are not those that the run trained"):
        students.build(
            "unet-mobilenetv3", in_channels=1, outputs=("foreground",), encoder_weights=path
        )
    assert abbe("distill", copy, "--resume") == 0  # written again
    students.load_any(path)


def test_files_of_other_seeds_are_checked_too(copy: Path, capsys) -> None:
    path = copy / "seeds" / "1" / "twin.safetensors"
    content = path.read_bytes()
    change(path)
    assert evaluate(copy) == 1
    assert f"{path}: its weights are not those" in capsys.readouterr().err
    path.write_bytes(content[:100])
    assert evaluate(copy) == 1
    assert f"{path}: damaged or not a safetensors file" in capsys.readouterr().err
    path.unlink()
    assert evaluate(copy) == 1
    assert f"{path}: this network of the run is missing" in capsys.readouterr().err


def test_a_run_whose_student_was_taken_away_says_so(copy: Path, capsys) -> None:
    (copy / "student.safetensors").unlink()
    reason = f"{copy / 'student.safetensors'}: this network of the run is missing"
    for words in (["--out", copy / "a"], ["--out", copy / "a", "--bioimageio", copy / "a.zip"]):
        assert abbe("export", copy, *words) == 1
        assert reason in capsys.readouterr().err
    assert evaluate(copy) == 1
    assert reason in capsys.readouterr().err


def test_a_run_without_checksums_is_read_as_before(copy: Path) -> None:
    summary = json.loads((copy / "summary.json").read_text("utf-8"))
    del summary["weights_sha256"]
    summary["evidence"]["seeds"] = [0]
    (copy / "summary.json").write_text(json.dumps(summary), "utf-8")
    change(copy / "student.safetensors")
    assert read_summary(copy).format == 2
    assert evaluate(copy) == 0
