"""Figures of tiny runs that the tests make, as they were; whoever moves them changes golden.json.

They were taken in fp32 and in bf16. Each has the mean of the two, and three times their distance as
its tolerance for other processors: at least 5 %, of scores at least 0.02. What differs by more than
a twelfth is not kept, nor are scores of a few classified tiles.
"""

import json
from pathlib import Path

import pytest

KEPT = Path(__file__).with_name("golden.json")


def figures_of(folder: Path) -> dict[str, float]:
    """Terms of the loss when last logged, by network and stage; means by network and metric."""
    found: dict[str, float] = {}
    for line in map(json.loads, (folder / "log.jsonl").read_text("utf-8").splitlines()):
        for term, value in line.get("terms", {}).items():
            found[f"{line['model']} · {line['stage']} · {term}"] = value
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    for model, facts in summary["models"].items():
        for metric, score in facts["metrics"].items():
            if score["mean"] is not None:
                found[f"{model} · {metric}"] = score["mean"]
    return found


def hold(name: str, folder: Path) -> None:
    """Assert that a run's figures are those that are kept of it."""
    kept, found = json.loads(KEPT.read_text("utf-8"))[name], figures_of(folder)
    assert kept
    assert {key: found.get(key) for key in kept} == {
        key: pytest.approx(value, abs=tolerance) for key, (value, tolerance) in kept.items()
    }
