"""Pictures of what a network answers while it trains: files of the run, and TensorBoard."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from abbe.errors import AbbeError
from abbe.imaging import write_png
from abbe.training.log import Log

KEPT = 20
"""Pictures of a stage that stay, spread over its steps, beside the newest."""
MOST_DRAWING = 0.02
"""Share of a stage's time that pictures may take; they are drawn less often where it would be
more."""


class Previews:
    """The pictures of one stage.

    Args:
        draw: from a network to a picture (H, W, 3) uint8.
        folder: where they are kept; it is made when the first one is.
        name: of network and stage, with which their names begin.
        stage: as the log calls it.
        log: passes some of them to TensorBoard.
        steps: of the stage.
        every: steps from one validation to the next.
    """

    def __init__(
        self,
        draw: Callable[[nn.Module], np.ndarray],
        folder: Path,
        name: str,
        stage: str,
        log: Log,
        *,
        steps: int,
        every: int,
    ) -> None:
        self._draw, self._folder, self._name = draw, folder, name
        self._stage, self._log = stage, log
        self._steps = steps
        self._spread = every * max(1, math.ceil(steps / every / KEPT))
        self._began = time.perf_counter()
        self.seconds = self._last = 0.0

    def draw(self, network: nn.Module, step: int) -> None:
        """Draw what ``network`` answers now, where there is time for it.

        Raises:
            AbbeError: the file cannot be written, such as when the disk is full.
        """
        began = time.perf_counter()
        if self._last and self.seconds + self._last > MOST_DRAWING * (began - self._began):
            return
        picture = self._draw(network)
        path = self._folder / f"{self._name}-{step:06}.png"
        try:
            self._folder.mkdir(exist_ok=True)
            write_png(path, picture)
            self._thin(path)
        except OSError as error:
            raise AbbeError(
                f"{path}: cannot be written ({error.strerror}). Free some disk space or mend the "
                "folder's permissions, then go on with --resume"
            ) from error
        if self._stays(step):
            self._log.picture(self._stage, step, picture)
        self._last = time.perf_counter() - began
        self.seconds += self._last

    def forget_after(self, step: int) -> None:
        """Remove what an interrupted run drew beyond the checkpoint that it resumes from."""
        for drawn, path in self._files():
            if drawn > step:
                path.unlink()

    def _stays(self, step: int) -> bool:
        return step % self._spread == 0 or step == self._steps

    def _thin(self, newest: Path) -> None:
        for step, path in self._files():
            if path != newest and not self._stays(step):
                path.unlink()

    def _files(self) -> list[tuple[int, Path]]:
        """The stage's pictures with their steps."""
        found = []
        for path in sorted(self._folder.glob(f"{self._name}-*.png")):
            step = path.stem.removeprefix(f"{self._name}-")
            if step.isdecimal():
                found.append((int(step), path))
        return found
