"""Put the page together: figures, tables and sentences into the template."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from abbe import __version__
from abbe.caveats import caveats_of, numbers_of_images
from abbe.files.yaml_text import read_yaml
from abbe.reporting import classes, costs, figures, tables, words
from abbe.reporting.colours import class_colours, colours_of
from abbe.reporting.curves import panels_of
from abbe.reporting.facts import (
    MACHINE_NAMES,
    NOT_OF_THE_MACHINE,
    Fact,
    channel_facts,
    data_facts,
    duration,
    facts_of,
    schedule_sentence,
    teacher_facts,
    text_of,
    trust_facts,
)
from abbe.reporting.numbers import (
    bounds_of,
    decimal,
    interval,
    percent,
    percent_interval,
    quantity,
    significant,
)
from abbe.reporting.pictures import Picture, picture_of
from abbe.reporting.run_folder import Run
from abbe.reporting.templates import render
from abbe.summary import Model, RunSummary


class Figure(NamedTuple):
    """A drawing and what stands under it."""

    title: str
    svg: Markup


# long: the parts of the page, in the order in which they are read
def render_page(run: Run) -> str:
    """The whole report as one HTML text that needs no other file and no network."""
    summary = run.summary
    models = tables.models_of(summary)
    metric = tables.primary_metric(summary)
    first, every = tables.main_metrics(summary), tables.metrics_of(summary)
    pictures = _pictures(run)
    return render(
        "run.html",
        title=summary.title or f"Run {run.path.resolve().name}",
        task_title=summary.task_title,
        recipe=summary.recipe,
        started=str(run.environment.get("started") or "")[:10],
        version=summary.abbe or __version__,
        headline=words.headline(summary),
        banners=words.banners(summary),
        caveats=[*caveats_of(summary), *run.problems],
        tiles=_tiles(summary),
        models=models,
        abouts=tables.abouts(summary),
        colours=colours_of(models),
        counts=numbers_of_images(summary),
        groups=tables.in_groups(summary.data),
        smallest_gain=summary.smallest_gain,
        main_rows=tables.metric_rows(summary, first),
        metric_tables=tables.metric_tables(summary) if first != every else (),
        metric_count=len(every),
        label_cells=tables.label_cells(summary),
        beginnings=summary.initialisations,
        probe_tables=tables.probe_tables(summary),
        probe_gain=words.probe_gain(summary),
        metric_name=words.short_name(summary, metric) if metric else "",
        main_figures=_interval_figures(summary, first, "scores"),
        interval_figures=_interval_figures(summary, every, "all scores") if first != every else (),
        gain_rows=tables.gain_rows(summary, first),
        other_gain_rows=tables.gain_rows(summary, [each for each in every if each not in first]),
        baseline_rows=tables.baseline_rows(summary),
        equality=words.equality(summary),
        verdicts=tables.VERDICTS,
        seeds=summary.evidence.seeds,
        handed_over=summary.seed,
        against=summary.evidence.against,
        class_rows=classes.class_rows(summary),
        region_rows=classes.region_rows(summary),
        class_colours=_class_colours(summary),
        confusion_rows=classes.confusion_rows(summary),
        type_rows=classes.type_rows(summary),
        type_confusion=classes.type_confusion(summary),
        pair_figures=_pair_figures(run),
        probability_figures=[Figure(*each) for each in classes.probability_figures(run)],
        agreement=classes.agreement(run),
        pictures=pictures,
        strip=_strip(pictures, summary),
        curves=_curves(run),
        trained=sorted({str(entry["model"]) for entry in run.log if "model" in entry}),
        cost_rows=costs.cost_rows(summary),
        macs_of=costs.macs_of(summary),
        timed_of=costs.timed_of(summary),
        timing_note=costs.timing_note(summary),
        schedule=[
            Fact(stage.capitalize(), schedule_sentence(entry))
            for stage, entry in summary.schedule.items()
        ],
        speed=_speed(summary),
        data=data_facts(summary.data),
        class_splits=classes.splits_of(summary),
        class_counts=classes.split_rows(summary),
        channels=channel_facts(summary),
        teacher=teacher_facts(summary.teacher),
        targets=summary.targets,
        trust=trust_facts(summary),
        thresholds={k: v.model_dump(exclude_unset=True) for k, v in summary.thresholds.items()},
        thresholds_chosen_on=summary.thresholds_chosen_on,
        machine=facts_of(
            {k: v for k, v in run.environment.items() if k not in NOT_OF_THE_MACHINE},
            MACHINE_NAMES,
            others=True,
        ),
        duration=duration(run.environment.get("seconds")),
        parts=1 + len(run.environment.get("resumed") or ()),
        again=again(run),
        of_another_run=summary.evaluation_of is not None,
        command=run.environment.get("command"),
        config=run.config,
        glossary=[
            ("F1 at an IoU" if key == "f1@" else tables.full_name(summary, key), text)
            for key, text in words.METRIC_MEANINGS.items()
            if any(
                known == key or (key.endswith("@") and known.startswith(key))
                for known in tables.metrics_of(summary)
            )
        ],
        decimal=decimal,
        text=text_of,
    )


def again(run: Run) -> str:
    """The command that trains the run once more; none where its images came from Python."""
    if not run.config or _given_in_python(run.config) or run.summary.evaluation_of is not None:
        return ""
    name = run.path.resolve().name
    return shlex.join(["abbe", "distill", f"{name}/config.yaml", "--out", f"{name}-again"])


def _given_in_python(config: str) -> bool:
    values = read_yaml(config)
    data = values.get("data") if isinstance(values, dict) else None
    return isinstance(data, dict) and data.get("kind") == "given"


def _tiles(summary: RunSummary) -> list[tuple[str, str, str]]:
    """(big figure, what it is, small print): the few figures that a reader came for."""
    found = []
    metric = tables.primary_metric(summary) or ""
    gain = summary.gain.get(metric)
    if gain is not None and gain.mean is not None:
        digits = 3 if tables.is_fraction(metric) else 2
        found.append(
            (
                decimal(gain.mean, digits, signed=True),
                f"gain in {words.short_name(summary, metric)} over {summary.evidence.against}",
                interval(bounds_of(gain.ci95), digits),
            )
        )
    share = summary.retention.get(metric)
    if share is not None:
        kept = percent_interval(bounds_of(summary.retention_ci95.get(metric)))
        found.append((percent(share, 1), "of the teacher kept", kept))
    student, teacher = (summary.models.get(name, Model()) for name in ("student", "teacher"))
    if student.parameters is not None:
        compared = costs.times(teacher.parameters, student.parameters, "smaller", "larger", "large")
        found.append((quantity(student.parameters), "student parameters", compared))
    if student.ms_per_image is not None:
        compared = costs.times(
            teacher.ms_per_image, student.ms_per_image, "faster", "slower", "fast"
        )
        found.append((f"{significant(student.ms_per_image)} ms", "student, an image", compared))
    return found


def _interval_figures(summary: RunSummary, metrics: Sequence[str], what: str) -> list[Figure]:
    """Means and intervals of all models, a panel for each family of metrics in [0, 1]."""
    rows: dict[str, list[tuple[str, dict[str, tuple[float, float, float]]]]] = {}
    for metric in metrics:
        scores = {}
        for model in tables.models_of(summary):
            score = summary.models[model].metrics.get(metric)
            bounds = None if score is None else bounds_of(score.ci95)
            if score is not None and score.mean is not None and bounds:
                scores[model] = (score.mean, *bounds)
        if scores and tables.is_fraction(metric):
            name = words.short_name(summary, metric)
            rows.setdefault(tables.family(metric), []).append((name, scores))
    colours = colours_of(tables.models_of(summary))
    return [
        Figure(name, figures.score_intervals(part, colours, label=f"{name}: {what} by model"))
        for name, part in rows.items()
    ]


def _pair_figures(run: Run) -> list[Figure]:
    """Image by image: the student against its baseline, or else the first two but the teacher."""
    metric = tables.primary_metric(run.summary)
    by_model = run.scores.get(metric, {}) if metric else {}
    models = [name for name in tables.models_of(run.summary) if name in by_model]
    against, several = run.summary.evidence.against, len(run.summary.evidence.seeds) > 1
    pair = ("student", against)
    if not all(name in models for name in pair):
        rest = [name for name in models if name != "teacher"]
        if len(rest) < 2:
            return []
        pair = (rest[0], rest[1])
    first, second = by_model[pair[0]], by_model[pair[1]]
    shared = sorted(first.keys() & second.keys())
    if not shared or metric is None:
        return []
    up, right = [first[i] for i in shared], [second[i] for i in shared]
    differences = [a - b for a, b in zip(up, right, strict=True)]
    ahead = sum(difference > 0 for difference in differences)
    palette = colours_of(models)
    colours = (palette[pair[0]], palette[pair[1]])
    name = words.short_name(run.summary, metric)
    gain = run.summary.gain.get(metric)
    of_all = gain and pair == ("student", against) and not several
    bounds = bounds_of(gain.ci95) if gain and of_all else None
    seed = f" (seed {run.summary.seed})" if several else ""
    strip = figures.difference_strip(
        differences,
        colours,
        label=f"{name}: {pair[0]} minus {pair[1]}, sorted",
        bounds=bounds,
    )
    return [
        Figure(
            f"{name} of {pair[0]} (upwards) and {pair[1]} (to the right), a dot an image{seed}; "
            f"above the line the {pair[0]} scores higher.",
            figures.paired_scatter(up, right, colours, pair),
        ),
        Figure(
            f"{name}, {pair[0]} − {pair[1]}: positive on {ahead} of {len(shared)} images. Dashed: "
            f"the mean{'; band: its 95 % interval' if bounds else ''}.",
            strip,
        ),
    ]


def _pictures(run: Run) -> list[Picture]:
    metric = tables.primary_metric(run.summary)
    scores = run.scores.get(metric, {}) if metric else {}
    known = tables.models_of(run.summary)
    colours = tuple(_class_colours(run.summary).values())
    name = words.short_name(run.summary, metric) if metric else ""
    cuts = run.summary.thresholds
    pictures = []
    for example in run.examples:
        others = [name for name in example.labels if name != "truth" and name not in known]
        pictures.append(picture_of(example, (*known, *others), scores, colours, cuts, name))
    return pictures


def _class_colours(summary: RunSummary) -> dict[str, str]:
    """Of the classes of pixels; none where labels are objects or images have classes."""
    colours = class_colours(summary.classes) if classes.of_pixels(summary) else {}
    return dict(list(colours.items())[1:])  # the background has none


def _strip(pictures: Sequence[Picture], summary: RunSummary) -> tuple[int, list[int]] | None:
    """The picture under the headline and its panels, by number: truth, teacher, student, baseline.

    It is a median image, so neither the best nor the worst.
    """
    middle = [number for number, each in enumerate(pictures) if each.kind == "median"]
    number = middle[0] if middle else 0
    wanted = ("truth", "teacher", "student", summary.evidence.against)
    if not pictures:
        return None
    names = [panel.name for panel in pictures[number].panels]
    return number, [names.index(name) for name in wanted if name in names]


def _curves(run: Run) -> list[Figure]:
    panels = panels_of(run.log)
    trained = (model for panel in panels for model in panel.curves)
    colours = colours_of(dict.fromkeys([*tables.models_of(run.summary), *trained]))
    return [
        Figure(panel.title, figures.training_curves(panel.curves, colours, label=panel.title))
        for panel in panels
    ]


def _speed(summary: RunSummary) -> list[Fact]:
    speed = summary.speed
    rates = {
        "Training, images a second": speed.train_images_per_s,
        "Pretraining, images a second": speed.pretrain_images_per_s,
        "Teaching (writing targets), images a second": speed.teach_images_per_s,
    }
    facts = [Fact(name, significant(rate)) for name, rate in rates.items() if rate is not None]
    waiting = speed.train_share_waiting_for_data
    if waiting is not None:
        facts.append(Fact("Share of training time spent waiting for data", percent(waiting, 1)))
    validating = speed.train_share_validating
    if validating is not None:
        facts.append(Fact("Share of the stage’s time spent on validation", percent(validating, 1)))
    return facts
