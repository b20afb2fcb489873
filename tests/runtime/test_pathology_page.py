"""docs/pathology.md, run on a small slide with a stand-in for the package that it trains."""

import json
import shlex
from pathlib import Path

import pytest
from commands import abbe
from docs_blocks import run_blocks
from made_packages import slide_types
from test_docs import ROOT, commands_of

pytest.importorskip("highdicom")
pytest.importorskip("openslide")

from made_dicom import nuclei_slide

PAGE = ROOT / "docs" / "pathology.md"


def test_the_page_leads_from_a_slide_to_typed_nuclei(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path, types = nuclei_slide(tmp_path / "slide")
    slide_types(Path("packages/typed-nuclei"), ("Tumor", "Lymphocyte"), pixel_size=0.5, tile=256)
    (command,) = [each for each in commands_of(PAGE) if each.startswith("abbe predict")]
    assert str(path.relative_to(tmp_path)) in command
    assert abbe(*shlex.split(command)[1:]) == 0

    out = Path("project/abbe-results")
    text = PAGE.read_text("utf-8")
    assert {each.name for each in out.glob("level-1.*")} == {
        name
        for name in ("level-1.geojson", "level-1.csv", "level-1.overview.png", "level-1.seg.dcm",
                     "level-1.ann.dcm")
        if f"`{name}`" in text
    }  # fmt: skip
    features = json.loads((out / "level-1.geojson").read_text("utf-8"))["features"]
    right = 0
    for feature in features:
        assert feature["geometry"]["type"] == "Polygon"
        told, place = feature["properties"], feature["properties"]["measurements"]
        named = ("Tumor", "Lymphocyte").index(told["classification"]["name"]) + 1
        right += types[round(place["y"]), round(place["x"])] == named
        assert place[f"probability_{told['classification']['name']}"] > 0.5
    assert right == len(features) > 200

    capsys.readouterr()
    run_blocks(PAGE, tmp_path)
    counts = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert set(counts) == {"Tumor", "Lymphocyte"}
    assert sum(map(int, counts.values())) == len(features)
