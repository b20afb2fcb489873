"""KD SAM: SAM's image encoder distilled into a small one, then the mask decoder fitted to it.

After Patil, Palani and Krishnamurthi, "Efficient Knowledge Distillation of SAM for Medical Image
Segmentation", arXiv 2501.16740. Two stages: the student's encoder learns the teacher's embeddings
by mean squared error and a perceptual loss; then the mask decoder, which is the teacher's, is
fitted to the student's embeddings with a Dice loss. What could not be read of the paper is filled
with our defaults (docs/kdsam.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor, nn

from abbe import losses
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.embedded import EmbeddedBatches
from abbe.datasets.training.prompted import PromptedBatches
from abbe.recipes.masks import promptable
from abbe.recipes.matching import Match, on_grid
from abbe.sam import SAM
from abbe.training.stage import Metrics, Schedule, Stage, Term

NECK_RATE = 0.1
"""The neck, where it is trained in the second stage, learns so much slower than the decoder."""


def embed(network: nn.Module, batch: Batch) -> Tensor:
    """The student's embeddings of the batch's images."""
    assert isinstance(network, SAM)
    return network.encode(batch["image"])


def embed_for(teacher: nn.Module, batch: Batch) -> Tensor:
    """A live teacher's embeddings."""
    assert isinstance(teacher, SAM)
    return teacher.encode(batch["teacher_image"]).float()


def embedding_term(name: str, match: Match) -> Term:
    """The student's embedding against the teacher's, brought to the student's grid."""

    def loss(embedding: Tensor, batch: Batch) -> Tensor:
        return match.compare(embedding.float(), on_grid(batch["target"], embedding.shape[-2:]))

    return Term(name, loss, distils=True, parts=match.parts)


def kdsam(
    student: SAM,
    embedded: EmbeddedBatches,
    prompted: PromptedBatches,
    encoder_schedule: Schedule,
    decoder_schedule: Schedule,
    *,
    matches: Mapping[str, Match],
    bce: bool = False,
    train_neck: bool = False,
    rounds: int = 1,
    teacher: SAM | None = None,
    validate: Callable[[nn.Module], Metrics] | None = None,
) -> list[Stage]:
    """Two stages: the encoder alone, by embeddings; the decoder alone, by prompts.

    Args:
        student: its decoder is the teacher's.
        embedded: pictures and the teacher's embeddings of them.
        prompted: pictures with labelled objects and prompts.
        encoder_schedule, decoder_schedule: steps and learning rate of each stage.
        matches: by name, how embeddings are compared.
        bce: add cross-entropy to the decoder's Dice.
        train_neck: fit the encoder's neck too in the second stage, at a tenth of the rate.
        rounds: how often an object is asked for in the second stage.
        teacher: a live teacher, if there are no stored embeddings.
        validate: scores masks through the decoder: a low feature loss is not yet a good mask.
    """
    weights = {name: match.weight for name, match in matches.items()}
    encoder = Stage(
        "encoder",
        trains=student,
        batches=embedded,
        terms=tuple(embedding_term(name, match) for name, match in matches.items()),
        weighting=lambda names: losses.FixedWeighting({name: weights[name] for name in names}),
        schedule=encoder_schedule,
        validate=validate,
        teacher=teacher,
        answer=embed,
        ask_teacher=embed_for,
        parts={"image_encoder": 1.0},
    )
    decoder = decoder_stage(
        student,
        prompted,
        decoder_schedule,
        bce=bce,
        train_neck=train_neck,
        rounds=rounds,
        validate=validate,
    )
    return [encoder, decoder]


def decoder_stage(
    network: SAM,
    prompted: PromptedBatches,
    schedule: Schedule,
    *,
    bce: bool = False,
    train_neck: bool = False,
    rounds: int = 1,
    validate: Callable[[nn.Module], Metrics] | None = None,
) -> Stage:
    """Fit the mask decoder to an encoder; also what a MobileSAM gets before it is compared."""
    (stage,) = promptable(
        network, prompted, schedule, bce=bce, rounds=rounds, validate=validate, name="decoder"
    )
    neck = {"image_encoder.neck": NECK_RATE} if train_neck else {}
    return replace(stage, parts={"mask_decoder": 1.0, **neck})


def kdsam_twin(
    twin: SAM,
    prompted: PromptedBatches,
    encoder_schedule: Schedule,
    decoder_schedule: Schedule,
    *,
    bce: bool = False,
    rounds: int = 1,
    validate: Callable[[nn.Module], Metrics] | None = None,
) -> list[Stage]:
    """The same network without a teacher's embeddings: encoder and decoder by masks alone.

    It has the student's initial weights, decoder included, its labels, its rate for each part, and
    as many steps as both of the student's stages together.
    """
    steps = encoder_schedule.steps + decoder_schedule.steps
    schedule = replace(encoder_schedule, steps=steps)
    (stage,) = promptable(
        twin, prompted, schedule, bce=bce, rounds=rounds, validate=validate, name="masks"
    )
    decoder_rate = decoder_schedule.learning_rate / encoder_schedule.learning_rate
    return [replace(stage, parts={"image_encoder": 1.0, "mask_decoder": decoder_rate})]
