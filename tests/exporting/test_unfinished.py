"""Which package an export that was stopped takes for its own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
from made_packages import make_package  # pyright: ignore[reportMissingImports]

from abbe.exporting.unfinished import Unfinished
from abbe.runtime.package import DESCRIPTION


def test_only_the_package_of_the_same_call_is_taken(tmp_path):
    out = make_package(tmp_path / "p")
    call = Unfinished(out, {"torchscript": Path("p.pt"), "images": 2})
    assert call.package() is None  # nothing is noted
    call.begin()
    again = Unfinished(out, {"images": 2, "torchscript": Path("p.pt")}).package()
    assert again is not None
    assert Unfinished(out, {"torchscript": Path("p.pt"), "images": 3}).package() is None
    description = out / DESCRIPTION
    description.write_text(description.read_text().replace("Bright blobs", "Another call's"))
    assert call.package() is None
    description.unlink()
    assert call.package() is None


def test_no_note_is_left_behind(tmp_path):
    call = Unfinished(make_package(tmp_path / "p"), {"images": 2})
    call.begin()
    assert len(list(tmp_path.iterdir())) == 2
    call.end()
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
