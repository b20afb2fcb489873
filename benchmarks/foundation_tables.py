"""The Markdown tables of benchmarks/foundation.py, from the summaries of its runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import foundation_folds as folds
import foundation_sets as sets
import foundation_shapes as shapes

import abbe
from abbe import scoring
from abbe.reporting.tables import METRICS, plain_cell
from abbe.runs.folder import Run
from abbe.summary import BASELINES, SHAPE, CurveSummary, Model, RunSummary, Score, read_summary
from abbe.tasks.scores import (
    Compared,
    Row,
    Scores,
    gain_of,
    measured_gain,
    measured_score,
    score_of,
)

REGIONS = ("mean_iou", "dice")
OBJECTS = ("dice", "f1@0.5", "pq")
PROMPTS = ("dice", "dice_1_point", "dice_3_points")
CLASSES = ("balanced_accuracy", "auroc")
PRINTED: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
    ("CMKD on CODEX", ("codex-*-*",), OBJECTS),
    ("CMKD on simulated tissue", ("tissue-*",), OBJECTS),
    ("CMKD on DSB-2018", ("nuclei-05*", "nuclei-20"), OBJECTS),
    ("KD SAM", ("busi-*",), PROMPTS),
)
CODEX, BUSI = "codex-mobilenetv3-boxes", "busi-untuned-small"
VARIANTS = {
    CODEX: (
        (f"{CODEX}-cwd", f"{CODEX}-cwd-trust", f"{CODEX}-dist", "codex-mobilenetv3-several"),
        OBJECTS,
    ),
    f"{CODEX}-cwd": ((f"{CODEX}-cwd-trust",), OBJECTS),
    "codex-lite0-boxes": (("codex-lite0-boxes-cwd",), OBJECTS),
    "tissue-boxes": (("tissue-boxes-cwd", "tissue-boxes-trust"), OBJECTS),
    "tissue-amg": (("tissue-amg-trust",), OBJECTS),
    "nuclei-05": (("nuclei-05-cwd",), OBJECTS),
    BUSI: (("busi-untuned", "busi-tuned-20", "busi-tuned-80", "busi-short-mse"), PROMPTS),
    "busi-untuned": (("busi-short-mse",), PROMPTS),
    "busi-short-mse": (
        (
            "busi-short-both",
            "busi-short-perceptual",
            "busi-short-resnet18",
            "busi-short-resnet50",
        ),
        PROMPTS,
    ),
}
"""Runs whose students are held against that of a plain one, seed by seed."""
SUGGESTED = "nuclei-suggested"
POLYP_FOLDS, SKIN = "polyps-??", "skin"
FOLDS = (
    ("KD SAM, polyps, four of 24 videos left out", POLYP_FOLDS, PROMPTS),
    ("KD SAM, polyps, teachers that the folds' labels have tuned", "polyps-tuned-??", PROMPTS),
    ("CMKD, H&E, MobileNetV3 from random weights", "stained-mobilenetv3-??", OBJECTS),
    ("CMKD, H&E, EfficientNet-Lite0 from ImageNet's", "stained-lite0-??", OBJECTS),
)


def print_all(out: Path) -> None:
    """A table for each kind of run, of those that are finished."""
    for title, patterns, metrics in PRINTED:
        found = (folder for pattern in patterns for folder in finished(out, pattern))
        runs = [each for each in found if is_complete(each)]
        if runs:
            print(f"\n### {title}\n")
            head("run", "model", "images", *metrics)
            for folder in runs:
                print_run(folder.relative_to(out), abbe.open_run(folder), metrics)
            print()
            head("run", "student, M", "teacher, M", "share", "student, ms", "teacher, ms", "faster")
            for folder in runs:
                print_cost(folder.relative_to(out), abbe.open_run(folder).summary)
    print_programs(out / "sets" / "codex", OBJECTS)
    for plain in VARIANTS:
        print_variants(out, plain)
    print_tuned(out)
    if (table := out / SUGGESTED / "table.md").exists():
        print(f"\n### Labels that abbe suggest asked for\n{table.read_text()}")
    for each in filter(is_complete, finished(out, BUSI)):
        print_shapes(BUSI, abbe.open_run(each).scores.to_pylist(), out / "sets" / "ultrasound")
    if complete := [each for each in finished(out, POLYP_FOLDS) if is_complete(each)]:
        rows = [{**row, "group": row["fold"]} for row in folds.gathered(complete).rows]
        print_shapes("polyps", rows, out / "sets" / "polyp-folds")
        skin = [each / "evaluations" / SKIN for each in complete]
        print_draws("KD SAM, students of polyps on skin", skin, PROMPTS)
    if complete := [each for each in finished(out, "nuclei-02-?") if is_complete(each)]:
        title = f"CMKD on DSB-2018, two labels and two that choose, {len(complete)} draws of both"
        print_draws(title, complete, OBJECTS, best=folds.baselines_of(complete)[0])
    for title, pattern, metrics in FOLDS:
        print_folds(out, title, pattern, metrics)
    print_folds_otherwise(out, "stained-cwd-??", "stained-mobilenetv3-??", OBJECTS)
    for other in ("stained-lite0-cwd-??", "stained-lite0-trust-??"):
        print_folds_otherwise(out, other, "stained-lite0-??", OBJECTS)
    for pattern in ("regions-imagenet-??", "regions-random-??"):
        print_folds_of_curves(pattern, finished(out, pattern))
    for folder in finished(out, "lesions-*"):
        summary = read_summary(folder)
        assert isinstance(summary, CurveSummary)
        print_curve(folder.name, summary)


def print_programs(folder: Path, metrics: Sequence[str]) -> None:
    """What other programs' masks, which made boxes or were the teacher, score by themselves."""
    if not folder.exists():
        return
    print("\n### Masks of other programs on the CODEX test pieces\n")
    head("program", "images", *metrics)
    for name, program in sets.PROGRAMS.items():
        if name == "labels":
            continue
        files = sorted((folder / name).glob(f"{sets.TEST}_*.tif"))
        found = [folds.scores_of(file, folder / "labels") for file in files]
        means = {key: [each[key] for each in found] for key in metrics}
        told = {key: score_of(scoring.mean_interval(values)) for key, values in means.items()}
        row(program, len(files), *cells(told, metrics))


