"""Who may import whom, and what must load without torch (design: one way, from verbs to pixels)."""

import ast
import os
import re
import resource
import subprocess
import sys
from collections.abc import Collection, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "abbe"

BELOW = {
    "caveats",
    "cluster",
    "errors",
    "files",
    "foreign_text",
    "in_words",
    "machine",
    "near",
    "network_size",
    "notebooks",
    "object_types",
    "progress",
    "registry",
    "remote",
    "summary",
    "telemetry",
    "__version__",
}
ROOMS = {
    "caveats": {"in_words", "summary"},
    "cluster": {"__version__", "errors", "files", "in_words", "machine", "near"},
    "registry": {"errors"},
    "remote": {"errors", "files"},
    "summary": {"errors", "files", "near"},
    "errors": set(),
    "files": {"errors", "foreign_text", "near"},
    "foreign_text": set(),
    "in_words": set(),
    "machine": {"errors", "in_words"},
    "near": set(),
    "object_types": set(),
    "network_size": set(),
    "notebooks": set(),
    "progress": {"foreign_text"},
    "telemetry": set(),
    "imaging": BELOW,
    "targets": BELOW,
    "runtime": BELOW | {"imaging"},
    "scoring": BELOW | {"runtime"},
    "config": BELOW,
    "sam": BELOW | {"imaging"},
    "students": BELOW | {"imaging", "runtime", "sam"},
    "losses": BELOW | {"sam"},
    "datasets": BELOW | {"imaging", "targets"},
    "teachers": BELOW | {"imaging", "targets", "runtime"},
    "training": BELOW | {"datasets", "imaging", "losses", "scoring", "students", "targets"},
    "reporting": BELOW | {"imaging", "scoring"},
    "serve": BELOW | {"imaging", "runtime", "web"},
    "service": BELOW | {"imaging", "runtime", "serve"},
    "napari": BELOW | {"imaging", "runtime"},
    "web": BELOW | {"runtime"},
    "exporting": BELOW | {"imaging", "runtime", "sam", "scoring"},
    "tuning": BELOW | {"datasets", "recipes", "sam", "training"},
}
"""What each room may import when it is imported; recipes, cli and the package see everything."""
WITH_CONFIG = {
    "tasks", "recipes", "runs", "curves", "condensing", "reproducing", "suggesting", "watch",
    "cli", "api",
}  # fmt: skip
"""Rooms that know the experiment file; they see everything below."""
ABOVE = WITH_CONFIG | {"start", "__init__", "__main__"}
INSIDE = {
    "runtime": [
        ("job", "package"), "postprocess", "tiling", "writing", "predictors", "batch", "bench",
    ],
    "imaging": [
        ("bounds", "channels", "layout", "lines_held", "promptable", "units", "windows"), "image",
        ("normalisation", "views"), "scaling", "three_channels", "formats", "opening", "slide",
        ("labels", "stain", "tissue"), "pictures",
    ],
    "teachers": [
        "teacher", "type_tables", ("introduction", "masks", "several", "teach", "tiles", "turned"),
        ("equivariance", "on_workers", "plan"),
        ("networks", "run", "sam"), "programs",
    ],
    "datasets": [
        ("crops", "fingerprints"), "stored", "collection", "class_pictures",
        ("folder", "object_masks", "pictures"), "splits",
        "validation", "classes", "imagenet", "inspection", "class_check", "checking", "check",
        ("public", "simulator", "slides", "training"),
    ],
    "files": ["whole", ("arrays", "locks", "onnx_contents", "tables", "tensors", "yaml_text")],
    "exporting": [
        ("folder", "networks", "request", "unfinished"), "comparison",
        ("builder", "cards", "speed"), ("formats", "one_engine"), "parity", "tasks", "write",
    ],
}  # fmt: skip
"""The rooms inside a room: each may import those before it; those in one tuple know no other."""
MOST_FILES = 15
"""In one folder: more is a room that hides others."""
FULLER = {"cli": 18, "reporting": 17, "runs": 16}
"""Rooms that are still to be divided, with the files that they have."""
WITHOUT_TORCH = (
    "imaging", "targets", "scoring", "runtime", "config", "cli",
    "datasets", "teachers", "reporting", "napari", "watch", "api", "reproducing.plan",
)  # fmt: skip


When = Literal["module", "function", "typing"]


