"""What Abbe sees in a data set, and every problem in it (``abbe data check``)."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from abbe.cluster import open_cluster
from abbe.datasets.checking.problems import problems_of
from abbe.datasets.checking.report import CheckReport
from abbe.datasets.collection import Dataset
from abbe.datasets.inspection import Inspection, Problem, Severity, inspect, inspect_on_workers


def check(
    dataset: Dataset,
    *,
    crop: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    divide: Callable[[Dataset], Dataset] | None = None,
    inspections: Iterable[Inspection] | None = None,
) -> CheckReport:
    """Read every image and label, and gather all problems; it never stops at the first.

    Args:
        dataset: Any; what its reader noticed (`Dataset.problems`) is reported too.
        crop: Side in px of training crops; smaller images are reported.
        divide: Draws splits as a run would; `assign_splits` where None and the set has none.
        progress: Called after each image with the number done and the number of all.
        inspections: What was found in each record, where workers have looked.
    """
    if inspections is None:
        inspections = (inspect(record, crop) for record in dataset)
    gone_through: list[Inspection] = []
    for done, found in enumerate(inspections, start=1):
        gone_through.append(found)
        if progress is not None:
            progress(done, len(dataset))
    return _report(dataset, gone_through, divide)


def check_on_cluster(
    cluster: str,
    dataset: Dataset,
    *,
    crop: int | None = None,
    divide: Callable[[Dataset], Dataset] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> CheckReport:
    """`check`, by workers; the report is the same.

    Args:
        cluster: Such as "local:4"; see `abbe.cluster.open_cluster`.
        dataset, crop, divide: As `check` takes them.
        say: Told of the workers, in lines.
    """
    with open_cluster(cluster, say) as workers:
        scratch = Path(tempfile.mkdtemp(prefix=".abbe-check-", dir=Path.cwd()))
        found = inspect_on_workers(dataset, crop, workers, scratch)
    return check(dataset, divide=divide, inspections=found)


def _report(
    dataset: Dataset,
    inspections: Sequence[Inspection],
    divide: Callable[[Dataset], Dataset] | None,
) -> CheckReport:
    """What all inspections come to."""
    images = {found.record.id: found.image for found in inspections if found.image is not None}
    labels = {found.record.id: found.label for found in inspections if found.label is not None}
    regions = {found.record.id: found.regions for found in inspections if found.regions is not None}
    gathered: dict[tuple[Severity, str], list[tuple[str, str]]] = defaultdict(list)
    for found in inspections:
        for finding in found.findings:
            gathered[finding.severity, finding.what].append((found.record.id, finding.detail))
    problems = [
        Problem(severity, what, tuple(where)) for (severity, what), where in gathered.items()
    ]
    problems += problems_of(dataset, images, regions, divide)
    problems.sort(key=lambda problem: problem.severity)  # errors first
    return CheckReport(dataset, images, labels, tuple(problems), regions)
