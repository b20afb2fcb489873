"""What teacher and networks cost: parameters, MACs, and the time from an image to its maps."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from abbe.datasets import Dataset, Record
from abbe.imaging import Image, Region
from abbe.summary import Timing
from abbe.tasks.maps import Model, NetworkModel
from abbe.tasks.timing import LARGEST, circumstances, first_alike, size_of, time_in_turn
from abbe.teachers import Cost, CountedTeacher, Teacher


def costs_of(
    models: Mapping[str, Model], dataset: Dataset, teacher: Teacher | None
) -> tuple[dict[str, dict[str, Any]], Timing]:
    """Sizes and times of models, and the circumstances.

    All are timed on one test image, in turn, each from the pixels in memory to its maps.

    Args:
        models: by name. Networks that are built alike share one time.
        dataset: with labelled test images.
        teacher: the one that gave ``models["teacher"]`` its answers, where it runs here. Of one
            that is not counted, such as another program's masks, nothing is said.

    Returns:
        By model, fields of `abbe.summary.Model`.
    """
    networks = {name: each for name, each in models.items() if isinstance(each, NetworkModel)}
    first = first_alike({name: model.network for name, model in networks.items()})
    sizes = {
        name: size_of(networks[name].network, len(networks[name].input_channels))
        for name in dict.fromkeys(first.values())
    }
    costs: dict[str, dict[str, Any]] = {name: {} for name in models} | {
        name: dict(sizes[alike]) for name, alike in first.items()
    }
    tests = dataset.split("test").labelled
    answered = [record for record in tests if "teacher" in models and models["teacher"].has(record)]
    if not answered or not isinstance(teacher, CountedTeacher):
        return costs, _time(costs, networks, next(iter(tests)), {}, None)
    cost, record = teacher.cost(), answered[0]
    costs["teacher"] |= cost.sizes()
    hindrance = _not_to_be_timed(cost, record.image.open().shape)
    ask = {} if hindrance else {"teacher": _answering(teacher, dataset, record)}
    timing = _time(costs, networks, record, ask, hindrance)
    if "ms_per_image" in costs["teacher"] and cost.precision not in (None, "fp32"):
        timing.precision = {"teacher": cost.precision, **dict.fromkeys(networks, "fp32")}
    return costs, timing


def _not_to_be_timed(cost: Cost, shape: tuple[int, int]) -> str | None:
    """Why a teacher's time could not be held against that of the others, if so."""
    if cost.device != "cpu":
        return f"it computes on {cost.device}, and the others were timed on the CPU"
    if max(shape) > LARGEST and not cost.answers_parts:
        return (
            f"its prompts are of whole images, and models are timed on at most {LARGEST} px a side"
        )
    return None


def _answering(teacher: Teacher, dataset: Dataset, record: Record) -> Callable[[], object]:
    channels = teacher.provenance.channels
    image = _part(dataset.seen_as(channels)[record.id], channels)
    return partial(teacher.predict, image, record.id)


def _time(
    costs: dict[str, dict[str, Any]],
    networks: Mapping[str, NetworkModel],
    record: Record,
    teacher: Mapping[str, Callable[[], object]],
    hindrance: str | None,
) -> Timing:
    """Add times to the costs."""
    first = first_alike({name: model.network for name, model in networks.items()})
    calls: dict[str, Callable[[], object]] = {
        name: partial(networks[name].predict_image, _part(record, networks[name].input_channels))
        for name in dict.fromkeys(first.values())
    }
    try:
        timed = time_in_turn({**teacher, **calls})
    except Exception as error:
        if not teacher:
            raise
        # It may fail on a part of an image that it answers as a whole: then its time alone lacks.
        hindrance = f"it failed on the part of the image that was timed: {error}"
        timed = time_in_turn(calls)
    same = {name: first.get(name, name) for name in (*timed, *first)}
    for name, alike in same.items():
        costs[name]["ms_per_image"] = timed[alike].milliseconds
    height, width = (min(side, LARGEST) for side in record.image.open().shape)
    runs = {name: timed[alike].runs for name, alike in same.items()}
    timing = circumstances((width, height), runs)
    timing.whole_answers = True
    if hindrance:
        timing.teacher_not_timed = hindrance
    return timing


def _part(record: Record, channels: tuple[str, ...]) -> Image:
    """The image, or the corner of it that all models are timed on, in memory."""
    image = record.image.open()
    names = tuple(dict.fromkeys(channels))  # one may be shown twice
    height, width = (min(side, LARGEST) for side in image.shape)
    pixels = image.read(Region(0, 0, height, width), names)
    return Image.from_array(pixels, names, image.pixel_size, image.name)
