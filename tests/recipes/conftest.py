"""Tiny runs that several tests look at, trained once."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from commands import TINY, TISSUE, TWIN_ALONE, abbe
from drawn import draw_discs, draw_tiles, random_sam

from abbe.runs.folder import Run, open_run


@pytest.fixture(scope="session")
def teacher_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished supervised run that sees nucleus and membrane."""
    out = tmp_path_factory.mktemp("runs") / "teacher"
    input_channels = ["--student.input-channels", "nucleus", "membrane"]
    long = ["--training.steps", "16"]  # until it tells cells from what lies between them
    assert abbe("distill", "supervised", *TISSUE, *TINY, *input_channels, *long, "--out", out) == 0
    return out


@pytest.fixture(scope="session")
def from_teacher(teacher_run: Path) -> list[str]:
    """Arguments of a CMKD run with that teacher, which keeps two of four training labels."""
    teacher = ["--teacher.kind", "run", "--teacher.path", str(teacher_run)]
    return ["distill", "cmkd", *TISSUE, *TINY, *teacher, *TWIN_ALONE, "--data.labelled", "2"]


@pytest.fixture(scope="session")
def run(from_teacher: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished CMKD run with student, twin and teacher."""
    out = tmp_path_factory.mktemp("runs") / "student"
    assert abbe(*from_teacher, "--out", out) == 0
    return open_run(out)


@pytest.fixture(scope="session")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles of two classes, others to pretrain on, and a teacher's masks; see `draw_tiles`."""
    return draw_tiles(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of discs with masks; see `draw_discs`."""
    return draw_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="session")
def sam_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a tiny SAM."""
    return random_sam(tmp_path_factory.mktemp("sam") / "tiny_random.safetensors", seed=2)


@pytest.fixture
def steps_taken(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many steps were computed, by network and stage; none of a stage that is taken over."""
    from abbe.training import fit

    counts: Counter[str] = Counter()
    whole = fit._Run.train_step

    def counted(self: Any, batch: Any) -> float:
        counts[f"{self.log.model} · {self.stage.name}"] += 1
        return whole(self, batch)

    monkeypatch.setattr(fit._Run, "train_step", counted)
    return counts
