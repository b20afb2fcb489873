"""The Markdown tables of benchmarks/foundation.py, from the summaries of its runs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import abbe
from abbe.reporting.tables import plain_cell
from abbe.summary import CurveSummary, Model, RunSummary, Score, read_summary

OBJECTS = ("dice", "f1@0.5", "pq")
PROMPTS = ("dice", "dice_1_point", "dice_3_points")
CLASSES = ("balanced_accuracy", "auroc")
PRINTED: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
    ("CMKD on CODEX", ("codex-*-*",), OBJECTS),
    ("KD SAM", ("polyps-*", "busi-*", "polyps-both/evaluations/skin"), PROMPTS),
)


def print_all(out: Path) -> None:
    """A table for each kind of run, of those that are finished."""
    for title, patterns, metrics in PRINTED:
        found = (folder for pattern in patterns for folder in finished(out, pattern))
        runs = [each for each in found if abbe.open_run(each).summary.evidence.complete]
        if runs:
            print(f"\n### {title}\n")
            head("run", "model", "images", *metrics)
            for folder in runs:
                print_run(folder.relative_to(out), abbe.open_run(folder).summary, metrics)
            print()
            head("run", "student, M", "teacher, M", "share", "student, ms", "teacher, ms", "faster")
            for folder in runs:
                print_cost(folder.relative_to(out), abbe.open_run(folder).summary)
    for folder in finished(out, "lesions-*"):
        summary = read_summary(folder)
        assert isinstance(summary, CurveSummary)
        print_curve(folder.name, summary)


def finished(out: Path, pattern: str) -> list[Path]:
    return sorted(path.parent for path in out.glob(f"{pattern}/summary.json"))


def head(*names: str) -> None:
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")


def print_run(name: Path, summary: RunSummary, metrics: Sequence[str]) -> None:
    """Every model's scores, then the student minus each baseline; the best of them in bold."""
    for model, found in summary.models.items():
        row(name, model, images(found.metrics), *cells(found.metrics, metrics))
    for baseline, gains in summary.gains.items():
        title = f"student − {baseline}"
        best = baseline == summary.evidence.against
        told = cells(gains, metrics, "+")
        row(name, f"**{title}**" if best else title, images(gains), *told)
    if summary.retention:
        kept = [share(summary.retention.get(metric)) for metric in metrics]
        row(name, "student ÷ teacher", "", *kept)


def print_cost(name: Path, summary: RunSummary) -> None:
    """Parameters in millions, milliseconds an image, and both as ratios."""
    student, teacher = summary.models["student"], summary.models.get("teacher", Model())
    small, large = student.parameters, teacher.parameters
    quick, slow = student.ms_per_image, teacher.ms_per_image
    row(
        name,
        f"{small / 1e6:.2f}" if small else "—",
        f"{large / 1e6:.2f}" if large else "—",
        share(small / large if small and large else None),
        f"{quick:.0f}" if quick else "—",
        f"{slow:.0f}" if slow else "—",
        f"{slow / quick:.1f} ×" if quick and slow else "—",
    )


def print_curve(name: str, summary: CurveSummary) -> None:
    """Scores by labels, what each beginning adds to the reference, and linear probes."""
    blocks = [("", summary), ("linear probe, ", summary.linear_probe)]
    for title, block in blocks:
        if block is None:
            continue
        metrics = [each for each in CLASSES if each in summary.metric_names]
        print(f"\n### {name}: {title or 'fine-tuned, '}{len(summary.seeds)} draws of the labels\n")
        head("labels", "begun from", *metrics)
        for begun, levels in block.scores.items():
            for level in levels:
                row(level.labelled, begun, *cells(level.metrics, metrics))
        for begun, difference in block.differences.items():
            for level in difference.levels:
                told = f"{begun} − {summary.reference}"
                row(level.labelled, told, *cells(level.metrics, metrics, "+"))


def cells(found: Mapping[str, Score], metrics: Iterable[str], sign: str = "") -> list[str]:
    return [plain_cell(found.get(metric), sign) for metric in metrics]


def images(found: Mapping[str, Score]) -> int | str:
    """How many test images the scores rest on."""
    return next((each.n for each in found.values() if each.n), "—")


def share(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"
