"""What batches demand of the settings, before there is an image to make them of."""

from collections.abc import Sequence

from abbe.errors import InputError
from abbe.imaging.channels import RGB


def require_even_shares(batch_size: int, processes: int, section: str = "training") -> None:
    """Refuse a batch that its processes cannot share evenly.

    Args:
        batch_size: over all processes.
        processes: how many share it.
        section: of the experiment file, for the message.

    Raises:
        InputError: saying what they can share.
    """
    if batch_size % processes:
        raise InputError(
            f"{section}.batch_size {batch_size} cannot be shared by {processes} processes: "
            f"choose a multiple of {processes}"
        )


def require_places(batch_size: int, labelled_share: float) -> None:
    """Refuse a batch that has no room for one of two kinds of images, which are both wanted.

    Raises:
        InputError: saying which kind gets none.
    """
    labelled = round(batch_size * labelled_share)
    if 0 < labelled_share < 1 and labelled in (0, batch_size):
        raise InputError(
            f"training.labelled_share {labelled_share:g} of training.batch_size {batch_size} "
            f"leaves no place for {'unlabelled' if labelled else 'labelled'} images: change one of "
            "them"
        )


def require_apart(batch_size: int, tiles: int) -> None:
    """Refuse a batch in which a tile would stand against itself.

    Args:
        batch_size: over all processes.
        tiles: to draw from.

    Raises:
        InputError: there are fewer than the batch holds.
    """
    if tiles < batch_size:
        raise InputError(
            f"pretraining.batch_size {batch_size}: there are {tiles} tiles only, and a tile must "
            "not stand against itself in a contrastive term. Choose a smaller batch"
        )


def require_colours(
    input_channels: Sequence[str], stain: float, colour: float, section: str = "training"
) -> None:
    """Refuse changes of stain or colour where there are no colours.

    Args:
        input_channels: what the student sees.
        stain, colour: how far they are changed.
        section: of the experiment file, for the message.

    Raises:
        InputError: the student sees something else than red, green and blue.
    """
    if (stain or colour) and tuple(input_channels) != RGB:
        raise InputError(
            f"{section}: stain and colour change red, green and blue, but the student sees "
            f"{', '.join(input_channels)}: set both to 0"
        )
