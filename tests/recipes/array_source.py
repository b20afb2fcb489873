"""Images and labels that lie in memory."""

import numpy as np

from abbe.imaging import Image


class ArraySource:
    """An image of nuclei, or a label."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def open(self) -> Image:
        return Image.from_array(self.array, ["nucleus"])

    def read(self) -> np.ndarray:
        return self.array