class Import(NamedTuple):
    """One import of a part of Abbe: from which file and room, of which room, at what time."""

    file: str
    room: str
    imported: str
    when: When


def all_imports() -> list[Import]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        file = path.relative_to(SOURCE)
        room = file.parts[0].removesuffix(".py")
        for name, when in imports_in(path):
            first, _, rest = name.partition(".")
            imported = rest.partition(".")[0] or "__version__"  # the package for its version
            if first == "abbe" and imported != room:
                found.append(Import(str(file), room, imported, when))
    return found


@cache
def imports_in(path: Path) -> tuple[tuple[str, When], ...]:
    return tuple(_imports_of(ast.parse(path.read_text("utf-8")), "module"))


def _imports_of(node: ast.AST, when: When) -> Iterator[tuple[str, When]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, when
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        for alias in node.names:
            yield f"{node.module}.{alias.name}", when
    for child in ast.iter_child_nodes(node):
        yield from _imports_of(child, _when_inside(node, when))


def _when_inside(node: ast.AST, when: When) -> When:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return "function"
    return "typing" if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) else when


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_every_room_has_its_place():
    rooms = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py"} | {
        path.parent.name for path in SOURCE.glob("*/__init__.py")
    }
    assert rooms == set(ROOMS) | ABOVE
    assert len(all_imports()) > 100  # the walk sees what there is


def test_no_room_imports_one_above_it():
    wrong = [
        each
        for each in all_imports()
        if each.when == "module"
        and each.room not in ABOVE
        and each.imported not in ROOMS[each.room]
    ]
    assert wrong == []


def test_no_room_reaches_up_inside_a_function_either():
    above = WITH_CONFIG | {"training", "reporting", "config"}
    higher = dict.fromkeys(ROOMS, above) | {room: {"cli"} for room in WITH_CONFIG}
    wrong = [
        each
        for each in all_imports()
        if each.when != "module" and each.imported in higher.get(each.room, set())
    ]
    assert wrong == []


@pytest.mark.parametrize("room", INSIDE)
def test_rooms_inside_a_room_import_one_way(room):
    below: set[str] = set()
    for each in INSIDE[room]:
        together = (each,) if isinstance(each, str) else each
        for name in together:
            own = SOURCE / room / name
            files = own.rglob("*.py") if own.is_dir() else [own.with_suffix(".py")]
            for path in files:
                wrong = {
                    imported
                    for imported, when in imports_in(path)
                    if when != "typing"
                    and imported.startswith(f"abbe.{room}.")
                    and imported.split(".")[2] not in below | {name}
                }
                assert not wrong, f"{path.relative_to(SOURCE)} imports {sorted(wrong)}"
        below |= set(together)
    inside = {path.stem for path in (SOURCE / room).iterdir() if path.name[0] != "_"}
    assert inside == below


def test_no_module_imports_itself_by_way_of_others():
    paths = {_module_of(path): path for path in SOURCE.rglob("*.py")}
    graph = {name: _imported_modules(path, paths.keys()) - {name} for name, path in paths.items()}
    assert graph["abbe.runtime.batch.one_image"] >= {"abbe.imaging", "abbe.runtime.tiling.work"}
    TopologicalSorter(graph).prepare()  # CycleError names the modules of a circle


def _module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported_modules(path: Path, known: Collection[str]) -> set[str]:
    """What a file imports, inside functions too, but not for its types alone."""
    found = set()
    for name, when in imports_in(path):
        module = name if name in known else name.rpartition(".")[0]
        if when != "typing" and module in known:
            found.add(module)
    return found


def test_no_folder_is_flat():
    counts = {
        folder.relative_to(SOURCE).as_posix(): sum(1 for _ in folder.glob("[!_]*.py"))
        for folder in {path.parent for path in SOURCE.rglob("__init__.py")}
    }
    assert {n: c for n, c in counts.items() if c > FULLER.get(n, MOST_FILES)} == {}


def test_teachers_and_students_meet_only_when_a_teacher_is_built():
    meetings = {
        (each.file, each.when)
        for each in all_imports()
        if {each.room, each.imported} == {"teachers", "students"} and each.when != "typing"
    }
    assert meetings == {
        ("teachers/run.py", "function"),  # an earlier run is a student
        ("teachers/sam/source.py", "function"),  # and a promptable student may teach, too
    }


def test_only_the_rooms_above_know_the_experiment_file():
    assert {each.room for each in all_imports() if each.imported == "config"} == WITH_CONFIG


