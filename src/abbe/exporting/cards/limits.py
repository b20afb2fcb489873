"""What a hospital asks of a model's card: its use, its limits, its data, and how sure it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from abbe.exporting.cards.parity import number
from abbe.runtime.package import PackageDescription

NOT_STATED = "not stated"


def use_and_limits(package: PackageDescription) -> str:
    """What it is meant for, what it was never tried on, and which data and teacher made it."""
    stated, lineage = package.training, package.lineage
    listed = package.files.get("training_images")
    teacher = lineage.teacher
    if teacher != "none":
        teacher = f"{teacher}, version {_text(stated.get('teacher_version'))}"
    rows = {
        "Intended use": _text(stated.get("intended_use")),
        "Tested on": _tested(package),
        "Not tested on": _text(stated.get("not_tested_on")),
        "Training data": f"{lineage.dataset}, version {_text(stated.get('data_version'))}",
        "SHA-256 of the training images' digests": listed.sha256 if listed else NOT_STATED,
        "Teacher": teacher,
        "SHA-256 of the teacher's weights": lineage.teacher_weights_sha256 or NOT_STATED,
    }
    if teacher == "none":
        del rows["SHA-256 of the teacher's weights"]
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
    return (
        "## Use and limits\n\n" + "\n".join(lines) + "\n\nIt is no medical device, and nobody has "
        "shown that it is fit for the care of patients."
    )


def calibration(package: PackageDescription, network: str) -> str:
    """Whether its probabilities mean what they say."""
    known = package.training.get("calibration")
    own = known.get(network) if isinstance(known, Mapping) else None
    if not isinstance(own, Mapping) or not own:
        return f"## Calibration\n\n{NOT_STATED.capitalize()}."
    head = ("", "temperature", "images", "calibration error without", "with")
    rows = [head, ("---",) * len(head)]
    for name, each in own.items():
        if isinstance(each, Mapping):
            errors = (number(each.get(f"error_{when}"), ".3f") for when in ("before", "after"))
            rows.append(
                (name, number(each.get("temperature"), ".3g"), str(each.get("images")), *errors)
            )
    return (
        "## Calibration\n\nExpected calibration error of probabilities on test images, without and "
        f"with the temperature that was fitted on so many validation images.\n\n{_table(rows)}"
    )


def by_subgroup(package: PackageDescription, titles: Mapping[str, str]) -> str:
    """Scores of test images that share a value in a column of the data set's table.

    Args:
        package: The package.
        titles: Of metrics, in order.
    """
    columns = package.training.get("subgroups")
    if not isinstance(columns, Mapping) or not columns:
        return f"## Scores by subgroup\n\n{NOT_STATED.capitalize()}."
    parts = [
        "## Scores by subgroup\n\nMeans of the package's network over test images, with 95 % "
        "intervals over images or groups of them; of few they are wide, or not known."
    ]
    for column, values in columns.items():
        assert isinstance(values, Mapping)
        parts.append(_table(_subgroup_rows(column, values, titles)))
    return "\n\n".join(parts)


def _subgroup_rows(
    column: str, values: Mapping[str, Any], titles: Mapping[str, str]
) -> list[Sequence[str]]:
    metrics = [name for name in titles if any(name in each["metrics"] for each in values.values())]
    rows: list[Sequence[str]] = [
        (column, "images", *(titles[name] for name in metrics)),
        ("---",) * (len(metrics) + 2),
    ]
    for value, each in values.items():
        cells = (interval(each["metrics"].get(name)) for name in metrics)
        rows.append((value or "(empty)", str(each["images"]), *cells))
    return rows


def interval(score: Any) -> str:
    """A mean and its interval, or a dash where there is none."""
    if not score or score.get("mean") is None:
        return "—"
    low, high = score.get("ci95") or (None, None)
    if low is None or high is None:
        return f"{score['mean']:.3f}"
    return f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]"


def tested_on(package: PackageDescription) -> str:
    """The data set that the test images are of; tiles of a pretraining are of others."""
    data = package.training.get("data")
    name = data.get("name") if isinstance(data, Mapping) else None
    return str(name or package.lineage.dataset)


def _tested(package: PackageDescription) -> str:
    data = package.training.get("data")
    tests = data.get("test") if isinstance(data, Mapping) else None
    return f"{tests or 'test'} images of {tested_on(package)}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "; ".join(map(str, value)) if isinstance(value, Sequence) and value else NOT_STATED


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
