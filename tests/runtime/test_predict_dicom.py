"""A package runs on DICOM files that are named."""

import numpy as np
import pytest
from commands import abbe

pytest.importorskip("pydicom")

from made_dicom import write_image
from made_packages import blobs, make_package

from abbe.imaging import read_labels
from abbe.runtime.predictors.predict import predict


def test_predict_reads_dicom_and_lists_what_it_cannot(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pixels = blobs(120, 130)
    package = make_package(tmp_path / "package")
    good = write_image(tmp_path / "a.dcm", pixels)
    loop = write_image(tmp_path / "loop.dcm", pixels, NumberOfFrames=3)
    out = tmp_path / "out"
    assert abbe("predict", package, good, loop, "--out", out, "--precision", "fp32") == 1
    assert "loop.dcm: this DICOM file holds 3 frames" in capsys.readouterr().out
    labels = read_labels(out / "a.labels.tif")
    np.testing.assert_array_equal(labels, predict(package, pixels, precision="fp32"))
    assert labels.max() > 3
