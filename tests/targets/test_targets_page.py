"""docs/targets.md: its writer, which knows only numpy and zarr, writes what Abbe reads."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from docs_blocks import run_blocks

from abbe.imaging import Image
from abbe.targets import TargetStore

PAGE = Path(__file__).parents[2] / "docs" / "targets.md"


def test_what_the_pages_writer_wrote_is_read(tmp_path):
    names = run_blocks(PAGE, tmp_path)
    store = TargetStore(tmp_path / "targets.zarr")
    assert store.ids == ("a", "b")
    assert store.empty_ids == ()
    assert store.provenance.to_json() == {
        **names["provenance"],
        "channels": ("nucleus",),
        "outputs": ("foreground",),
        "prompt_mode": None,
        "thresholds": {},
        "settings": {},
        "sees_labels": False,
        "stand_in": False,
        "simulated": False,
        "notes": (),
        "parts": (),
    }
    for id, pixels in zip("ab", names["pixels"], strict=True):
        np.testing.assert_allclose(store.read(id, "probability"), pixels / 65535, atol=0.5 / 255)
        image = Image.from_array(pixels, ("nucleus",))
        assert store.entry(id).image_sha256 == image.sha256()
        assert store.entry(id).shape == pixels.shape[1:]
    own = TargetStore(tmp_path / "mine.zarr")
    np.testing.assert_array_equal(own.read("a", "probability"), store.read("a", "probability"))


def test_the_pages_writer_continues_and_marks_what_is_empty(tmp_path):
    names = run_blocks(PAGE, tmp_path)
    index = tmp_path / "targets.zarr" / "index.jsonl"
    index.write_bytes(index.read_bytes() + b'{"id": "torn')
    taught = []

    def nothing_found(pixels):
        taught.append(pixels)
        return np.zeros(pixels.shape)

    images = [("a", names["pixels"][0]), ("c", names["pixels"][1])]
    names["write_targets"](tmp_path / "targets.zarr", names["provenance"], images, nothing_found)
    store = TargetStore(tmp_path / "targets.zarr")
    assert len(taught) == 1
    assert store.ids == ("a", "b", "c")
    assert store.empty_ids == ("c",)
    assert not store.read("c", "probability").any()
    assert store.read("a", "probability").any()


def test_the_pages_writer_has_30_lines_and_knows_only_numpy_and_zarr():
    block = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert sum(bool(line.strip()) for line in block.splitlines()) <= 30
    tree = ast.parse(block)
    assert "write_targets" in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    imported = {
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    }
    assert imported - sys.stdlib_module_names == {"numpy", "zarr"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


def test_the_pages_writer_refuses_another_teachers_store(tmp_path):
    names = run_blocks(PAGE, tmp_path)
    other = {**names["provenance"], "teacher": "dark pixels"}
    with pytest.raises(AssertionError, match="another teacher"):
        names["write_targets"](tmp_path / "targets.zarr", other, [], None)


def test_maps_written_without_zarr_are_read(tmp_path):
    """What the page says an environment without zarr 3 can do."""
    root = tmp_path / "by-hand.zarr"
    array = root / "probability" / "1x4x6"
    map = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    (array / "c/0/0/0").mkdir(parents=True)
    map.tofile(array / "c/0/0/0/0")
    names = run_blocks(PAGE, tmp_path)
    about = {"format": "abbe-targets", "format_version": 1, "provenance": names["provenance"]}
    for folder, node in (
        (root, {"node_type": "group", "attributes": about}),
        (array, _array_metadata((1, 1, 4, 6))),
    ):
        (folder / "zarr.json").write_text(json.dumps({"zarr_format": 3, **node}))
    record = {"id": "é", "image_sha256": "0" * 64, "shape": [4, 6]}
    record["maps"] = {"probability": ["probability/1x4x6", 0]}
    (root / "index.jsonl").write_text(json.dumps(record) + "\n")
    np.testing.assert_array_equal(TargetStore(root).read("é", "probability", raw=True), map)


def _array_metadata(shape):
    return {
        "node_type": "array",
        "shape": list(shape),
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *shape[1:]]}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [("no code", "no python block"), ("```python\n1 + 1\n", "line 1: block is not closed")],
)
def test_a_page_that_runs_nothing_is_an_error(tmp_path, text, words):
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(ValueError, match=words):
        run_blocks(tmp_path / "page.md", tmp_path)


def test_blocks_share_names_and_some_are_left_out(tmp_path):
    page = "```python\nx = 1\n```\n\n<!-- not run: slow -->\n```python\nx = 2\n```\n"
    page += "```text\nx = 3\n```\n```python\ny = x\n```\n"
    (tmp_path / "page.md").write_text(page)
    assert run_blocks(tmp_path / "page.md", tmp_path)["y"] == 1
