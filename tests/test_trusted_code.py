"""Code that a file names is neither imported nor called, unless the command line allows it."""

import json
import sys
from pathlib import Path

import pytest
from commands import TINY, TISSUE, abbe

import abbe as toolkit
from abbe import config, datasets
from abbe.errors import ConfigError
from abbe.runs import build
from abbe.runs.elsewhere.evaluate import evaluate_run

MODULE = """
from pathlib import Path
Path(__file__).with_name("imported").touch()

def factory(command="touch called"):
    Path(__file__).with_name("called").touch()
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module that leaves a trace, and files that name it as the teacher."""
    (tmp_path / "foreign_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("foreign_module", None)
    values = config.parse(
        {
            "recipe": "cmkd",
            "out": str(tmp_path / "run"),
            "data": {"kind": "simulated", "count": 16, "size": 64, "fractions": [0.25, 0.25, 0.5]},
            "teacher": {"kind": "torch", "path": "foreign_module:factory"},
            "student": {
                "architecture": "unet-mobilenetv3",
                "encoder_weights": "random",
                "input_channels": ["nucleus"],
            },
        },
        "here",
    )
    config.save(values, tmp_path / "experiment.yaml")
    run = tmp_path / "finished"
    run.mkdir()
    config.save(values, run / "config.yaml")
    summary = {
        "recipe": "cmkd",
        "title": "t",
        "models": {"student": {"metrics": {"dice": {"mean": 0.8, "low": 0.7, "high": 0.9}}}},
        "data": {"name": "d"},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def traces(folder: Path) -> list[str]:
    return [name for name in ("imported", "called") if (folder / name).exists()]


TYPED = ["--teacher.kind", "torch", "--teacher.path", "foreign_module:factory"]
WORDS = {
    "teach": ["teach", "--out", "{}/t.zarr", *TISSUE, *TYPED],
    "teach --plan": ["teach", "--out", "{}/t.zarr", *TISSUE, *TYPED, "--plan"],
    "distill": ["distill", "{}/experiment.yaml", *TINY],
    "distill --resume": ["distill", "{}/finished/config.yaml", "--resume"],
    "curve": ["curve", "{}/experiment.yaml"],
    "evaluate": ["evaluate", "{}/finished", "--name", "x", *TISSUE],
    "evaluate --distil": ["evaluate", "{}/finished", "--name", "x", *TISSUE, "--distil"],
}


@pytest.mark.parametrize("words", WORDS.values(), ids=list(WORDS))
def test_no_verb_imports_what_a_file_names(foreign: Path, capsys, words):
    before = sorted(path.name for path in foreign.rglob("*"))
    assert abbe(*(word.replace("{}", str(foreign)) for word in words)) == 1
    said = capsys.readouterr().err
    assert "teacher.path: 'foreign_module:factory' names Python code" in said
    assert "--trust-code" in said
    assert sorted(path.name for path in foreign.rglob("*")) == before
    assert "foreign_module" not in sys.modules


def test_an_experiment_cannot_trust_itself(foreign: Path, capsys):
    path = foreign / "experiment.yaml"
    path.write_text(path.read_text() + "trust_code: true\n")
    assert abbe("distill", path) == 1
    assert "trust_code: unknown key" in capsys.readouterr().err


def test_with_trust_it_is_called_and_must_give_a_module(foreign: Path, capsys):
    words = WORDS["teach"], "--trust-code"
    assert abbe(*(word.replace("{}", str(foreign)) for word in words[0]), words[1]) == 1
    assert "gives a NoneType, not a torch.nn.Module" in capsys.readouterr().err
    assert traces(foreign) == ["imported", "called"]


def test_python_asks_for_trust_too(foreign: Path):
    tissue = datasets.simulated_tissue(4, size=64, seed=5)
    experiment = config.load(foreign / "experiment.yaml")
    with pytest.raises(ConfigError, match="trust_code=True"):
        build.build_teacher(experiment.teacher, tissue)
    with pytest.raises(ConfigError, match="trust_code=True"):
        evaluate_run(foreign / "finished", config.Data(kind="simulated", count=4), name="x")
    with pytest.raises(ConfigError, match="trust_code=True"):
        toolkit.distill(
            "cmkd", tissue, {"kind": "torch", "path": "foreign_module:factory"},
            student="unet-mobilenetv3", input_channels=["nucleus"], encoder_weights="random",
            out=foreign / "out",
        )  # fmt: skip
    assert traces(foreign) == []
