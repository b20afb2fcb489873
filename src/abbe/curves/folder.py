"""The folder of a label-efficiency curve: its summary, table, picture and report."""

import os
import webbrowser
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from abbe.notebooks import card
from abbe.runs.showing import figures_of_curve
from abbe.summary import CurveSummary


@dataclass(frozen=True)
class Curve:
    """A label-efficiency curve; ``summary`` is what ``summary.json`` holds.

    A curve stands for its folder wherever a path is wanted.
    """

    folder: Path
    summary: CurveSummary | None
    """None where this process is not the one that writes."""

    def __repr__(self) -> str:
        told = ""
        if self.summary is not None:
            done = f"{self.summary.finished} of {self.summary.planned} trainings"
            told = f", {', '.join(self.summary.compared)}, {done}"
        return f"Curve('{self.folder}'{told})"

    def _repr_html_(self) -> str:
        picture = None
        if self.picture.is_file():
            with PIL.Image.open(self.picture) as opened:
                picture = np.asarray(opened.convert("RGB"))
        if self.summary is None:
            return card(str(self.folder), {}, picture)
        headline = self.summary.title or str(self.folder)
        return card(headline, figures_of_curve(self.summary), picture)

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    @property
    def table(self) -> Path:
        """One row a training, with its scores."""
        return self.folder / "curve.csv"

    @property
    def picture(self) -> Path:
        """The curve; ``curve.svg`` is the same."""
        return self.folder / "curve.png"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    def show(self) -> Path:
        """Open the report in the browser; its path comes back."""
        webbrowser.open(self.report.absolute().as_uri())
        return self.report
