"""The log of finished images: who wrote a result last, in memory for a million of them."""

import json
import tracemalloc
from pathlib import Path

from abbe.runtime.batch.finished import LOG, Finished


def line_of(stem: str, results: list[str], bytes_: int = 1) -> dict:
    task = {"image": f"/data/archive/of/a/hospital/{stem}.tif", "bytes": bytes_,
            "package": "a" * 64, "engine": "openvino", "results": results}  # fmt: skip
    return {"objects": 3, "stem": stem, "name": f"{stem}.tif", "task": task}


def test_each_result_is_of_whoever_wrote_it_last(tmp_path: Path):
    log = Finished(tmp_path / LOG)
    labels, table = line_of("a", ["labels"]), line_of("a", ["table"])
    both = line_of("a", ["labels", "table"])["task"]
    log.take(labels)
    assert log.find("a", both) is None
    log.take(table)
    for seen in (log, Finished(tmp_path / LOG)):
        assert seen.find("a", both) == table
        assert seen.find("a", labels["task"]) == labels
        assert seen.ends_with(table)
        assert not seen.ends_with(labels)
        assert not seen.knows("b")
    changed = line_of("a", ["table"], bytes_=2)
    log.begin("a", changed["task"])
    for seen in (log, Finished(tmp_path / LOG)):
        assert seen.find("a", table["task"]) is None
        assert seen.find("a", labels["task"]) == labels
    log.take(changed)
    for seen in (log, Finished(tmp_path / LOG)):
        assert seen.find("a", both) is None  # they are of two tasks
        assert seen.find("a", changed["task"]) == changed
    log.begin("a", both)
    log.take(line_of("a", ["labels", "table"]))
    for seen in (log, Finished(tmp_path / LOG)):
        assert seen.find("a", both) == line_of("a", ["labels", "table"])


def test_a_million_lines_would_take_less_than_half_a_gigabyte(tmp_path: Path):
    count, line = 5000, {}
    with open(tmp_path / LOG, "w") as file:
        for number in range(count):
            line = line_of(f"case{number:07d}/slide{number:07d}", ["labels", "table", "geojson"])
            file.write(json.dumps(line) + "\n")
    tracemalloc.start()
    log = Finished(tmp_path / LOG)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / count < 400
    assert log.find(line["stem"], line["task"]) == line
