"""A whole run: data, targets, student, twin, scores, report."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.progress import track

from abbe import config, students, teachers
from abbe.datasets import Dataset
from abbe.datasets.training.prepare import Prepared, prepare
from abbe.errors import ConfigError, InputError
from abbe.foreign_text import shown
from abbe.imaging import Scaling
from abbe.recipes.cmkd import cmkd
from abbe.recipes.supervised import supervised
from abbe.runs import build, pixel_sizes, schedules
from abbe.runs import folder as run_folder
from abbe.runs.folder import Run
from abbe.runs.lost import Lost, readable
from abbe.runs.normalising import decided, scaling_of
from abbe.runs.pixel_sizes import student_pixel_size
from abbe.runs.results import write_results
from abbe.targets import TargetStore
from abbe.tasks.scores import validator
from abbe.teachers import Teacher
from abbe.training.fit import Fitted, fit
from abbe.training.log import Log, make_accelerator
from abbe.training.stage import Stage, twin_of


def distill(
    experiment: config.Experiment,
    *,
    dataset: Dataset | None = None,
    resume: bool = False,
    trust_code: bool = False,
    progress: bool = True,
) -> Run:
    """Carry out an experiment from the images to the report.

    Args:
        experiment: see :mod:`abbe.config`.
        dataset: a data set from Python, for an experiment with ``data.kind: given``.
        resume: finish a run that was interrupted; what it computed is not computed again.
        trust_code: a teacher of kind 'torch' may import and call the code that it names. The
            experiment cannot say so itself, because it may be somebody else's.
        progress: show progress bars.

    Raises:
        AbbeError: whatever the user can mend, before work starts wherever that is possible.
    """
    build.require_trust(experiment.teacher, trust_code=trust_code)
    lost = Lost(experiment.allow_failed, begun=resume and run_folder.has_trained(experiment.out))
    if experiment.recipe == "imagenet":
        from abbe.recipes import imagenet
        from abbe.recipes.distill_rckd import Session

        photographs = imagenet.photographs_of(experiment, dataset, lost, progress)
        with run_folder.opened(experiment, resume=resume) as folder:
            session = Session(
                folder, _begin(experiment, folder), lost, resume=resume,
                trust_code=trust_code, progress=progress,
            )  # fmt: skip
            return imagenet.pretrain_on_photographs(experiment, photographs, session)
    if experiment.recipe == "rckd":
        from abbe.tasks import labelled as task_data

        if dataset is None:
            dataset = task_data.task_dataset(experiment.data, experiment.fine_tuning.task)
        dataset = build.seen_by(dataset, experiment.student.sees, "the student")
        dataset = readable(dataset, lost, progress=progress)
        task_data.check(experiment, dataset)
        experiment = decided(experiment, dataset)
    else:
        if dataset is None:
            dataset = build.build_dataset(experiment.data)
        dataset = build.seen_by(dataset, experiment.student.sees, "the student")
        dataset = readable(dataset, lost, progress=progress)
        check(experiment, dataset)
        experiment = decided(experiment, dataset)
    build.tell_problems(dataset)
    with run_folder.opened(experiment, resume=resume) as folder:
        return _carry_out(
            experiment,
            dataset,
            folder,
            lost,
            resume=resume,
            trust_code=trust_code,
            progress=progress,
        )


def _carry_out(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    lost: Lost,
    *,
    resume: bool,
    trust_code: bool,
    progress: bool,
) -> Run:
    accelerator = _begin(experiment, folder)
    if experiment.recipe == "kdsam":
        from abbe.recipes.distill_promptable import distill_promptable

        experiment = schedules.resolve(
            experiment, schedules.amounts_of(experiment, dataset), folder, resume=resume
        )
        return distill_promptable(
            experiment, dataset, folder, accelerator, lost, resume=resume, progress=progress
        )
    if experiment.recipe == "rckd":
        from abbe.recipes.distill_rckd import Session, distill_rckd

        return distill_rckd(
            experiment,
            dataset,
            Session(
                folder, accelerator, lost, resume=resume, trust_code=trust_code, progress=progress
            ),
        )
    experiment = schedules.resolve(
        experiment, schedules.amounts_of(experiment, dataset), folder, resume=resume
    )
    build_student(experiment)  # a mistake in it is told before the teacher's hours, not after
    teacher, store, speed = teach_run(
        experiment, dataset, folder, accelerator, lost, trust_code=trust_code, progress=progress
    )
    trained = train(
        experiment, dataset, folder, accelerator, teacher, store, resume=resume, progress=progress
    )
    if accelerator.is_main_process:
        write_results(
            experiment, dataset, folder, teacher, store, trained, speed, lost, progress=progress
        )
    accelerator.wait_for_everyone()
    return run_folder.open_run(folder)


def _begin(experiment: config.Experiment, folder: Path) -> Accelerator:
    """What the run computes on; environment.json says so."""
    training = experiment.training
    accelerator = make_accelerator(
        folder,
        precision=training.precision,
        trackers=training.trackers,
        sync_batch_norm=training.sync_batch_norm,
    )
    if accelerator.is_main_process:
        precision = accelerator.mixed_precision
        run_folder.write_environment(
            folder,
            device=str(accelerator.device),
            precision="fp32" if precision == "no" else precision,
            seed=experiment.seed,
        )
    return accelerator


def check(experiment: config.Experiment, dataset: Dataset) -> None:
    """Refuse what cannot end well before any work starts.

    Raises:
        InputError: the student's channels are missing, no test image is labelled, there is
            nothing to train on.
        ConfigError: the twin would never see a label.
    """
    build.check_channels(dataset, experiment.student.sees, "the student")
    if not any(record.label for record in dataset.split("test")):
        raise InputError(
            f"data set '{dataset.name}' has no labelled test image, so nothing could be scored: "
            "label some, or change data.split and data.fractions"
        )
    if not len(dataset.split("train")):
        raise InputError(
            f"data set '{dataset.name}' has no training image: change data.split and data.fractions"
        )
    if experiment.recipe == "supervised" and not any(r.label for r in dataset.split("train")):
        raise InputError(
            f"data set '{dataset.name}' has no labelled training image, which recipe 'supervised' "
            "needs: check the names in the label folder, or data.labelled"
        )
    train = dataset.split("train")
    mixed = len(train.labelled) and len(train.unlabelled)
    if experiment.twin and mixed and experiment.training.labelled_share == 0:
        raise ConfigError(
            "training.labelled_share: 0 keeps the labels from the twin, which has nothing else to "
            "learn from. Raise it, or set twin to false"
        )
    if experiment.recipe != "kdsam":  # promptable students see every image at one size in px
        pixel_sizes.check(dataset)


def teach_run(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    accelerator: Accelerator,
    lost: Lost,
    *,
    trust_code: bool,
    progress: bool,
) -> tuple[Teacher | None, TargetStore | None, dict[str, float]]:
    """Have the teacher answer, once: every image, or all but the training ones if it runs live.

    Raises:
        InputError: with what the teacher failed on, more images are lost than allowed; the store
            keeps all other answers.
    """
    settings = experiment.teacher
    if settings.kind == "none":
        return None, None, {}
    if settings.kind == "store":
        assert settings.path is not None
        store = TargetStore(settings.path)
        if accelerator.is_main_process:
            print(shown(teachers.introduction(store.provenance)), flush=True)
        return None, store, {}
    teacher = build.build_teacher(settings, dataset, trust_code=trust_code)
    if settings.live and not hasattr(teacher, "network"):
        raise ConfigError(f"teacher of kind '{settings.kind}' cannot run live: leave live out")
    if settings.live and settings.kind != "sam":
        _check_live(teacher.provenance.normalisation, scaling_of(experiment.student))
    path = folder / "targets.zarr"
    speed = {}
    if accelerator.is_main_process:
        records = [r for r in dataset if not settings.live or r.split != "train"]
        introduced = teachers.introduction(teachers.provenance_of(teacher, dataset))
        print(shown(introduced), flush=True)
        report = teachers.teach(teacher, dataset.having(records), path, progress=progress)
        if report.done:  # a resumed run has nothing left to teach
            speed = {"teach_images_per_s": report.images_per_second}
        lost.add(report.failed, path)
    accelerator.wait_for_everyone()
    return teacher, TargetStore(path), speed


def _check_live(reads: str, scaling: Scaling) -> None:
    """A live teacher is shown the student's crops, so both must read images scaled alike.

    Raises:
        ConfigError: they do not.
    """
    if reads not in (scaling.kind, scaling.words):
        raise ConfigError(
            f"teacher.live: the teacher reads images normalised by '{reads}', the student by "
            f"'{scaling.words}'. Leave live out, so that targets are stored, or give both the same "
            "(--student.normalisation)"
        )


def train(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    accelerator: Accelerator,
    teacher: Teacher | None,
    store: TargetStore | None,
    *,
    resume: bool,
    progress: bool,
) -> dict[str, tuple[students.UNet, list[Fitted]]]:
    """Train the student and its twin; each model's weights are saved as soon as it is trained."""
    live = teacher if experiment.teacher.live else None
    sees = experiment.student.sees
    teacher_sees = live.provenance.channels if live is not None else None
    channels = tuple(dict.fromkeys([*sees, *(teacher_sees or ())]))
    records = track(dataset.split("train"), "reading", disable=not progress)
    scaling = scaling_of(experiment.student)
    images = prepare(records, channels, scaling=scaling, targets=None if live else store)
    if experiment.recipe == "cmkd" and live is None:
        _check_targets(images, store)
        images = [image for image in images if image.has_target or image.label is not None]
    elif experiment.recipe == "supervised":
        images = [image for image in images if image.label is not None]
    held_out = prepare(
        [record for record in dataset.split("val") if record.label is not None],
        sees,
        scaling=scaling,
    )
    batches = build.build_batches(
        images,
        experiment.training,
        sees=sees,
        teacher_sees=teacher_sees,
        seed=experiment.seed,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    torch.manual_seed(experiment.seed)
    student = build_student(experiment)
    twin = copy.deepcopy(student)
    outputs = experiment.student.outputs
    common: dict[str, Any] = {
        "outputs": outputs,
        "boundary": experiment.loss.boundary,
        "weighting": build.build_weighting(experiment.loss),
        "validate": validator(held_out, sees, outputs) if held_out else None,
        "watch": experiment.training.watch,
    }
    schedule = build.build_schedule(experiment.training)
    if experiment.recipe == "supervised":
        stages = supervised(student, batches, schedule, **common)
    else:
        stages = cmkd(
            student,
            batches,
            schedule,
            **common,
            target_outputs=_target_outputs(teacher, store, outputs),
            supervised=experiment.loss.supervised,
            probability=experiment.loss.probability,
            teacher=getattr(live, "network", None),
        )
    plans = {"student": (student, stages)}
    if experiment.twin and experiment.recipe != "supervised" and _has_labels(images):
        twins = [each for each in (twin_of(stage, twin) for stage in stages) if each is not None]
        if twins:
            plans["twin"] = (twin, twins)
    trained = {}
    for name, (network, its_stages) in plans.items():
        log = Log(folder / "log.jsonl", accelerator, name)
        fitted = _fit_stages(
            name, its_stages, log, folder, accelerator, experiment, resume, progress
        )
        network.to("cpu")
        if accelerator.is_main_process:
            students.save(
                folder / f"{name}.safetensors", network, facts(experiment, dataset, images)
            )
        trained[name] = (network, fitted)
    return trained


def _fit_stages(
    name: str,
    stages: Sequence[Stage],
    log: Log,
    folder: Path,
    accelerator: Accelerator,
    experiment: config.Experiment,
    resume: bool,
    progress: bool,
) -> list[Fitted]:
    return [
        fit(
            stage,
            accelerator,
            log,
            folder / "checkpoints" / f"{name}-{stage.name}.pt",
            seed=experiment.seed,
            workers=build.workers(experiment.training.workers),
            resume=resume,
            progress=progress,
        )
        for stage in stages
    ]


def build_student(experiment: config.Experiment) -> students.UNet:
    """The student as training begins with it.

    Raises:
        ConfigError: its weights cannot be fetched.
        InputError: the file of weights is missing, damaged, or another network's.
    """
    student = experiment.student
    weights: Any = student.encoder_weights
    assert weights != "choose"  # the experiment file demands a choice
    return students.build(
        student.architecture,
        in_channels=len(student.sees),
        outputs=student.outputs,
        encoder_weights=weights,
        standardisation=build.standardisation_of(student),
    )


def _target_outputs(
    teacher: Teacher | None, store: TargetStore | None, outputs: Sequence[str]
) -> tuple[str, ...]:
    """The teacher's maps by name; instances give every map that a student can have."""
    kinds = set().union(*(store.kinds(id) for id in store.ids)) if store is not None else set()
    if "instances" in kinds and "probability" not in kinds:
        return tuple(outputs)
    source = store if store is not None else teacher
    assert source is not None
    return source.provenance.outputs


def _check_targets(images: Sequence[Prepared], store: TargetStore | None) -> None:
    if store is None or not any(image.has_target for image in images):
        place = store.path if store is not None else "the teacher"
        raise InputError(
            f"{place}: holds no usable target for any training image, so there is nothing to "
            "distil. Compare the ids of the store with those of 'abbe data check'"
        )


def _has_labels(images: Sequence[Prepared]) -> bool:
    return any(image.label is not None for image in images)


def facts(
    experiment: config.Experiment, dataset: Dataset, images: Sequence[Prepared]
) -> dict[str, Any]:
    """What must be known to use the student's weights."""
    return {
        "channels": list(experiment.student.sees),
        "normalisation": scaling_of(experiment.student).words,
        "pixel_size": student_pixel_size(dataset),
        "recipe": experiment.recipe,
        "trained_on": dataset.name,
        "simulated": dataset.simulated,
        "weights_licence": f"trained by its user; see the licence of {dataset.name}",
        "data_licence": dataset.licence,
        "encoder_weights": str(experiment.student.encoder_weights),
    }
