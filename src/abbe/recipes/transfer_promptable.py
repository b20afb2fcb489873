"""A finished run of KD SAM on another data set, as it is: scores by kind of prompt."""

from pathlib import Path
from typing import Any

import abbe
from abbe import config, scoring, students
from abbe.datasets import Dataset
from abbe.errors import InputError
from abbe.files import write_json
from abbe.recipes.promptable_results import add_times, describe_network, outlined
from abbe.report import write_report
from abbe.runs import results
from abbe.runs.folder import Run, open_run
from abbe.runs.lost import Lost
from abbe.tasks.prompted import PromptedModel, score_prompted
from abbe.tasks.scores import save_examples, save_scores, summarise


def evaluate_promptable(
    run: Run,
    experiment: config.Experiment,
    dataset: Dataset,
    out: Path,
    sees: tuple[str, ...],
    lost: Lost,
) -> Run:
    """Score a run's networks on the labelled test images of another data set.

    Args:
        run: the finished run.
        experiment: the run's own.
        dataset: the other set, with a test part.
        out: the folder to write.
        sees: the set's channels for the networks, in their order.
        lost: the images that were left out.

    Raises:
        InputError: no test image has an object to ask for, or other channels are needed.
    """
    models = {}
    for name in ("student", "twin"):
        path = run.folder / f"{name}.safetensors"
        if path.exists():
            network, facts = students.load_promptable(path)
            if len(sees) != len(facts["channels"]):
                raise InputError(
                    f"{path}: reads {', '.join(facts['channels'])}; name as many channels of the "
                    "other set, in that order, with --student-sees"
                )
            models[name] = PromptedModel(network, sees)
    tests = list(dataset.split("test").labelled)
    scores = score_prompted(models, tests, tolerance=experiment.evaluation.tolerance)
    if not scores.rows:
        raise InputError(f"data set '{dataset.name}': no test image has an object to ask for")
    out.mkdir(parents=True, exist_ok=True)
    save_scores(scores, out / "scores.parquet")
    save_examples(scores, out / "examples", lambda id: outlined(models, dataset[id]))
    config.save(experiment, out / "config.yaml")
    summary: dict[str, Any] = {
        "abbe": abbe.__version__,
        "recipe": experiment.recipe,
        "title": f"{run.summary['title']}, on {dataset.name}",
        "task": run.summary["task"],
        "evaluation_of": run.folder.name,
        "data": results.describe_data(dataset),
        "student_sees": list(sees),
        "encoder_weights": run.summary["encoder_weights"],
        **results.describe_teacher(None, ()),
        "lost": lost.ids,
        "left_out": lost.left_out,
        **summarise(scores, experiment.evaluation.resamples, scoring.PROMPTED_METRICS),
        "metric_names": {
            metric: scoring.PROMPTED_METRICS[metric].name for metric in scores.metrics
        },
        "smallest_gain": experiment.evaluation.smallest_gain,
        "speed": {},
        "thresholds": {},
        "thresholds_chosen_on": "nothing: a mask is where the logit is above 0",
        "warnings": [
            f"The models ({', '.join(models)}) come from {run.summary['data']['name']} and have "
            "seen no image of this set.",
            "Objects are asked for with prompts made from the labels.",
        ],
    }
    for name, model in models.items():
        summary["models"][name] |= describe_network(model)
    add_times(summary, models)
    summary["warnings"] += results.missing_answers(summary)
    write_json(out / "summary.json", summary)
    write_report(out)
    return open_run(out)
