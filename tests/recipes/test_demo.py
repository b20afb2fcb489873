"""The demo, as small as it goes."""

import hashlib
from pathlib import Path

import pytest
import yaml
from commands import abbe, told

from abbe import config
from abbe.cli.demo import demo
from abbe.recipes import shipped
from abbe.runs.folder import open_run


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_the_demo_trains_its_teacher_first_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    for path in shipped.FOLDER.glob("demo*.yaml"):
        values = config.read_values(path)
        values["data"] |= {"count": 16, "size": 64, "seed": 5, "fractions": [0.25, 0.25, 0.5]}
        values["data"] |= {"labelled": 2} if "labelled" in values["data"] else {}
        values["student"] |= {"architecture": "unet-mobilenetv3"}
        values["training"] |= {"steps": 2, "batch_size": 2, "crop": 32, "workers": 0}
        text = yaml.safe_dump(values)
        (tmp_path / path.name).write_text(text)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert abbe("demo", "--out", tmp_path / "demo") == 0
    shown = capsys.readouterr().out
    for word in ("teacher", "student", "twin", "gain", "retention", "Simulated tissue. Report: "):
        assert word in shown
    report = Path(shown.strip().rpartition("Report: ")[2])
    assert report.is_file()
    summary = told(open_run(tmp_path / "demo" / "student"))
    assert summary["teacher_channels"] == ["nucleus", "membrane", "cytoplasm"]
    assert summary["student_channels"] == ["nucleus"]
    before = sha256(report)
    assert demo(tmp_path / "demo").report == report
    assert sha256(report) == before  # finished: nothing is done again


def test_the_demo_that_is_shipped_holds_its_student_against_both_baselines_from_two_seeds():
    experiment = config.parse(config.read_values(shipped.recipe_path("demo")), "demo")
    assert len(experiment.all_seeds) >= 2
    assert experiment.compared_with == ("supervised", "twin")
