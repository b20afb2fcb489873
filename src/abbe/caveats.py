"""What a careful reader should hold against a run's figures, drawn from its summary alone.

The report and a package's card say the same sentences; nothing else makes any.
"""

from collections.abc import Mapping, Sequence

from abbe.in_words import counted, listing
from abbe.summary import OBJECTS, OWN_DATA, SHAPE, Data, Overlap, RunSummary, Score, Summary

FEW_IMAGES = 30
FEW_CLASSIFIED = 100
"""Right or wrong says less of an image than an overlap does."""
FEW_GROUPS = 20
FEW_OF_A_CLASS = 10
"""'abbe data check' warns of such a class, too."""
TWO_SEEDS = 2
_MORE_SEEDS = " More seeds: abbe distill RUN --evidence standard --resume."
SHOWN_IDS = 5
"""Images that a sentence names."""


def caveats_of(summary: RunSummary) -> list[str]:
    """Sentences, those on the test images first."""
    data = summary.data
    found = [*group_caveats(data), *_few_images(summary), *class_caveats(data)]
    found += constant_caveats(summary)
    if summary.seed is not None and not summary.is_claim:
        found.append(
            f"One seed ({summary.seed}): the intervals speak of which images were tested, not of "
            "the luck of training, which can move a score by more than a narrow interval suggests."
            f"{_MORE_SEEDS if summary.evidence.level and not summary.evaluation_of else ''}"
        )
    if len(summary.evidence.seeds) == TWO_SEEDS and summary.gains:
        found.append(
            "Two seeds: where the seed decides more than the images do, such intervals hold the "
            "truth in 90 to 94 of 100 cases (docs/statistics.md)."
        )
    if len(numbers_of_images(summary)) > 1:
        found.append(
            "Some metrics are undefined on some images (n differs between cells); their means are "
            "over the images where they are defined."
        )
    if data.validation == 0 and summary.evaluation_of is None:
        cut = f", and thresholds come from {summary.thresholds_chosen_on}"
        found.append(
            "No validation image is labelled: the last weights were taken"
            f"{cut if summary.thresholds else ''}."
        )
    found += [*trust_caveats(summary), *shape_caveats(summary)]
    found += [*targets_caveats(summary), *thresholds_caveats(summary), *labels_caveats(summary)]
    found += overlap_caveats(summary)
    extra = [name for name in summary.teacher_channels if name not in summary.student_channels]
    if extra and summary.student_channels:
        found.append(
            f"The teacher sees {listed(extra)}, which the student never sees: their scores are not "
            "of the same task."
        )
    if len(summary.gain) > 1:
        found.append(
            "Every metric has its own test, uncorrected for their number: read the one you chose "
            "beforehand."
        )
    return found + summary.warnings


def trust_caveats(summary: RunSummary) -> list[str]:
    """Where the student did not hear its teacher, or heard one that labels alone do better than."""
    if summary.trust is None:
        return []
    if summary.trust.heard:
        return _weak_teacher(summary) if summary.trust.asked != "auto" else []
    why = "as asked" if summary.trust.asked != "auto" else "as validation images had it"
    return [
        f"The teacher was trusted 0, {why}: the student has learned from labels alone, and nothing "
        "here says what distillation brings."
    ]


def _weak_teacher(summary: RunSummary) -> list[str]:
    teacher, alone = (
        summary.models[name].metrics.get("dice", Score()).mean if name in summary.models else None
        for name in ("teacher", "supervised")
    )
    if teacher is None or alone is None or teacher >= alone:
        return []
    return [
        "The teacher does worse than the network that labels alone have taught (Dice "
        f"{teacher:.3f} and {alone:.3f}): a student has little to gain from it, and may lose. With "
        "--teacher.trust auto it is heard only where validation images say that it helps."
    ]


def shape_caveats(summary: RunSummary) -> list[str]:
    """Where prompts alone come to what the student does, or to more."""
    if SHAPE not in summary.models or "student" not in summary.models:
        return []
    found = []
    for metric in ("dice", "dice_1_point", "dice_3_points"):
        shape, student = (
            summary.models[name].metrics.get(metric, Score()).mean for name in (SHAPE, "student")
        )
        if shape is not None and student is not None and shape >= student:
            found.append(f"{summary.metric_names[metric]}: {shape:.3f}, the student {student:.3f}")
    if not found:
        return []
    return [
        "A shape that no network has a part in (the ellipse that fills the box, a disc around the "
        f"points) does as well as the student or better. {'; '.join(found)}. So these scores say "
        "more of the prompts than of the network."
    ]


def targets_caveats(summary: Summary) -> list[str]:
    """On images without an answer of the teacher, with an empty one, and on those left out."""
    found, targets = [], summary.targets
    if targets is not None and targets.empty:
        found.append(
            f"The teacher found nothing on {targets.empty} of {counted(targets.images, 'image')}; "
            "there the student learned nothing from it."
        )
    if targets is not None and targets.missing:
        found.append(f"The teacher gave no answer for {counted(targets.missing, 'image')}.")
    if count := len(summary.left_out):
        found.append(
            f"{counted(count, 'image')} could not be used and {'was' if count == 1 else 'were'} "
            "left out, as was allowed: "
            f"{listing(summary.left_out, SHOWN_IDS)}."
        )
    return found


