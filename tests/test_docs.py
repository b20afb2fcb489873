"""The pages of documentation: those that were promised exist, and their code runs."""

import re
from pathlib import Path

import pytest
from docs_blocks import run_blocks

from abbe.recipes import shipped

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = ("pathology.md",)
"""Needs a slide: tests/runtime/test_pathology_page.py."""
WITH_CODE = [
    page for page in PAGES if "```python" in page.read_text("utf-8") and page.name not in ELSEWHERE
]


def test_the_promised_pages_exist():
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert names >= {
        "README.md",
        "docs/architecture.md",
        "docs/cmkd.md",
        "docs/python.md",
        "docs/targets.md",
        "docs/teachers.md",
        "docs/simulator.md",
    }


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page, tmp_path, capsys):
    assert run_blocks(page, tmp_path)
    if page.name == "python.md":
        number = r"([+-]\d+\.\d+)"
        line = rf"^gain in Dice: {number} \(95 % interval {number} to {number}\)$"
        (told,) = re.findall(line, capsys.readouterr().out, re.MULTILINE)
        gain, low, high = map(float, told)
        assert -1 <= gain <= 1  # few slides and seeds: the limits may lie beyond
        assert low < gain < high


def test_pages_with_code_are_those_expected():
    expected = {"cmkd.md", "python.md", "targets.md", "teachers.md", "simulator.md"}
    assert {page.name for page in WITH_CODE} >= expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
    absent = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert absent == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_name_verbs_and_options_that_exist(page, capsys):
    from commands import abbe

    help_of = {}
    for command in commands_of(page):
        named = re.findall(r"^abbe (data \w+|(?:distill|curve) \S+|[\w-]+)", command)
        verb = tuple(named[0].split())
        if verb[0] in ("distill", "curve"):
            recipe = verb[1] if verb[1] in shipped.names() else recipe_of_page(page)
            verb = (verb[0], recipe, "--help-all")
        if verb not in help_of:
            assert abbe(*verb, *(() if verb[-1] == "--help-all" else ("--help",))) == 0
            help_of[verb] = capsys.readouterr().out
        for option in re.findall(r"--[a-z][\w.-]*", command):
            assert re.search(rf"{re.escape(option)}\b", help_of[verb]), f"{command}: {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_runs_of_a_page_say_what_their_student_begins_from(page):
    """There is no default; a command with … is part of one."""
    text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))
    commands = re.findall(
        r"^.*\babbe (?:distill|curve) (?:cmkd|rckd|supervised) --[a-gi-z].*$", text, re.M
    )
    assert [each for each in commands if "--student.encoder-weights" not in each] == []


def recipe_of_page(page: Path) -> str:
    """The recipe of a run or a file that a page names by a path."""
    return page.stem if page.stem in ("kdsam", "rckd") else "cmkd"


def commands_of(page: Path) -> list[str]:
    """The ``abbe`` commands in a page's shell blocks, each on one line."""
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    text = re.sub(r"\\\n\s*", "", "\n".join(blocks))
    return [line.partition("#")[0] for line in text.splitlines() if line.startswith("abbe ")]
