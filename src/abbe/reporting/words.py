"""The sentences of the page, each drawn from the figures of the run and no rosier than they are."""

from abbe.caveats import listed
from abbe.reporting.costs import compression
from abbe.reporting.numbers import bounds_of, decimal, interval, percent
from abbe.reporting.tables import (
    full_name,
    is_fraction,
    models_of,
    primary_metric,
    verdict_of,
)
from abbe.summary import RunSummary, Summary, Teacher, Trust

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


def headline(summary: RunSummary) -> str:
    """What the run found, in one or two plain sentences."""
    metric = primary_metric(summary)
    if metric is None:
        return "No model of this run was scored."
    if summary.trust is not None and not summary.trust.heard:
        return _headline_unheard(summary, summary.trust, metric)
    where = "On simulated images, distillation" if summary.data.simulated else "Distillation"
    gain = summary.gain.get(metric)
    name = short_name(summary, metric)
    if gain is None or gain.mean is None:
        return _headline_without_gain(summary, metric)
    amount, bounds = _amount(metric, gain.mean), bounds_of(gain.ci95)
    scale, digits = (100, 1) if is_fraction(metric) else (1, 2)
    between = interval(bounds, digits, scale=scale)
    unit = f"{name} points" if is_fraction(metric) else f"px of {name}"
    measured = f"{amount} {unit} {between}".strip()
    verdict = verdict_of(summary, metric, gain)
    kept = _kept(summary, metric) + _smaller(summary)
    without, seeds = without_it(summary), len(summary.evidence.seeds)
    if verdict == "unproven":
        return (
            f"No claim: this is one seed, by whose luck alone a score can move. {where} changed "
            f"the student by {measured} against {without}{kept}."
        )
    of = f"{measured} against {without}, mean of {seeds} seeds"
    if verdict == "better":
        return f"{where} gained {measured} over {without}, mean of {seeds} seeds{kept}."
    if verdict == "worse":
        return f"{where} did harm: {of}{kept}."
    if verdict == "negligible":
        less = f"less than {100 * summary.smallest_gain:g} points"
        return f"{where} made no difference that matters: {of}, {less}{kept}."
    return (
        f"{where} made no difference that this test can show: {of}; the interval includes 0{kept}."
        if bounds
        else f"{where} changed the student by {of}, an amount without an interval{kept}."
    )


_BASELINES = {
    "twin": "its twin, the same network on the same batches without it",
    "supervised": "the same network trained on labels alone",
    "self-training": "the same network in self-training",
}


def without_it(summary: RunSummary) -> str:
    """The baseline of the headline in words; where there were several, that it is the best."""
    name = summary.evidence.against
    best = "the best baseline, " if summary.evidence.chosen_on else ""
    return best + _BASELINES.get(name, "the same student without it")


def equality(summary: RunSummary) -> str:
    """What is equal between the student and its baselines, and what is not."""
    evidence = summary.evidence
    told = [f"{name}: {differs}" for name, differs in evidence.differs.items()]
    if not told:
        return ""
    chosen = (
        " The gain of the headline is over the one with the best mean score on validation images."
        if evidence.chosen_on
        else ""
    )
    if summary.validation_score:
        chosen += f" On validation images the score is {summary.validation_score}."
    return (
        "Equal for student and baselines: architecture, initial weights, labels, crops and "
        f"augmentation, learning rate, validation images. {'; '.join(told).capitalize()}.{chosen}"
    )


def probe_gain(summary: RunSummary) -> str:
    """What pretraining bought a linear probe; nothing where that was not measured."""
    metric, probes = primary_metric(summary), summary.linear_probe
    gain = probes.gain.get(metric or "") if probes else None
    if metric is None or gain is None or gain.mean is None:
        return ""
    began = summary.initialisations
    bare = next(each for name, each in began.items() if name != "student")
    return (
        f"Linear probe, {began['student']} − {bare}: {decimal(gain.mean, signed=True)} "
        f"{short_name(summary, metric)} {interval(bounds_of(gain.ci95))}".strip()
    )


def short_name(summary: Summary, metric: str) -> str:
    """A metric's name for headlines and axes: the full one stands in the table."""
    if metric.startswith("f1@"):
        return f"F1 @ {metric[3:]}"
    return _SHORT_NAMES.get(metric) or full_name(summary, metric).partition(" (")[0]


def banners(summary: Summary) -> list[tuple[str, str]]:
    """(title, text) of what no reader may overlook."""
    teacher, found = summary.teacher or Teacher(), []
    if summary.data.simulated or teacher.simulated:
        text = (
            "The images come from a simulator: the figures say nothing about real ones."
            if summary.data.simulated
            else "The student learned from a simulator; the test images do not come from it."
        )
        found.append(("Simulated", text))
    if teacher.stand_in:
        found.append(("Stand-in", f"{teacher.teacher} stands in for another teacher."))
    if summary.teacher_saw_labels:
        found.append(
            (
                "Teacher sees the labels",
                "The teacher was prompted with the true labels. Its scores are no measure of what "
                "it can do alone, and what the student gained is not gained without labels.",
            )
        )
    if isinstance(summary, RunSummary) and not summary.evidence.complete:
        found.append(
            (
                "Not finished",
                "The first student is trained; what it is to be held against is not yet.",
            )
        )
    if summary.encoder_weights == "random":
        found.append(
            (
                "Random initial weights",
                "The encoder started from random weights, not from pretrained ones, which usually "
                "score higher and gain less.",
            )
        )
    return found


def _headline_unheard(summary: RunSummary, trust: Trust, metric: str) -> str:
    why = " (teacher.trust 0)"
    if trust.asked == "auto":
        teacher, alone = (
            decimal(found["foreground"]["dice"], 2) for found in (trust.teacher, trust.alone)
        )
        why = (
            f": on {trust.images} validation images it has Dice {teacher}, the network that labels "
            f"alone have taught {alone}"
        )
    score = summary.models["student"].metrics.get(metric)
    reached = ""
    if score is not None:
        name, bounds = short_name(summary, metric), interval(bounds_of(score.ci95))
        reached = f", with {name} {decimal(score.mean)} {bounds}".rstrip()
    return f"The teacher was not heard{why}. So the student is that network{reached}."


def _headline_without_gain(summary: RunSummary, metric: str) -> str:
    where = " on simulated images" if summary.data.simulated else ""
    scored = [
        f"{model} {decimal(score.mean)} {interval(bounds_of(score.ci95))}".strip()
        for model in models_of(summary)
        if (score := summary.models[model].metrics.get(metric))
    ]
    quick = " (evidence: quick)" if summary.evidence.level == "quick" else ""
    return (
        f"{full_name(summary, metric)}{where}: {listed(scored)}. No gain was measured{quick}, so "
        "nothing here says what distillation bought."
    )


def _amount(metric: str, mean: float) -> str:
    if is_fraction(metric):
        return decimal(100 * mean, 1, signed=True)
    return decimal(mean, 2, signed=True)


def _kept(summary: RunSummary, metric: str) -> str:
    share = summary.retention.get(metric)
    if share is None or not is_fraction(metric):
        return ""
    verb = "keeps" if share <= 1 else "reaches"
    return (
        f", and the student {verb} {percent(share)} of the teacher’s {short_name(summary, metric)}"
    )


def _smaller(summary: RunSummary) -> str:
    found = compression(summary)
    return f"; {found}" if found else ""
