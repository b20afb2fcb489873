"""The sentences of the page, each drawn from the figures of the run and no rosier than they are."""

from collections.abc import Mapping
from typing import Any

from abbe.report.classes import class_caveats
from abbe.report.costs import compression
from abbe.report.numbers import bounds_of, decimal, interval, is_number, percent
from abbe.report.run_folder import Run
from abbe.report.tables import (
    counts_of,
    full_name,
    is_fraction,
    metrics_of_model,
    models_of,
    primary_metric,
    retention_of,
    smallest_gain,
    verdict_of,
)

_FEW_IMAGES = 30
_FEW_GROUPS = 20

_SHORT_NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "precision": "Precision",
    "recall": "Recall",
    "nsd": "NSD",
    "hd95": "HD95",
    "mean_ap": "Mean AP",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "aji": "AJI",
    "auroc": "AUROC",
}

# A key that ends in "@" stands for all metrics that begin with it.
METRIC_MEANINGS = {
    "dice": "Twice the shared area over the sum of both areas. 1 is perfect, 0 is no overlap.",
    "iou": "Shared area over the area of the union.",
    "precision": "Share of the predicted area that is right.",
    "recall": "Share of the true area that was found.",
    "boundary_f1": "F1 of boundary pixels that have a partner within the tolerance.",
    "nsd": "Share of both boundaries within the tolerance.",
    "hd95": "95th percentile of the distances between the boundaries, in pixels. Lower is better.",
    "f1@": "2 TP / (2 TP + FP + FN) over objects; a prediction counts as found when its IoU with "
    "a true object reaches the stated threshold.",
    "mean_ap": "TP / (TP + FP + FN) over objects, averaged over IoU thresholds 0.5 to 0.95. Other "
    "fields call another quantity mAP.",
    "pq": "Panoptic quality: segmentation quality times recognition quality.",
    "sq": "Mean IoU of the objects that were found (IoU above 0.5).",
    "rq": "F1 over objects at IoU 0.5.",
    "aji": "Aggregated Jaccard index: intersections over unions of matched objects, with what is "
    "unmatched counted against it.",
    "balanced_accuracy": "The recall of a class is the share of its images that are recognised; "
    "this is its mean over the classes that occur. Not defined where only one class occurs.",
    "accuracy": "Share of the images that are recognised; frequent classes count most.",
    "macro_f1": "2 TP / (2 TP + FP + FN) of each class, averaged over classes.",
    "auroc": "How probable it is that an image of a class gets a higher probability of it than an "
    "image of another class, averaged over classes. 0.5 is chance.",
}


def headline(summary: Mapping[str, Any]) -> str:
    """What the run found, in one or two plain sentences."""
    metric = primary_metric(summary)
    if metric is None:
        return "No model of this run was scored."
    where = "On simulated images, distillation" if _tests_simulated(summary) else "Distillation"
    gain = (summary.get("gain") or {}).get(metric) or {}
    name = short_name(summary, metric)
    if not is_number(gain.get("mean")):
        return _headline_without_gain(summary, metric)
    amount, bounds = _amount(metric, gain["mean"]), bounds_of(gain)
    scale, digits = (100, 1) if is_fraction(metric) else (1, 2)
    between = interval(bounds, digits, scale=scale)
    unit = f"{name} points" if is_fraction(metric) else f"px of {name}"
    measured = f"{amount} {unit} {between}".strip()
    verdict = verdict_of(summary, metric, gain)
    kept = _kept(summary, metric) + _smaller(summary)
    if verdict == "better":
        return f"{where} gained {measured} over the same student without it{kept}."
    if verdict == "worse":
        return f"{where} did harm: {measured} against the same student without it{kept}."
    if verdict == "negligible":
        return (
            f"{where} made no difference that matters: {measured} against the same student "
            f"without it, less than {100 * smallest_gain(summary):g} points{kept}."
        )
    return (
        f"{where} made no difference that this test can show: {measured} against the same "
        f"student without it; the interval includes 0{kept}."
        if bounds
        else f"{where} changed the student by {measured}, an amount without an interval{kept}."
    )


def probe_gain(summary: Mapping[str, Any]) -> str:
    """What pretraining bought a linear probe; nothing where that was not measured."""
    metric = primary_metric(summary)
    gain = ((summary.get("linear_probe") or {}).get("gain") or {}).get(metric) or {}
    if metric is None or not is_number(gain.get("mean")):
        return ""
    began = summary["initialisations"]
    return (
        f"Linear probe, {began['student']} − {began['twin']}: {decimal(gain['mean'], signed=True)} "
        f"{short_name(summary, metric)} {interval(bounds_of(gain))}".strip()
    )


def short_name(summary: Mapping[str, Any], metric: str) -> str:
    """A metric's name for headlines and axes: the full one stands in the table."""
    if metric.startswith("f1@"):
        return f"F1 @ {metric[3:]}"
    return _SHORT_NAMES.get(metric) or full_name(summary, metric).partition(" (")[0]


def is_simulated(summary: Mapping[str, Any]) -> bool:
    """Whether a simulator made any of the images or the targets."""
    parts = (summary, summary.get("data") or {}, summary.get("teacher") or {})
    return any(part.get("simulated") for part in parts)


