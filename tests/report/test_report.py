"""The page of a run: one file that tells every figure, and names what the run lacks."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from made_run import LEVELS
from report_page import Page, change, page_of, small_run

from abbe.errors import InputError, MissingExtraError
from abbe.reporting import write_report
from abbe.scoring import METRICS


@pytest.fixture(scope="module")
def whole_html(whole: Path) -> str:
    return write_report(whole).read_text(encoding="utf-8")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A small run folder to change: summary.json alone, with Dice as its only metric."""
    return small_run(whole, tmp_path)


def test_report_is_one_balanced_file_that_loads_nothing(whole: Path, whole_html: str) -> None:
    page = Page(whole_html)
    assert whole_html.startswith("<!DOCTYPE html>")
    assert {"script", "link", "iframe", "img"}.isdisjoint(page.tags)
    assert all(reference.startswith(("#", "data:image/png")) for reference in page.references)
    assert not re.search(r"https?://|url\((?!#)|@import", whole_html)
    assert len(page.ids) == len(set(page.ids))
    inner = {reference[1:] for reference in page.references if reference.startswith("#")}
    inner |= set(re.findall(r"url\(#([^)]+)\)", whole_html))
    assert inner <= set(page.ids)
    assert "{{" not in page.text
    assert sorted(path.name for path in whole.iterdir() if "report" in path.name) == ["report.html"]


def test_report_tells_every_figure(whole: Path, whole_html: str) -> None:
    text = Page(whole_html).text
    summary = json.loads((whole / "summary.json").read_text())
    for metric in LEVELS:
        digits = 2 if metric == "hd95" else 3
        assert METRICS[metric].name in text
        for model in ("teacher", "student", "twin"):
            score = summary["models"][model]["metrics"][metric]
            assert f"{score['mean']:.{digits}f}" in text
            assert f"[{score['ci95'][0]:.{digits}f}, {score['ci95'][1]:.{digits}f}]" in text
        assert f"{summary['gain'][metric]['mean']:+.{digits}f}".replace("-", "−") in text
        assert f"{100 * summary['retention'][metric]:.1f} %" in text
    for fact in (
        "Nuclei teach whole cells",
        "Mean over 20 test images",
        "2.47 M",
        "927 k",
        "612 M",
        "58.3 M",
        "410",
        "11.9 × smaller than the teacher",
        "41.7",
        "3.21",
        "1.3 %",
        "codex_2ch",
        "CC BY 4.0",
        "modified Apache, academic use only",
        "TissueNet, non-commercial",
        "ab" * 32,
        "208 images with a teacher’s output; on 5 of them it found nothing.",
        "student foreground 0.45, boundary 0.5",
        "Chosen on 12 validation images.",
        "may overlap with the test images",
        "padded by reflection",
        "mean of 3 seeds",
        "The teacher sees membrane",
        "abbe distill --config cmkd.yaml --seed 7",
        "It took 4 min",
        "a two-core CPU",
        "student: unet-resnet18",
        "Term: probability",
        "Weight: boundary",
        "Validation: dice",
        "tissue_000",
    ):
        assert fact in text, fact


def test_pictures_carry_the_image_and_the_score_of_each_model(whole: Path, whole_html: str) -> None:
    text = Page(whole_html).text
    assert whole_html.count("data:image/png;base64,") == 3
    table = pyarrow.parquet.read_table(whole / "scores.parquet").to_pylist()
    for row in table:
        if row["metric"] == "dice" and row["image"] in ("tissue_000", "tissue_001", "tissue_002"):
            assert f"{row['model']} {row['value']:.3f}" in text


def test_a_strip_of_pictures_stands_before_the_scores_and_each_can_be_enlarged(
    whole_html: str,
) -> None:
    head, _, rest = whole_html.partition('<section id="scores">')
    links = re.findall(r'href="#(view-\d+-\w+)"', head)
    names = re.findall(r'aria-label="\d+ objects by ([\w-]+)"', head)
    assert names == ["truth", "teacher", "student", "twin"]
    assert len(links) == 5
    for link in links:
        assert f'<div class="view" id="{link}">' in rest