def print_variants(out: Path, plain: str) -> None:
    """Students that were taught otherwise, minus the plain one of the same seeds and its baselines.

    Baselines have the same images, labels and seeds, and no teacher had a part in them.
    """
    names, metrics = VARIANTS[plain]
    found = [name for name in (plain, *names) if (out / name / "summary.json").exists()]
    found = [name for name in found if is_complete(out / name)]
    if plain not in found or len(found) == 1:
        return
    runs = {name: abbe.open_run(out / name) for name in found}
    others = [name for name in BASELINES if name in runs[plain].summary.models]
    rows = [
        {**row, "model": name if row["model"] == "student" else row["model"]}
        for name, run in runs.items()
        for row in run.scores.to_pylist()
        if row["model"] == "student" or (name == plain and row["model"] in others)
    ]
    scores = Scores(rows)
    print(f"\n### Students taught otherwise than {plain}\n")
    head("student", "images", *metrics)
    for name in found[1:]:
        for other in (plain, *others):
            pairs = {metric: scores.measured(metric, [name, other]) for metric in metrics}
            gains = {key: measured_gain(one.minus(two)) for key, (one, two) in pairs.items()}
            label = "plain" if other == plain else other
            row(f"{name} − {label}", images(gains), *cells(gains, metrics, "+"))


def print_tuned(out: Path) -> None:
    """Dice of teachers on test pictures before and after few labels tuned them, by seed."""
    known = {
        path.parent.name: json.loads(path.read_text())
        for path in sorted(out.glob("tuned-*/tuning.json"))
    }
    known = {name: each for name, each in known.items() if "after" in each}
    if not known:
        return
    print("\n### MobileSAM tuned with few labels: Dice by box and by one point\n")
    head("run", "box, before", "after", "one point, before", "after")
    for name, each in known.items():
        before, after = each["before"], each["after"]
        kinds = ("dice", "dice_point")
        row(name, *(f"{score[kind]:.3f}" for kind in kinds for score in (before, after)))


