"""The sentences of a curve's page: what it found, what its intervals cover, what to doubt."""

from abbe.caveats import group_caveats, labels_caveats, overlap_caveats, targets_caveats
from abbe.in_words import counted
from abbe.reporting.numbers import bounds_of, decimal, interval
from abbe.reporting.tables import full_name, is_fraction, verdict_of
from abbe.reporting.words import short_name
from abbe.summary import CurveSummary, Data, Gain

_FEW_IMAGES = 100
_FEW_SEEDS = 5


def headline(summary: CurveSummary) -> str:
    """What the curve shows, over all shares of the labels and at the smallest."""
    metric, reference = summary.metric, summary.reference
    name = main_arm(summary)
    if name is None:
        return (
            f"{full_name(summary, metric)} of {reference} over the number of labelled images; "
            "nothing stands beside it to compare with."
        )
    found = summary.differences[name]
    whole = found.all[metric]
    where = " on simulated images" if summary.data.simulated else ""
    shares = len(summary.levels)
    over = f"Over all {shares} shares of the labels" if shares > 1 else "At this share of labels"
    verdict = verdict_of(summary, metric, whole)
    if verdict == "negligible":
        start = (
            f"{over}{where}, no difference that matters between {name} and {reference} (less than "
            f"{100 * summary.smallest_gain:g} points): {points(summary, whole)}"
        )
    elif verdict in ("unclear", "unproven"):
        start = (
            f"{over}{where}, no difference between {name} and {reference} is shown: "
            f"{points(summary, whole)}"
        )
    else:
        start = f"{over}{where}, {name} scored {points(summary, whole)} against {reference}"
    if shares == 1:
        return f"{start}."
    first = found.levels[0]
    least, count = first.metrics[metric], first.labelled
    images = counted(count, "labelled image")
    small = f"{points(summary, least)}" if least.mean is not None else "undefined"
    return f"{start}. With {images} the difference is {small}."


def main_arm(summary: CurveSummary) -> str | None:
    """What the headline is about: the student, or the initialisation that RCKD proposes."""
    preferred = ("student", "rckd", "rckd+contrastive", "contrastive", "given")
    return next((name for name in preferred if name in summary.differences), None)


def points(summary: CurveSummary, difference: Gain) -> str:
    """``+3.2 points of balanced accuracy [1.1, 5.0]``."""
    metric, mean = summary.metric, difference.mean
    scale, digits = (100, 1) if is_fraction(metric) else (1, 2)
    amount = decimal(None if mean is None else scale * mean, digits, signed=True)
    unit = "points of " if is_fraction(metric) else "px of "
    bounds = interval(bounds_of(difference.ci95), digits, scale=scale)
    return f"{amount} {unit}{short_name(summary, metric)} {bounds}".strip()


def what_intervals_cover(summary: CurveSummary) -> str:
    """Exactly what was drawn again, and what was not."""
    seeds, tests = len(summary.seeds), summary.data.test
    units = (
        f"whole groups of test images (patients, slides; {_groups(summary)}{tests} images)"
        if summary.grouped
        else f"the {tests} test images"
    )
    text = f"95 % intervals cover the choice of {units}, by leaving each out (jackknife)"
    if seeds > 1:
        text += (
            f"; and the luck of the {seeds} seeds, whose variance is added. A seed decides which "
            "labels are kept, how new layers begin, and the batches; differences are paired by "
            "test image and by seed."
        )
    else:
        text += (
            ". There is one seed only: which labels were kept, how new layers began and the "
            "batches are not covered. Differences are paired by test image."
        )
    if summary.pretraining:
        text += (
            " Pretraining was done anew for each seed, and its luck is covered alike."
            if summary.pretrain_per_seed
            else " Each initialisation was pretrained once for all seeds: the luck of pretraining "
            "is not covered."
        )
    return f"{text} The division into training, validation and test images is not covered either."


def _groups(summary: CurveSummary) -> str:
    count = summary.test_groups
    return f"{count} groups, " if count else ""


def caveats(summary: CurveSummary) -> list[str]:
    """What a careful reader should hold against the curve."""
    data, seeds = summary.data, len(summary.seeds)
    found = []
    if summary.finished < summary.planned:
        found.append(
            f"Unfinished: {summary.finished} of {summary.planned} trainings are done. Shown "
            f"are the seeds of which all are: {', '.join(map(str, summary.seeds))}."
        )
    if seeds < _FEW_SEEDS:
        found.append(
            f"{seeds} seed{'s' * (seeds > 1)}: at the smallest shares, which images happen to be "
            "labelled can matter more than how the network began. Look at the seeds' own marks."
        )
    if summary.grouped:
        of_images = Data(test=data.test, grouped=True, test_groups=summary.test_groups)
        found += group_caveats(of_images)
    if data.test is not None and data.test < _FEW_IMAGES:
        found.append(
            f"{data.test} test images are few: look at the intervals, and take them as rough."
        )
    if data.validation:
        found.append(
            f"All {data.validation} validation images keep their labels at every share: they (at "
            "most training.validation_images of them) choose the best weights, so the labels "
            "needed are more than the axis says."
        )
    else:
        found.append("There are no labelled validation images: the last weights were taken.")
    found.append(
        f"Every training takes up to {summary.steps} steps, however few its labels: a schedule "
        "chosen for one share may not be the best for another."
    )
    if len(summary.levels) > 1 and summary.differences:
        found.append(
            "Each share, metric and initialisation has its own interval, uncorrected for their "
            "number: the mean over all shares of the metric you chose beforehand is one test."
        )
    for level in summary.levels:
        if level.merged:
            shares = ", ".join(f"{100 * each:g} %" for each in level.merged)
            found.append(
                f"{shares}: keeps the same {level.labelled} images as "
                f"{100 * level.fraction:g} %, so it was not trained again."
            )
    found += [*targets_caveats(summary), *labels_caveats(summary), *overlap_caveats(summary)]
    found += summary.warnings
    return found + (summary.teacher.notes if summary.teacher else [])
