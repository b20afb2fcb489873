"""A file of labels of which parts were encoded before is the file that is written at once."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from abbe.imaging import Region
from abbe.runtime.tiling.work import Work
from abbe.runtime.writing.tiff import parts as tiff_parts
from abbe.runtime.writing.tiff import pyramid as pyramid_tiff
from abbe.runtime.writing.tiff.parts import KeptTiles, keep_part, parts_of
from abbe.runtime.writing.tiff.pyramid import every_second, levels_of, write_tiff


@pytest.mark.parametrize("shape", [(300, 500), (128, 256), (129, 60), (40, 50)])
def test_parts_make_the_file_that_is_written_at_once(tmp_path: Path, monkeypatch, shape):
    for module in (pyramid_tiff, tiff_parts):
        monkeypatch.setattr(module, "TILE", 16)
    monkeypatch.setattr(tiff_parts, "PART", 128)
    monkeypatch.setattr(pyramid_tiff, "PYRAMID_FROM", 64)
    monkeypatch.setattr(pyramid_tiff, "_SMALLEST_LEVEL", 16)
    pixels = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint16)
    asked = []

    def plane(region: Region) -> np.ndarray:
        asked.append(region)
        return pixels[region.top : region.bottom, region.left : region.right]

    def written(path: Path, work: Work) -> bytes:
        with ThreadPoolExecutor(2) as pool:
            write_tiff(
                path, [plane], shape, pixels.dtype, every_second, pool, 4,
                pixel_size=0.5, kept=KeptTiles(work),
            )  # fmt: skip
        return re.sub(rb"urn:uuid:[0-9a-f-]+", b"", path.read_bytes())

    levels = len(levels_of(shape))
    assert (levels > tiff_parts.LEVELS) == (max(shape) > 128)
    whole = written(tmp_path / "whole.tif", Work(None))
    work = Work(tmp_path / "work", {})
    first, *others = parts_of(shape)
    for block in [*others, first]:
        keep_part(block, plane, pixels.dtype, shape, work)
    asked.clear()
    assert written(tmp_path / "parts.tif", work) == whole
    assert asked == []
    for block in others:  # one is missing: it is encoded as the file is written
        work.drop(f"file-{block.rows[0]}-{block.columns[0]}", compressed=False)
    assert written(tmp_path / "some.tif", work) == whole
    assert bool(asked) == bool(others)
    for block in others:
        keep_part(block, plane, pixels.dtype, shape, work)
    asked.clear()
    keep_part(first, plane, pixels.dtype, shape, work)  # of a run that was interrupted
    assert asked == []