def print_shapes(name: str, rows: Sequence[Row], folder: Path) -> None:
    """What a box or a point says without a network, and what each network adds to that."""
    tested = {row["image"]: row for row in rows if row["model"] == "student"}
    alone = shapes.scored(folder, list(tested.values()))
    scores = Scores([*(row for row in rows if row["model"] != SHAPE), *alone])
    metrics = ("dice", "dice_1_point")
    print(f"\n### {name}: what the prompts say by themselves\n")
    head("answer", "images", *metrics)
    known = {
        model: sorted({row["metric"] for row in alone if row["model"] == model})
        for model in (shapes.BOX, SHAPE)
    }
    for model, its in known.items():
        found = {
            metric: measured_score(scores.measured(metric, [model])[0], METRICS[metric].scale)
            for metric in its
        }
        row(model, images(found), *cells(found, metrics))
    networks = [each for each in scores.models if each not in known]
    for model in networks:
        pairs = {each: scores.measured(each, [model, SHAPE]) for each in known[SHAPE]}
        gains = {key: measured_gain(one.minus(other)) for key, (one, other) in pairs.items()}
        row(f"{model} − {SHAPE}", images(gains), *cells(gains, metrics, "+"))


def print_draws(
    title: str, folders: Sequence[Path], metrics: Sequence[str], best: str = ""
) -> None:
    """Runs of one seed each that have learnt from other images and were tested on the same.

    The teacher, too, is another one by draw: its thresholds were chosen on that draw's images.
    """
    rows = [
        {**row, "seed": draw}
        for draw, folder in enumerate(folders)
        if (folder / "summary.json").exists()
        for row in abbe.open_run(folder).scores.to_pylist()
    ]
    scores = Scores(rows)
    known = {
        model: [key for key in metrics if any(is_of(row, model, key) for row in rows)]
        for model in scores.models
    }
    print(f"\n### {title}\n")
    head("model", "images", *metrics)
    for model, keys in known.items():
        told = {
            key: measured_score(scores.measured(key, [model])[0], METRICS[key].scale)
            for key in keys
        }
        row(model, images(told), *cells(told, metrics))
    for other, keys in known.items():
        if other != "student":
            pairs = {key: scores.measured(key, ["student", other]) for key in keys}
            gains = {key: measured_gain(one.minus(it)) for key, (one, it) in pairs.items()}
            name = f"student − {other}"
            row(
                f"**{name}**" if other == best else name, images(gains), *cells(gains, metrics, "+")
            )


def is_of(row: Row, model: str, metric: str) -> bool:
    return (row["model"], row["metric"]) == (model, metric)


def print_folds(out: Path, title: str, pattern: str, metrics: Sequence[str]) -> None:
    """Folds taken together; a gain by its folds, and by groups (videos) where these are known."""
    folders = [each for each in finished(out, pattern) if is_complete(each)]
    if not folders:
        return
    together = folds.gathered(folders)
    if pattern.startswith("stained"):
        together = folds.with_stain(together, out / "sets" / "stained")
    compared = together.compared(metrics)
    print(f"\n### {title}: {len(folders)} folds, {len(folders)} trainings of each network\n")
    head("model", "images", *metrics)
    for model, found in compared.scores.items():
        row(model, images(found), *cells(found, metrics))
    others = [model for model in (folds.STAIN, "baseline") if model in compared.scores]
    for unit in ("fold", "group"):
        gains = dict(together.compared(metrics, unit).gains)
        gains |= {other: together.minus(other, metrics, unit) for other in others}
        for other, gain in gains.items():
            name = f"student − {other}"
            told = f"**{name}**" if other == together.best else name
            by = "" if unit == "fold" else ", by video or picture"
            row(told + by, images(gain), *cells(gain, metrics, "+"))
    kept = [retained(compared, metric) for metric in metrics]
    row("student ÷ teacher", "", *kept)
    print()
    head("run", "student, M", "teacher, M", "share", "student, ms", "teacher, ms", "faster")
    for folder in folders:
        print_cost(folder.relative_to(out), abbe.open_run(folder).summary)