def test_five_metrics_are_shown_and_the_others_are_folded(whole_html: str, run: Path) -> None:
    scores = whole_html.partition('<section id="scores">')[2].partition("</section>")[0]
    open_part, _, folded = scores.partition("<details>")
    assert re.findall(r'<tr><th scope="row">([^<&]+)', open_part.partition("<figure>")[0]) == [
        "Dice", "Boundary F1", "F1 at IoU 0.5", "Panoptic quality", "Aggregated Jaccard index",
    ]  # fmt: skip
    for metric in LEVELS:
        assert f'<tr><th scope="row">{METRICS[metric].name}' in folded
    assert "<details>" not in write_report(run).read_text().partition('<section id="doubts')[0]


def test_summary_alone_is_enough_and_every_gap_is_named(run: Path) -> None:
    (run / "summary.json").write_text(json.dumps({"models": {"student": {}}}))
    text = page_of(run).text
    for sentence in (
        "No model of this run was scored",
        "holds no scores",
        "No gain and no retention",
        "no scores by image",
        "no example pictures",
        "did not record its data",
        "did not record its teacher",
        "did not record its targets",
        "did not record its thresholds",
        "no training log",
        "did not record how fast",
        "did not record its command",
        "did not record its machine",
        "no experiment file",
        "no command trains it again",
    ):
        assert sentence in text, sentence


def test_a_student_of_its_teachers_size_is_not_called_smaller(run: Path) -> None:
    size = {"parameters": 8_318_768}
    change(run, models={"teacher": size, "student": size})
    text = page_of(run).text
    assert "as large as the teacher" in text
    assert "smaller than the teacher" not in text


def test_names_from_outside_cannot_become_markup(run: Path) -> None:
    evil = "<script>alert('$x$')</script>"
    scores = {"mean": 0.5, "ci95": [0.4, 0.6], "n": 2}
    change(
        run,
        title=evil,
        task=evil,
        warnings=[evil],
        stand_in=[evil],
        data={"name": evil, evil: 3},
        models={name: {"metrics": {evil: scores}} for name in ("student", "twin", evil)},
        gain={evil: scores},
        metric_names={evil: evil},
        thresholds={evil: {evil: 0.5}},
    )
    rows = [
        {"image": f"{evil}{i}", "group": evil, "model": model, "metric": evil, "value": 0.1 * i}
        for i in range(3)
        for model in ("student", "twin")
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), run / "scores.parquet")
    terms = {"model": "student", "step": 1, "loss": 1.0, "terms": {evil: 1.0}}
    (run / "log.jsonl").write_text(json.dumps(terms) + "\n")
    (run / "examples").mkdir()
    np.savez(
        run / "examples" / "0-best-x.npz",
        image=np.zeros((8, 8, 3), np.uint8),
        truth=np.eye(8, dtype=np.int32),
        id=np.array(evil),
    )
    html = write_report(run).read_text(encoding="utf-8")
    assert "<script" not in html
    assert Page(html).text.count(evil) > 8


def test_run_it_again_runs_it_again(run: Path) -> None:
    (run / "config.yaml").write_text("recipe: cmkd\ndata: {kind: folder}\n")
    name = run.resolve().name
    assert f"abbe distill {name}/config.yaml --out {name}-again" in page_of(run).text
    (run / "config.yaml").write_text("recipe: cmkd\ndata: {kind: given}\n")
    assert "images were given in Python, so no command trains it again" in page_of(run).text


def test_times_say_their_image_and_a_busy_machine(run: Path) -> None:
    timing = {"image_size": [640, 480], "repeats": 9, "load": 7.25, "cores": 2, "busy": True}
    change(run, timing=timing)
    text = page_of(run).text
    assert "ms an image (640 × 480 px)" in text
    assert "measured on a busy machine (load 7.2 on 2 cores)" in text
    assert "Times are medians of 9 runs, the models in turn. They were measured" in text
    change(run, timing=timing | {"busy": False})
    assert "busy machine" not in page_of(run).text


