"""Asking a promptable network in training: once, or again where its answer was wrong.

Asking in rounds is SAM's own way of training (Kirillov et al., "Segment Anything", arXiv
2304.02643, appendix A): each round adds one point, drawn from where the last answer and the object
disagree. The last answer's logits are not given back as a prompt, as SAM does; this is ours.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from abbe.datasets.training.batches import Batch
from abbe.losses import promptable as mask_losses
from abbe.sam import SAM, Prompts

NOT_A_POINT = -1


@dataclass(frozen=True)
class MaskPrediction:
    """What a promptable network says to a batch.

    Attributes:
        logits: (B · P, M, S, S) masks at the size at which they are compared.
        iou: (B · P, M) that the network expects of them.
    """

    logits: Tensor
    iou: Tensor


def prompt(network: nn.Module, batch: Batch, rounds: int = 1) -> list[MaskPrediction]:
    """Encode the batch's images once, and answer its prompts in so many rounds.

    One point alone gets three masks, as in SAM, and the single one beside them, in an answer of its
    own: that is the mask which a network is asked for when it is validated, tested and used.

    Args:
        network: of SAM's form.
        batch: as `PromptedBatches` makes it.
        rounds: each after the first asks with one point more.
    """
    assert isinstance(network, SAM)
    image = network.prepare(network.encode(batch["image"]))
    prompts, answers = prompts_of(batch), list[MaskPrediction]()
    truth, valid = truth_of(batch)
    for number in range(rounds):
        if number:
            point, meaning = disagreement(answers[-1], truth, valid, network.side)
            prompts = with_point(prompts, point, meaning)
        attended = network.attend(image, prompts)
        alone = (
            prompts.boxes is None and prompts.points is not None and prompts.points.shape[1] == 1
        )
        logits = network.decode_masks(attended, multimask=None if alone else False)
        logits = mask_losses.at_size(logits, (truth.shape[-2], truth.shape[-1]))
        if alone:  # the last answer is the one that the next round asks about
            answers.append(MaskPrediction(logits[:, :1], attended.scores(False)))
            logits = logits[:, 1:]
        answers.append(MaskPrediction(logits, attended.scores(alone)))
    return answers


def prompts_of(batch: Batch) -> Prompts:
    """The prompts of a batch, all images' one after the other."""
    if "boxes" in batch:
        return Prompts(boxes=batch["boxes"].flatten(0, 1))
    return Prompts(
        points=batch["points"].flatten(0, 1), point_labels=batch["point_labels"].flatten(0, 1)
    )


def truth_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """The objects' masks (B · P, S, S) and where they are known, both bool."""
    masks = batch["mask"]
    valid = batch["valid"][:, None].expand(masks.shape)
    return masks.flatten(0, 1) > 0, valid.flatten(0, 1) > 0


@torch.no_grad()
def disagreement(
    answer: MaskPrediction, truth: Tensor, valid: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """For each prompt a random point where its best mask is wrong.

    Args:
        answer: to N prompts.
        truth: (N, S, S) bool.
        valid: (N, S, S) bool; elsewhere nobody knows what is wrong.
        side: of the network's square in px.

    Returns:
        Points (N, 1, 2), x and y in px of the square, and what they mean (N, 1): 1 where the object
        was missed, 0 where too much was taken, −1 (no point) for a perfect mask.
    """
    best = mask_losses.mask_dice(answer.logits, truth, valid).argmin(1)
    taken = answer.logits[torch.arange(len(best)), best] > 0
    wrong = ((taken != truth) & valid).flatten(1)
    # Every row needs some weight to draw by; a row without an error is marked afterwards.
    drawn = torch.multinomial(wrong.float() + (~wrong.any(1, keepdim=True)).float(), 1)
    missed = truth.flatten(1).gather(1, drawn)
    meaning = torch.where(wrong.any(1, keepdim=True), missed.long(), NOT_A_POINT)
    width = truth.shape[-1]
    places = torch.stack([drawn % width, drawn // width], dim=-1)
    return (places + 0.5) * (side / width), meaning


def with_point(prompts: Prompts, point: Tensor, meaning: Tensor) -> Prompts:
    """The prompts with one point more each."""
    if prompts.points is None or prompts.point_labels is None:
        return replace(prompts, points=point, point_labels=meaning)
    return replace(
        prompts,
        points=torch.cat([prompts.points, point], dim=1),
        point_labels=torch.cat([prompts.point_labels, meaning], dim=1),
    )