def thresholds_caveats(summary: RunSummary) -> list[str]:
    """Where the teacher's maps were not cut as the student's were."""
    teacher, student = (summary.thresholds.get(name) for name in ("teacher", "student"))
    if teacher is None or student is None or student.chosen_on == "default":
        return []
    if teacher.chosen_on == OBJECTS:
        return [
            "The teacher's objects are as the program gave them: it has no threshold to choose, "
            "while the student's were chosen for images like these."
        ]
    if teacher.chosen_on == "default":
        return [
            "The teacher gave no answer for the images on which the student's thresholds were "
            "chosen, so its own stay at 0.5: its scores may be lower for that, and retention "
            "higher."
        ]
    counts = [
        labels.thresholds if (labels := summary.models[name].labels) else 0
        for name in ("teacher", "student")
        if name in summary.models
    ]
    if len(counts) == 2 and 0 < counts[0] < counts[1]:
        return [
            f"The teacher's thresholds were chosen on {counts[0]} of the {counts[1]} images on "
            "which the student's were: for the others it gave no answer."
        ]
    return []


def overlap_caveats(summary: Summary) -> list[str]:
    """On what was trained before and has seen test images, or may have."""
    found = []
    for each in summary.overlaps:
        if each.source == OWN_DATA:
            found.append(repeated_caveat(each))
        elif each.images is None:
            found.append(
                f"What the network of {each.source} was trained on is not recorded, so it cannot "
                "be known whether it has seen test images."
            )
        else:
            found.append(
                f"The network of {each.source} was trained or validated on {each.images} of the "
                f"test images (such as {each.example}), as was allowed: scores on them flatter."
            )
    return found


def repeated_caveat(found: Overlap) -> str:
    """On test images that the run has by another name, to train or validate on."""
    count = found.images or 0
    have = "has" if count == 1 else "have"
    return (
        f"{counted(count, 'test image')} (such as {found.example}) {have} the very pixels of an "
        "image to train or validate on: scores on them flatter."
    )


def labels_caveats(summary: Summary) -> list[str]:
    """Where the teacher was shown the true labels."""
    if not summary.teacher_saw_labels:
        return []
    prompted = summary.teacher.prompt_mode if summary.teacher is not None else None
    how = f" ({prompted})" if prompted else ""
    return [
        f"The teacher was shown the true labels{how} of whatever it answered for: its scores are "
        "no measure of what it can do alone, and the student has used more labels than those "
        "counted."
    ]


def group_caveats(data: Data) -> list[str]:
    """What the groups of the test images, or not knowing them, means for the intervals."""
    if data.grouped is None or not data.test:
        return []  # a run of an earlier version
    if not data.grouped:
        return [
            "Which test images belong together (of one patient, slide or video) is not known, so "
            "each was taken for independent. If some do, the intervals are too narrow: name the "
            "group of each image in the column 'group' of index.csv."
        ]
    if data.test_groups == 1:
        return [
            "All test images are of one group (patient, slide, video): no interval is possible, "
            "and nothing is known of other groups."
        ]
    if data.test_groups == 2:  # scoring.MINIMUM_GROUPS is 3
        return [
            "The test images are of 2 groups only (patients, slides, videos): no interval is "
            "possible, for which 3 are needed."
        ]
    if data.test_groups is not None and data.test_groups < FEW_GROUPS:
        return [
            f"The test images are of {data.test_groups} groups only: the intervals are wide for "
            "it, and say little of groups unlike these."
        ]
    return []


def class_caveats(data: Data) -> list[str]:
    """What the numbers of test images by class forbid to conclude."""
    tested: Mapping[str, int] = (data.class_counts or {}).get("test", {})
    present = [name for name, count in tested.items() if count]
    absent = [name for name, count in tested.items() if not count]
    few = [f"{name} ({tested[name]})" for name in present if tested[name] < FEW_OF_A_CLASS]
    found = []
    if len(present) == 1:
        found.append(
            f"All test images are of the class {present[0]}: balanced accuracy and AUROC are not "
            "defined, and accuracy is the recall of this class alone. A model that always answers "
            "it would seem perfect."
        )
    elif absent:
        found.append(
            f"No test image is of {', '.join(absent)}: nothing here says how well that is told."
        )
    if few:
        found.append(
            f"Fewer than {FEW_OF_A_CLASS} test images of {', '.join(few)}: a single image "
            "moves the recall of such a class by a tenth or more."
        )
    return found


def constant_caveats(summary: RunSummary) -> list[str]:
    """Classifiers that gave one answer, whatever they saw."""
    found = []
    for name, model in summary.models.items():
        table = model.confusion or []
        answered = [number for number, column in enumerate(zip(*table, strict=True)) if any(column)]
        if len(answered) == 1 and sum(map(any, table)) > 1:
            found.append(
                f"The {name} answered {summary.classes[answered[0]]} for every test image: it "
                "tells no classes apart, and a narrow interval of its balanced accuracy says that "
                "alone."
            )
    return found


def numbers_of_images(summary: RunSummary) -> list[int]:
    """The numbers of test images that the models' scores rest on, most common first."""
    scores = (score for model in summary.models.values() for score in model.metrics.values())
    counts = [score.n for score in scores if score.n is not None]
    return sorted(set(counts), key=lambda n: (-counts.count(n), counts.index(n)))


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _few_images(summary: RunSummary) -> list[str]:
    tested, data = summary.data.test, summary.data
    few = FEW_IMAGES if data.class_counts is None else FEW_CLASSIFIED
    if not tested or tested >= few or data.test_groups == 1:
        return []
    return [
        f"Only {tested} test image{'s' * (tested > 1)}: the intervals are wide for it, and say "
        "little of images unlike these."
    ]
