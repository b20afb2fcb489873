"""Tiny runs that several tests look at, trained once."""

from pathlib import Path

import pytest
from commands import TINY, TISSUE, TWIN_ALONE, abbe

from abbe.runs.folder import Run, open_run


@pytest.fixture(scope="session")
def teacher_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished supervised run that sees nucleus and membrane."""
    out = tmp_path_factory.mktemp("runs") / "teacher"
    sees = ["--student.sees", "nucleus", "membrane"]
    assert abbe("distill", "supervised", *TISSUE, *TINY, *sees, "--out", out) == 0
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