def print_folds_otherwise(out: Path, other: str, plain: str, metrics: Sequence[str]) -> None:
    """Students of folds that were taught otherwise, minus the models of the plain folds."""
    known = [
        [each for each in finished(out, pattern) if is_complete(each)] for pattern in (plain, other)
    ]
    if not all(known):
        return
    beside, taught = map(folds.gathered, known)
    together = folds.taught_otherwise(beside, taught)
    if plain.startswith("stained"):
        together = folds.with_stain(together, out / "sets" / "stained")
    compared = together.compared(metrics)
    print(f"\n### {other}, held against {plain}\n")
    head("model", "images", *metrics)
    row("student", images(compared.scores["student"]), *cells(compared.scores["student"], metrics))
    known = {row["model"] for row in together.rows}
    others = [name for name in (folds.STAIN, "baseline") if name in known]
    for name in (folds.PLAIN, *together.baselines, *others):
        gain = together.minus(name, metrics)
        told = f"**student − {name}**" if name == together.best else f"student − {name}"
        row(told, images(gain), *cells(gain, metrics, "+"))
    row("student ÷ teacher", "", *(retained(compared, metric) for metric in metrics))


def print_times(names: Sequence[str], done: Path, *, more: bool) -> None:
    """Seconds of each finished item, of them processor time, and their sums."""
    found = {name: done / name for name in names if (done / name).exists()}
    took = {name: list(map(int, path.read_text().split())) for name, path in found.items()}
    print(f"\n### Seconds of each item{' of --more' * more}\n")
    head("item", "s", "processor, s")
    for name, seconds in took.items():
        row(name, *seconds)
    sums = (f"**{sum(column)}**" for column in zip(*took.values(), strict=False))
    row(f"**{len(took)} of {len(names)} items**", *sums)


def is_complete(folder: Path) -> bool:
    return abbe.open_run(folder).summary.evidence.complete


def retained(compared: Compared, metric: str) -> str:
    """A share of the teacher's score with its interval, in percent."""
    low, high = compared.retention_ci95.get(metric, (None, None))
    if low is None or high is None:
        return share(compared.retention.get(metric))
    return f"{share(compared.retention.get(metric))} [{100 * low:.0f}, {100 * high:.0f}]"


def finished(out: Path, pattern: str) -> list[Path]:
    return sorted(path.parent for path in out.glob(f"{pattern}/summary.json"))


def head(*names: str) -> None:
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")


def print_run(name: Path, run: Run, metrics: Sequence[str]) -> None:
    """Every model's scores, then the student minus each baseline; the best of them in bold."""
    summary = run.summary
    for model, found in summary.models.items():
        row(name, model, images(found.metrics), *cells(found.metrics, metrics))
    for baseline, gains in summary.gains.items():
        title = f"student − {baseline}"
        best = baseline == summary.evidence.against
        told = cells(gains, metrics, "+")
        row(name, f"**{title}**" if best else title, images(gains), *told)
    if "baseline" in summary.models:  # MobileSAM itself, tuned
        scores = Scores(run.scores.to_pylist())
        pairs = {metric: scores.measured(metric, ["student", "baseline"]) for metric in metrics}
        gains = {key: measured_gain(student.minus(it)) for key, (student, it) in pairs.items()}
        row(name, "student − baseline", images(gains), *cells(gains, metrics, "+"))
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


def print_folds_of_curves(title: str, folders: Sequence[Path]) -> None:
    """Curves that leave a part out in turn, with one share of the labels; a fold is a unit."""
    known: dict[str, dict[str, list[float]]] = {}
    for folder in folders:
        summary = read_summary(folder)
        assert isinstance(summary, CurveSummary)
        for begun, (level,) in summary.scores.items():
            for metric in REGIONS:
                mean = level.metrics[metric].mean
                assert mean is not None  # both are known of any test picture
                known.setdefault(begun, {}).setdefault(metric, []).append(mean)
    if not known:
        return
    print(f"\n### {title}: {len(folders)} folds\n")
    head("begun from", "folds", *REGIONS)
    for begun, found in known.items():
        told = {key: score_of(scoring.mean_interval(found[key])) for key in REGIONS}
        row(begun, images(told), *cells(told, REGIONS))
    for one, other in combinations(reversed(known), 2):
        gains = {
            key: gain_of(scoring.paired_difference(known[one][key], known[other][key]))
            for key in REGIONS
        }
        row(f"{one} − {other}", images(gains), *cells(gains, REGIONS, "+"))


def cells(found: Mapping[str, Score], metrics: Iterable[str], sign: str = "") -> list[str]:
    return [plain_cell(found.get(metric), sign) for metric in metrics]


def images(found: Mapping[str, Score]) -> int | str:
    """How many test images the scores rest on."""
    return next((each.n for each in found.values() if each.n), "—")


def share(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"
