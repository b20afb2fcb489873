"""Lists of facts: values of the run's files under names that readers know."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from abbe.in_words import counted
from abbe.reporting.numbers import decimal, is_number
from abbe.summary import Data, RunSummary, Stage, Summary, Teacher

MOST_IDS = 5
"""Images that are named beside a note."""

# Keys of the run's files in the words of its readers.
DATA_NAMES = {
    "name": "Data set",
    "train_labelled": "Training images with labels",
    "train_unlabelled": "Training images without labels",
    "validation": "Validation images",
    "test": "Test images",
    "test_groups": "Groups of test images",
    "licence": "Licence of the data set",
    "simulated": "Simulated",
    "image_notes": "Noted when images were read",
    "label_notes": "Noted when labels were read",
}
TEACHER_NAMES = {
    "teacher": "Teacher",
    "weights_sha256": "SHA-256 of its weights",
    "weights_licence": "Licence of its weights",
    "training_data_licence": "Licence of its training data",
    "channels": "Channels it sees",
    "normalisation": "Normalisation",
    "outputs": "Outputs",
    "prompt_mode": "Prompts",
    "thresholds": "Its thresholds",
    "settings": "Its settings",
    "sees_labels": "Sees the labels",
    "notes": "Of itself",
}
MACHINE_NAMES = {
    "abbe": "Abbe",
    "python": "Python",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "cpu": "CPU",
    "started": "Started",
}


NOT_OF_THE_MACHINE = ("command", "seconds", "resumed")
"""Keys of environment.json that stand elsewhere on the page."""


class Fact(NamedTuple):
    """A line of a list of facts."""

    name: str
    value: str


def teacher_facts(teacher: Teacher | None) -> list[Fact]:
    """Everything about where the targets came from; of the mean of several teachers, of each."""
    if teacher is None:
        return []
    apart = {"settings"} if teacher.parts else None  # each of these is a fact of its own
    found = facts_of(teacher.model_dump(exclude=apart), TEACHER_NAMES)
    if teacher.parts:
        found += [Fact(name.capitalize(), told) for name, told in teacher.settings.items()]
    for number, part in enumerate(teacher.parts, 1):
        own = facts_of(part.model_dump(), TEACHER_NAMES)
        found += [Fact(f"{number}. {fact.name}", fact.value) for fact in own]
    return found


def data_facts(data: Data) -> list[Fact]:
    """Everything about the data set but its labels by class, which have a table of their own."""
    values = data.model_dump(exclude={"class_counts"}, exclude_unset=True)
    for key, what in (("image_notes", "image"), ("label_notes", "label")):
        values[key] = [_noted(note, ids, what) for note, ids in getattr(data, key).items()]
    return facts_of(values, DATA_NAMES, others=True)


def _noted(note: str, ids: Sequence[str], what: str) -> str:
    more = f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else ""
    count = f"{len(ids)} {what}{'s' if len(ids) > 1 else ''}"
    return f"{count} ({', '.join(ids[:MOST_IDS])}{more}): {note.rstrip('.')}"


def channel_facts(summary: Summary) -> list[Fact]:
    """The channels that teacher and student see."""
    seen = {"Teacher sees": summary.teacher_channels, "Student sees": summary.student_channels}
    return [Fact(name, ", ".join(channels)) for name, channels in seen.items() if channels]


def trust_facts(summary: RunSummary) -> list[Fact]:
    """How much the teacher counted, and what that rests on."""
    trust = summary.trust
    if trust is None:
        return []
    weights = ", ".join(f"{output} {weight:g}" for output, weight in trust.outputs.items())
    asked = "chosen (auto)" if trust.asked == "auto" else "as asked"
    found = [Fact("Trust in the teacher", f"{weights}; {asked}")]
    place = f"on {counted(trust.images, f'labelled {trust.measured_on} image')}"
    for scores, name in ((trust.teacher, "The teacher"), (trust.alone, "Labels alone")):
        told = [
            f"{output} {metric.replace('_', ' ')} {decimal(value)}"
            for output, metrics in scores.items()
            for metric, value in metrics.items()
        ]
        if told:
            found.append(Fact(f"{name} {place}", ", ".join(told)))
    if trust.agreement is not None:
        least, median, most = trust.agreement
        told = f"{decimal(median, 2)} ({decimal(least, 2)} to {decimal(most, 2)})"
        found.append(Fact("Agreement on a training image, median (range)", told))
    return found


def facts_of(
    values: Mapping[str, Any], names: Mapping[str, str], *, others: bool = False
) -> list[Fact]:
    """Named values in the order of ``names``; then, if ``others``, all the rest there is."""
    order = dict(names)
    if others:
        order |= {k: str(k).replace("_", " ").capitalize() for k in values if k not in names}
    given = {key: name for key, name in order.items() if values.get(key) not in (None, "", [], {})}
    return [Fact(name, text_of(values[key])) for key, name in given.items()]


def text_of(value: Any) -> str:
    """Any value of a JSON file in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text_of(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text_of(part) for part in value)
    return str(value)


def schedule_sentence(stage: Stage) -> str:
    """``1875 steps of 16, 30 passes over 250 images (1000 crops); learning rate 0.0001``."""
    asked = stage.asked
    data = counted(stage.images, "image")
    if stage.samples != stage.images:
        data += f" ({counted(stage.samples, 'crop')})"
    chosen = f" (of {stage.architecture})" if asked.learning_rate == "auto" else ""
    least = asked.passes is not None and stage.steps == asked.minimum_steps
    length = f"{stage.steps} steps of {stage.batch_size}{' (the least)' * least}"
    rate = f"learning rate {stage.learning_rate:g}{chosen}"
    return f"{length}, {stage.passes:.3g} passes over {data}; {rate}"


def duration(seconds: Any) -> str:
    """200 → ``3 min``; nothing where it is unknown."""
    if not is_number(seconds):
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