@pytest.mark.parametrize("names", [["abbe"], [f"abbe.{room}" for room in WITHOUT_TORCH]])
def test_these_load_without_torch(names):
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name + ' imports torch'\n"
    )
    done = python(code, *names)
    assert done.returncode == 0, done.stderr


def test_the_package_alone_loads_nothing_heavy():
    code = (
        "import sys, abbe; heavy = {'numpy', 'torch', 'pydantic', 'tyro', 'zarr'}\n"
        "print(sorted(heavy & set(sys.modules)), abbe.__version__)"
    )
    assert python(code).stdout.startswith("[] 0.")


def test_the_overview_imports_no_torch_and_costs_half_a_second():
    code = (
        "import sys; from abbe.cli import main; assert main(['--help']) == 0\n"
        "print('torch' in sys.modules)"
    )
    seconds = []
    for _ in range(3):
        before = _seconds_of_children()
        done = python(code)
        seconds.append(_seconds_of_children() - before)
        assert done.stdout.endswith("False\n"), done.stderr
    assert min(seconds) <= 0.5  # processor time, so that a busy machine changes little


def _seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


NO_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'torch':
            raise ModuleNotFoundError("No module named 'torch'", name='torch')
sys.meta_path.insert(0, Absent())
from abbe.cli import main
"""


@pytest.mark.slow
def test_data_is_checked_and_masks_teach_where_torch_is_not_installed(tmp_path):
    code = NO_TORCH + (
        "from abbe import datasets, imaging\n"
        "from pathlib import Path\n"
        "for record in datasets.simulated_tissue(2, size=64):\n"
        "    imaging.write_labels(Path('masks') / (record.id + '.tif'), record.label.read())\n"
        "data = ['--data.kind', 'simulated', '--data.count', '3', '--data.size', '64']\n"
        "assert main(['data', 'check', '--data.kind', 'simulated', '--data.size', '64']) == 0\n"
        "teacher = ['--teacher.kind', 'masks', '--teacher.path', 'masks']\n"
        "sees = ['--teacher.input-channels', 'nucleus']\n"
        "print(main(['teach', '--out', 'targets.zarr', *data, *teacher, *sees]))\n"
    )
    os.makedirs(tmp_path / "masks")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.endswith("1\n"), done.stderr  # the third image has no mask, and that is told
    assert "2 images taught" in done.stdout
    assert "no mask for the image 'simulated-0-00002'" in done.stdout


def test_training_without_torch_says_what_to_install():
    code = NO_TORCH + (
        "sys.exit(main(['distill', 'supervised', '--data.kind', 'simulated', '--out', 'x', "
        "'--student.encoder-weights', 'random']))"
    )
    done = python(code)
    assert done.returncode == 1
    assert "needs the package 'torch'" in done.stderr
    assert "pip install 'abbe[train]'" in done.stderr


def test_the_rooms_of_the_architecture_page_are_the_folders():
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text("utf-8")
    drawn = page.partition("```\nsrc/abbe/\n")[2].partition("```")[0]
    told, room = set(), ""
    for indent, name in re.findall(r"^( {2}| {4})(\w[\w.]*/?)(?= )", drawn, re.MULTILINE):
        room = name if indent == "  " else room
        told.add(name if indent == "  " else f"{room}{name}")
    folders = {
        path.relative_to(SOURCE).as_posix() + "/"
        for path in SOURCE.rglob("*")
        if path.is_dir() and any(path.glob("*.py")) and "__pycache__" not in path.parts
    }
    outermost = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert outermost <= told
    assert all((SOURCE / name).exists() for name in told)
    assert {name for name in folders if name.count("/") == 1} <= told


def test_one_module_reads_and_writes_summaries():
    """Others ask at most whether there is one."""
    asked, named = 0, []
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        named += [
            path.relative_to(SOURCE).as_posix()
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value == "summary.json"
        ]
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.BinOp(right=ast.Constant(value="summary.json")),
                        attr="exists" | "is_file",
                    )
                ):
                    named.remove(path.relative_to(SOURCE).as_posix())
                    asked += 1
    assert asked
    # One names the file; the other lists it among what training leaves, and asks for each.
    assert sorted(named) == ["runs/folder.py", "summary/common.py"]


def test_one_file_shows_progress():
    showing = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(name.split(".")[0] == "rich" for name, _ in imports_in(path))
    }
    assert showing == {"progress.py"}
