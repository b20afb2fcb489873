"""Run folders with damaged files: reports name what they leave out; no verb shows a traceback."""

import io
import zipfile
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from commands import abbe
from made_run import make_run

from abbe.errors import InputError
from abbe.files.arrays import read_arrays
from abbe.runs.folder import open_run
from abbe.summary import read_summary

DEEP = "[" * 100_000
BRACKETS = "[" * 5_000


def npz_bytes() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, image=np.full((16, 16, 3), 7, np.uint8), truth=np.eye(16, dtype=int))
    return file.getvalue()


def corrupt_npz() -> bytes:
    """The compressed bytes of its first array are no longer what zlib reads."""
    content = bytearray(npz_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        begin = archive.infolist()[0].header_offset + 60
    content[begin : begin + 8] = b"\xff" * 8
    return bytes(content)


def encrypted_npz() -> bytes:
    content = bytearray(npz_bytes())
    content[6] |= 1  # the flag of the first member, and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", images=8, examples=1, size=32, steps=10)


EXAMPLE = "examples/0-best-a.npz"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (EXAMPLE, b"", "File is not a zip file"),
        (EXAMPLE, corrupt_npz(), "Error -3 while decompressing data"),
        (EXAMPLE, encrypted_npz(), "password required"),
        (EXAMPLE, npz_bytes()[:200], "File is not a zip file"),
        ("environment.json", DEEP.encode(), "it is nested too deeply"),
        ("environment.json", b'{"cpu": ' + b"[" * 40 + b"]" * 40 + b"}", "it is nested too deeply"),
        ("environment.json", b'{"resumed": 3}', "'resumed' is no list"),
        ("environment.json", b"\xff\xfe", "can't decode"),
        ("config.yaml", b"[1,2", "it is no YAML"),
        ("config.yaml", BRACKETS.encode(), "it is nested too deeply"),
        ("config.yaml", b"- 1", "expected keys and values, found list"),
    ],
)
def test_a_damaged_part_is_named_and_left_out(
    run: Path, capsys, name: str, content: bytes, reason: str
) -> None:
    (run / "examples").mkdir(exist_ok=True)
    (run / name).write_bytes(content)
    assert abbe("report", run) == 0
    page = unescape((run / "report.html").read_text("utf-8"))
    assert f"{name} could not be read and is left out here: " in page
    assert reason in page
    assert "Traceback" not in capsys.readouterr().err
    if name == EXAMPLE:
        with pytest.raises(InputError, match=r"0-best-a\.npz: damaged \("):
            _ = open_run(run).examples


def test_damaged_lines_of_the_log_are_counted(run: Path) -> None:
    with open(run / "log.jsonl", "a") as file:
        file.write(DEEP + "\n")
        file.write('{"model": "student", "step": 3, "steps": 9, "validation": [1, 2]}\n')
    assert abbe("report", run) == 0
    assert "1 line(s) of log.jsonl are damaged" in (run / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DEEP, "this file is damaged (it is nested too deeply)"),
        ("{}", "this file is damaged (it tells of no model)"),
        ("", "this file is damaged (Expecting value"),
    ],
)
@pytest.mark.parametrize("verb", ["report", "export", "evaluate"])
def test_a_damaged_summary_is_refused(run: Path, capsys, verb: str, text: str, reason: str) -> None:
    (run / "summary.json").write_text(text)
    words = ["--name", "a", "--data.path", str(run)] if verb == "evaluate" else []
    assert abbe(verb, run, *words) == 1
    assert f"{run / 'summary.json'}: {reason}" in capsys.readouterr().err
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("text", ["[1,2", BRACKETS])
def test_a_damaged_experiment_is_named(run: Path, capsys, text: str) -> None:
    (run / "config.yaml").write_text(text)
    (run / "student.safetensors").touch()
    for words in (["export", run], ["evaluate", run, "--name", "a", "--data.path", run]):
        assert abbe(*words) == 1
        assert f"{run / 'config.yaml'}: not readable as YAML" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_said_not_to_be(run: Path, capsys) -> None:
    for verb in ("report", "export"):
        assert abbe(verb, run.parent / "rum") == 1
        said = capsys.readouterr().err
        assert f"{run.parent / 'rum'}: there is no such folder" in said
        assert f"Did you mean {run}/?" in said
        assert abbe(verb, run.parent / "elsewhere" / "a") == 1
        said = capsys.readouterr().err
        assert "there is no such folder" in said
        assert "mean" not in said
    with pytest.raises(InputError, match=r"summary\.json: this is a file"):
        read_summary(run / "summary.json")


def test_arrays_that_would_fill_the_memory_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, image=np.zeros(2**22, np.uint8))
    with pytest.raises(ValueError, match="unpacks to 4,194,432 bytes, and 1,000 are the most"):
        read_arrays(path, largest=1000)
    assert read_arrays(path)["image"].shape == (2**22,)