def banners(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(title, text) of what no reader may overlook."""
    teacher = summary.get("teacher") or {}
    found = []
    if is_simulated(summary):
        text = (
            "The images come from a simulator: the figures say nothing about real ones."
            if _tests_simulated(summary)
            else "The student learned from a simulator; the test images do not come from it."
        )
        found.append(("Simulated", text))
    found += [("Stand-in", str(text)) for text in summary.get("stand_in") or ()]
    if teacher.get("stand_in") and not summary.get("stand_in"):
        found.append(
            ("Stand-in", f"{teacher.get('teacher', 'The teacher')} stands in for another.")
        )
    if teacher.get("sees_labels"):
        found.append(
            (
                "Teacher sees the labels",
                "The teacher was prompted with the true labels. Its scores are no measure of what "
                "it can do alone, and what the student gained is not gained without labels.",
            )
        )
    if summary.get("encoder_weights") == "random":
        found.append(
            (
                "Random initial weights",
                "The encoder started from random weights, not from pretrained ones, which usually "
                "score higher and gain less.",
            )
        )
    return found


def caveats(run: Run) -> list[str]:
    """What a careful reader should hold against the figures."""
    summary = run.summary
    data, targets = summary.get("data") or {}, summary.get("targets") or {}
    found = []
    found += group_caveats(data)
    tested = data.get("test")
    if isinstance(tested, int) and 0 < tested < _FEW_IMAGES and data.get("test_groups") != 1:
        found.append(
            f"Only {tested} test image{'s' * (tested > 1)}: the intervals are wide, and an "
            "interval from so few images is itself uncertain."
        )
    found += class_caveats(summary)
    seed = run.environment.get("seed")
    if isinstance(seed, int):
        found.append(
            f"One seed ({seed}): the intervals speak of which images were tested, not of the luck "
            "of training. A second seed can move a score by more than a narrow interval suggests."
        )
    if len(counts_of(summary)) > 1:
        found.append(
            "Some metrics are undefined on some images (n differs between cells); their means are "
            "over the images where they are defined."
        )
    if targets.get("empty"):
        found.append(
            f"The teacher found nothing on {targets['empty']} of {targets.get('images', '?')} "
            "images; there the student learned nothing from it."
        )
    extra = [c for c in summary.get("teacher_sees") or () if c not in student_sees(summary)]
    if extra and student_sees(summary):
        found.append(
            f"The teacher sees {_list(extra)}, which the student never sees: their scores are not "
            "of the same task."
        )
    if len(summary.get("gain") or {}) > 1:
        found.append(
            "Every metric has its own test, uncorrected for their number: read the one you chose "
            "beforehand."
        )
    found += [str(warning) for warning in summary.get("warnings") or ()]
    return [*found, *run.problems]


def in_groups(summary: Mapping[str, Any]) -> str:
    """`` of 4 groups (patients, slides …)``, or nothing where groups are unknown."""
    data = summary.get("data") or {}
    count = data.get("test_groups")
    if not data.get("grouped") or not isinstance(count, int):
        return ""
    return f" of {count} group{'s' * (count != 1)} (patients, slides …)"


def group_caveats(data: Mapping[str, Any]) -> list[str]:
    """What the groups of the test images, or not knowing them, means for the intervals."""
    if "grouped" not in data or not data.get("test"):
        return []  # a run of an earlier version
    if not data["grouped"]:
        return [
            "Which test images belong together (of one patient, slide or video) is not known, so "
            "each was taken for independent. If some do, the intervals are too narrow: name the "
            "group of each image in the column 'group' of index.csv."
        ]
    if data["test_groups"] == 1:
        return [
            "All test images are of one group (patient, slide, video): no interval is possible, "
            "and nothing is known of other groups."
        ]
    if data["test_groups"] < _FEW_GROUPS:
        return [
            f"The test images are of {data['test_groups']} groups only: an interval from so few "
            "is itself uncertain, and rather too narrow."
        ]
    return []


def student_sees(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """The channels that the student sees."""
    return tuple(summary.get("student_sees") or ())


def _tests_simulated(summary: Mapping[str, Any]) -> bool:
    data = summary.get("data") or {}
    return bool(data["simulated"] if "simulated" in data else summary.get("simulated"))


def _headline_without_gain(summary: Mapping[str, Any], metric: str) -> str:
    where = " on simulated images" if _tests_simulated(summary) else ""
    scored = [
        f"{model} {decimal(score.get('mean'))} {interval(bounds_of(score))}".strip()
        for model in models_of(summary)
        if (score := metrics_of_model(summary, model).get(metric))
    ]
    return (
        f"{full_name(summary, metric)}{where}: {_list(scored)}. "
        "No gain was measured, so nothing here says what distillation bought."
    )


def _amount(metric: str, mean: float) -> str:
    if is_fraction(metric):
        return decimal(100 * mean, 1, signed=True)
    return decimal(mean, 2, signed=True)


def _kept(summary: Mapping[str, Any], metric: str) -> str:
    share, _ = retention_of(summary, metric)
    if share is None or not is_fraction(metric):
        return ""
    verb = "keeps" if share <= 1 else "reaches"
    return (
        f", and the student {verb} {percent(share)} of the teacher’s {short_name(summary, metric)}"
    )


def _smaller(summary: Mapping[str, Any]) -> str:
    found = compression(summary)
    return f"; {found}" if found else ""


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
