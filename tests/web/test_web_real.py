"""On real nuclei of many sizes the page finds what `abbe predict` finds.

A few of each size here; `benchmarks/web.py --real` asks all 60 that docs/web.md tells of.
"""

import numpy as np
import pytest
from real_images import compared

from abbe.runtime.package.places import shipped
from abbe.web import build_site

pytestmark = [pytest.mark.real, pytest.mark.slow]

IMAGES = 8


def test_the_page_finds_what_predict_finds(tmp_path, runtime, browser, served, data_root):
    site = build_site(shipped()["nuclei"], tmp_path / "site", runtime=runtime)
    assert site.size <= 30e6
    found = compared(browser, served(tmp_path / "site"), data_root / "dsb2018", IMAGES)
    print(found)
    assert found.larger >= 2
    assert found.objects > 200
    assert found.same == IMAGES  # 98 % of the 60, which is more than 7 of 8
    assert np.mean(found.quality) >= 0.995
