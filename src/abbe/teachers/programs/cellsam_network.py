"""One tile through CellSAM's own package, in every shape that its answer can have.

What is said of the package here was read in github.com/vanvalenlab/cellSAM at commit 35bc6e0 of
November 2025; nothing of it is copied.
"""

from __future__ import annotations

import logging
import pickle
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.teachers.networks.preprocessing import sigmoid
from abbe.teachers.programs.installed import channels_last, require_all_weights, tensors_of
from abbe.teachers.programs.object_tiles import Objects

if TYPE_CHECKING:
    from torch import nn


class NoCellsError(Exception):
    """CellSAM's detector found no box, or its decoder doubts every mask."""


class CellsamNetwork:
    """CellSAM for one tile: its objects, and the soft masks that it cuts them from.

    ``segment_cellular_image`` runs the network and cleans its masks. Two of the network's own
    functions are listened to: ``predict``, whose (None, None, None, None) for a tile without cells
    the package goes on with and fails, and ``postprocess_masks`` of its SAM, which gives each
    object's logits at the tile's size, of which the package keeps no more than what is above 0.4.
    """

    def __init__(self, segment: Any, model: Any, settings: dict[str, Any]) -> None:
        self._segment, self._model, self._settings = segment, model, settings
        self._highest = np.zeros((0, 0), np.float32)
        predict, postprocess = model.predict, model.model.postprocess_masks

        def answered(*arguments: Any, **options: Any) -> Any:
            answer = predict(*arguments, **options)
            if answer is None or answer[0] is None:
                raise NoCellsError
            return answer

        def heard(*arguments: Any, **options: Any) -> Any:
            logits = postprocess(*arguments, **options)
            soft = sigmoid(logits.detach().float().cpu().numpy())
            self._highest = np.maximum(self._highest, soft.max((0, 1)))
            return logits

        model.predict, model.model.postprocess_masks = answered, heard

    @property
    def parameters(self) -> int:
        """Of detector and SAM, and of the second SAM where it was trained further."""
        copied = not getattr(self._model, "adv_mode", True)
        return sum(
            parameter.numel()
            for name, parameter in self._model.named_parameters()
            if not (copied and name.startswith("model_cp."))
        )

    @property
    def device(self) -> str:
        """Where it computes, such as ``cpu``."""
        return next(self._model.parameters()).device.type

    def __call__(self, pixels: NDArray[np.float32]) -> Objects:
        """The objects of a tile (3, h, w), normalised: blank, nuclear, membrane.

        The probability is the highest of their soft masks, 0 where none reaches. In a tile without
        cells, and in a blank one, which CellSAM cannot standardise, there is nothing.

        Raises:
            InputError: CellSAM failed, by raising or by a line in its log.
        """
        shape = pixels.shape[1:]
        self._highest = np.zeros(shape, np.float32)
        nothing = np.zeros(shape, np.int32)
        if not pixels.any():
            return Objects(nothing, self._highest)
        try:
            with logged_errors_raised(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "No cells detected|Low IOU threshold")
                labels = self._segment(
                    channels_last(pixels), self._model, normalize=False, **self._settings
                )[0]
        except NoCellsError:
            return Objects(nothing, self._highest)
        except AssertionError as error:
            raise InputError(f"CellSAM refused a tile: {error or 'an assertion failed'}") from error
        # Its answer where there are no cells, as it means it: zeros of the shape (3, h, w).
        if labels is None or (labels.shape == (3, *shape) and not labels.any()):
            return Objects(nothing, self._highest)
        return Objects(np.asarray(labels), self._highest)


@contextmanager
def logged_errors_raised() -> Iterator[None]:
    """Raise what a program only logs as an error: it may have put an empty mask in its place.

    Raises:
        InputError: with the logged message.
    """
    caught: list[str] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == threading.get_ident():  # other threads read other images
                caught.append(record.getMessage())

    handler = Catch(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    if caught:
        raise InputError(f"CellSAM failed and only said so in its log: {caught[0]}")


def load_file(source: Path, package: Any) -> nn.Module:
    """A CellSAM model from a file of weights, refused where part of it would stay random.

    The tensors may stand under ``state_dict``. Those of ``model_cp``, the copy of SAM that was
    trained further, may be missing: CellSAM then takes ``model`` in its place. A prefix such as
    ``module.`` it does not know, and passes over.

    Raises:
        InputError: the file is damaged, or lacks tensors, or has them in other shapes.
    """
    found = tensors_of(source)
    if "state_dict" in found and not any(key.startswith("model.") for key in found):
        found = found["state_dict"]
    try:
        model = package.get_local_model(str(source))
    except (RuntimeError, OSError, pickle.UnpicklingError) as error:
        raise InputError(f"{source}: CellSAM cannot load it ({error})") from error
    copied = not any(key.startswith("model_cp.") for key in found)
    besides = [key for key in model.state_dict() if copied and key.startswith("model_cp.")]
    require_all_weights(source, found, model, besides)
    return model
