"""What keeps the source readable: short functions, few parameters by position."""

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "abbe"
LONGEST = 60
"""Lines of a function without its docstring; a longer one says why, ``# long: REASON`` above it."""
MOST_BY_POSITION = 7

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def functions() -> list[tuple[str, Function, list[str]]]:
    """Each as file and name, with its tree and the lines of its file."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text("utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function):
                found.append((f"{path.relative_to(SOURCE).as_posix()} {node.name}", node, lines))
    return found


def length_of(node: Function) -> int:
    docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
    lines = _lines(node)
    return lines if docstring is None else lines - _lines(docstring)


def _lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def reason_of(node: Function, lines: Sequence[str]) -> str:
    """What stands behind ``# long:`` on the line above the function and its decorators."""
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    above = lines[first - 2].strip() if first > 1 else ""
    return above.removeprefix("# long:").strip() if above.startswith("# long:") else ""


def test_long_functions_say_why():
    long = {
        name
        for name, node, lines in functions()
        if length_of(node) > LONGEST and not reason_of(node, lines)
    }
    assert sorted(long) == []


def test_a_reason_is_given_only_where_one_is_needed():
    idle = [
        name
        for name, node, lines in functions()
        if reason_of(node, lines) and length_of(node) <= LONGEST
    ]
    assert idle == []


def test_few_parameters_go_by_position():
    many = {name for name, node, _ in functions() if _by_position(node.args) > MOST_BY_POSITION}
    assert sorted(many) == []


def _by_position(arguments: ast.arguments) -> int:
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_the_measures_see_what_they_should():
    text = "@a\ndef f(self, b, c, *, d):\n    '''x\n    y'''\n    return 1\n"
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert (length_of(node), _by_position(node.args)) == (2, 2)
    assert reason_of(node, text.splitlines()) == ""
    marked = ast.parse("# long: it is a table\n" + text).body[0]
    assert isinstance(marked, ast.FunctionDef)
    assert reason_of(marked, ["# long: it is a table", *text.splitlines()]) == "it is a table"


ASKED = ("task", "recipe")
NAMED = {
    "cli/serve/__init__.py": "asks by prompts, of a run before it is loaded",
    "recipes/encoder_probes.py": "a key of the experiment that says what a probe stands beside",
    "config/methods.py": "two keys of one section that do not go together",
}
"""Files that compare the name of a task or recipe, and why."""


def test_nobody_asks_a_task_or_recipe_for_its_name():
    """What differs is a question to the task, the recipe or the package's traits."""
    asking = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Compare | ast.Match) and _compares_names(node)
    }
    assert asking == set(NAMED)


def _compares_names(node: ast.Compare | ast.Match) -> bool:
    if isinstance(node, ast.Match):
        return _is_name(node.subject)
    sides = [node.left, *node.comparators]
    texts = [each for side in sides for each in ast.walk(side) if isinstance(each, ast.Constant)]
    return any(map(_is_name, sides)) and any(isinstance(each.value, str) for each in texts)


def _is_name(side: ast.expr) -> bool:
    """Whether it is ``task``, ``run.task``, ``facts["task"]`` or ``facts.get("task")``."""
    if isinstance(side, ast.Attribute) and side.attr == "value":
        side = side.value
    if isinstance(side, ast.Name):
        return side.id in ASKED
    if isinstance(side, ast.Attribute):
        return side.attr in ASKED
    key = side.slice if isinstance(side, ast.Subscript) else None
    if isinstance(side, ast.Call) and isinstance(side.func, ast.Attribute) and side.args:
        key = side.args[0] if side.func.attr == "get" else None
    return isinstance(key, ast.Constant) and key.value in ASKED


def test_names_are_seen_however_they_are_asked_for():
    asked = ["task == 'a'", "x.recipe in ('a', 'b')", "x['task'] != 'a'", "x.get('recipe') == 'a'",
             "choices['recipe'].value == 'a'"]  # fmt: skip
    for text in asked:
        node = ast.parse(text, mode="eval").body
        assert isinstance(node, ast.Compare)
        assert _compares_names(node), text
    for text in ["kind == 'a'", "task == other", "name in tasks"]:
        node = ast.parse(text, mode="eval").body
        assert isinstance(node, ast.Compare)
        assert not _compares_names(node), text