def test_times_say_few_runs_other_precisions_and_why_the_teacher_has_none(run: Path) -> None:
    timing = {"image_size": [640, 480], "repeats": 9, "runs": {"teacher": 1}, "cores": 2}
    precision = {"teacher": "bf16", "student": "fp32", "twin": "fp32"}
    change(run, timing=timing | {"whole_answers": True, "precision": precision})
    text = page_of(run).text
    assert "medians of 9 runs (teacher 1 run), the models in turn. Each is from the pixels" in text
    assert "did not compute alike: teacher in bf16, student in fp32, twin in fp32." in text
    change(run, timing=timing | {"teacher_not_timed": "it computes on cuda"})
    assert "The teacher was not timed: it computes on cuda." in page_of(run).text


def test_macs_of_an_image_of_another_size_say_so(run: Path) -> None:
    models = json.loads((run / "summary.json").read_text("utf-8"))["models"]
    for model in models.values():
        model["macs_image_size"] = 256
    models["teacher"] |= {"macs": None, "encoder_macs": 371e9, "macs_image_size": 1024}
    change(run, models=models)
    text = page_of(run).text
    assert "MACs (one of 256 px)" in text
    assert "371 G (1024 px)" in text
    assert text.count("(1024 px)") == 1  # none beside the students' numbers, and none beside –


def test_any_models_of_an_evaluation_are_shown(run: Path) -> None:
    score = {"dice": {"mean": 0.612, "ci95": [0.5, 0.7], "n": 3}}
    models = {"student": {"metrics": score}, "student distilled here": {"metrics": score}}
    change(run, models=models, gain={}, retention={})
    rows = [
        {"image": i, "group": "", "model": model, "metric": "dice", "value": 0.6}
        for i in "abc"
        for model in models
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), run / "scores.parquet")
    text = page_of(run).text
    assert "student 0.612 [0.500, 0.700] and student distilled here 0.612" in text
    assert "Dice, student − student distilled here: positive on 0 of 3 images" in text


def test_undefined_values_are_dashes_and_uneven_counts_are_shown(run: Path) -> None:
    metrics = {
        "dice": {"mean": 0.8, "ci95": [0.7, 0.9], "n": 9},
        "hd95": {"mean": float("nan"), "ci95": [None, None], "n": 0},
    }
    change(run, models={"student": {"metrics": metrics}}, gain={}, retention={})
    text = page_of(run).text
    assert "Mean over 9 test images, or as many as a cell says" in text
    assert "n = 0" in text
    assert "nan" not in text.lower()
    assert "undefined on some images" in text


def test_damaged_parts_are_named_on_the_page(run: Path) -> None:
    (run / "log.jsonl").write_text('{"model": "student", "step": 1, "loss": 2.0}\n{"model": "st')
    (run / "scores.parquet").write_bytes(b"no parquet")
    (run / "environment.json").write_text("[]")
    (run / "examples").mkdir()
    (run / "examples" / "0-best-a.npz").write_bytes(b"no npz")
    text = page_of(run).text
    assert "1 line(s) of log.jsonl are damaged" in text
    assert "scores.parquet could not be read" in text
    assert "environment.json could not be read" in text
    assert "examples/0-best-a.npz could not be read" in text


def test_no_summary_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: there is no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no summary\.json in this folder"):
        write_report(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary\.json: this file is damaged"):
        write_report(str(tmp_path))


@pytest.mark.parametrize("package", ["jinja2", "matplotlib", "pyarrow"])
def test_missing_package_says_what_to_install(
    run: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*abbe\[train\]"):
        write_report(run)


def test_torch_is_never_imported(run: Path) -> None:
    code = (
        "import sys, abbe.reporting; light = 'matplotlib' not in sys.modules; "
        f"abbe.reporting.write_report({str(run)!r}); sys.exit(not light or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
