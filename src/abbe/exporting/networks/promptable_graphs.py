"""The two networks of a promptable package: image encoder, and prompts with mask decoder."""

import torch
from torch import Tensor, nn
from torch.export import Dim

from abbe.exporting.networks.graphs import Graph
from abbe.sam import SAM

MOST_POINTS = 4096


class Decoder(nn.Module):
    """Prompt encoder and mask decoder for one prompt, with the arguments of SAM's own export.

    A box is two points, labelled 2 and 3; a point labelled −1 is none. All four masks are drawn,
    the single answer first: the caller takes the first, or the other three.
    """

    def __init__(self, sam: SAM) -> None:
        super().__init__()
        self.prompt_encoder = sam.prompt_encoder
        self.mask_decoder = sam.mask_decoder

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Answer a prompt.

        Args:
            image_embeddings: (1, 256, h, w).
            point_coords: (1, P, 2) x and y in px of the square.
            point_labels: (1, P) float.
            mask_input: (1, 1, 4h, 4w) logits of an earlier answer.
            has_mask_input: (1,) 1, or 0 where ``mask_input`` is to be left out.

        Returns:
            Logits (1, 4, 4h, 4w) and the expected IoU (1, 4).
        """
        prompts, masks = self.prompt_encoder, self.mask_decoder
        given = has_mask_input.view(1, 1, 1, 1)
        dense = given * prompts.dense(mask_input) + (1 - given) * prompts.dense(None)
        image = masks.prepare(image_embeddings + dense, prompts.places())
        sparse = prompts.embed_points(point_coords, point_labels.long())
        height, width = image_embeddings.shape[2:]
        attended = masks.attend(image, sparse, (height, width))
        return masks.decode_masks(attended, None), attended.iou


def promptable_graphs(sam: SAM) -> list[Graph]:
    """The encoder, for any number of images, and the decoder, for any number of points."""
    side, grid = sam.side, sam.side // 16
    batch = Dim("batch", min=1, max=1 << 10)
    points = Dim("points", min=1, max=MOST_POINTS)
    encoder = Graph(
        "encoder",
        sam.image_encoder,
        {"image": torch.zeros(2, 3, side, side)},
        ("image_embeddings",),
        {"image": {0: batch}},
    )
    inputs = {
        "image_embeddings": torch.zeros(1, 256, grid, grid),
        "point_coords": torch.zeros(1, 5, 2),
        "point_labels": torch.ones(1, 5),
        "mask_input": torch.zeros(1, 1, 4 * grid, 4 * grid),
        "has_mask_input": torch.zeros(1),
    }
    free = {name: {1: points} if name.startswith("point_") else {} for name in inputs}
    decoder = Graph("decoder", Decoder(sam), inputs, ("low_res_masks", "iou_predictions"), free)
    return [encoder, decoder]
