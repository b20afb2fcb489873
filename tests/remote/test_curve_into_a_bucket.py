"""A curve is kept in a bucket, and goes on from there on another machine."""

from pathlib import Path

import pytest
from remote_bucket import Bucket
from written_tissue import write_tissue

from abbe import cli


@pytest.mark.slow
def test_a_curve_in_a_bucket_goes_on_elsewhere(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bucket.put("tissue", write_tissue(tmp_path / "tissue"))
    words = (
        f"curve cmkd --data.path {url} --data.channels nucleus --data.fractions 0.5 0.25 0.25 "
        f"--teacher.kind masks --teacher.path {url}/labels --teacher.input-channels nucleus "
        "--student.encoder-weights random --student.architecture unet-mobilenetv3 "
        "--training.steps 2 --training.batch-size 2 --training.crop 64 "
        "--training.validate-every 2 --training.workers 0 --fractions 1 --seeds 0 "
        "--out s3://lab/curve"
    )
    assert cli.main(words.split()) == 0
    rows = bucket.get("curve/curve.csv").decode().splitlines()
    there = bucket.names("curve/")
    assert {"curve/curve.csv", "curve/summary.json", "curve/report.html"} <= set(there)
    monkeypatch.setenv("ABBE_CACHE", str(tmp_path / "another machine"))
    assert cli.main(["curve", "s3://lab/curve", "--resume", "--seeds", "0", "1"]) == 0
    more = bucket.get("curve/curve.csv").decode().splitlines()
    assert more[: len(rows)] == rows  # nothing is trained twice
    assert len(more) - 1 == 2 * (len(rows) - 1) > 0
