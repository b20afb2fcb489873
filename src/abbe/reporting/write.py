"""Turn a run folder into its ``report.html``; the packages this needs are looked for only here."""

import os
from importlib.util import find_spec
from pathlib import Path

from abbe.errors import MissingExtraError
from abbe.files import write_text
from abbe.remote.folders import worked_on
from abbe.summary import CurveSummary, read_summary


def write_report(run_folder: str | os.PathLike[str]) -> Path:
    """Render ``run_folder/report.html`` from the files of the run, and return its path.

    Only ``summary.json`` must be there. A part whose file is absent is left out of the page with
    a sentence that says so; a damaged part is listed among the page's warnings. The folder of a
    label-efficiency curve gets a page of its own, and ``curve.png`` and ``curve.svg``.

    Raises:
        InputError: if the folder or its ``summary.json`` is missing or cannot be read.
        MissingExtraError: if a package of ``abbe[train]`` that the page needs is not installed.
    """
    for package in ("jinja2", "matplotlib", "pyarrow"):
        if find_spec(package) is None:
            raise MissingExtraError(package, extra="train", purpose="The report")
    from abbe.reporting.curve_page import render_curve_page, save_pictures
    from abbe.reporting.page import render_page
    from abbe.reporting.run_folder import read_run

    with worked_on(run_folder) as folder:
        summary, path = read_summary(folder), folder / "report.html"
        if isinstance(summary, CurveSummary):
            save_pictures(folder, summary)
            write_text(path, render_curve_page(folder, summary))
        else:
            write_text(path, render_page(read_run(folder, summary)))
        return path
