"""A report's page, taken apart, and the small run that it is of."""

import json
from html.parser import HTMLParser
from pathlib import Path

from abbe.reporting import write_report

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Checks that every element is closed, and gathers the text, the ids and the references."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "srcset", "data", "action"):
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def small_run(whole: Path, folder: Path) -> Path:
    """A run's summary.json alone in another folder, with Dice as its only metric."""
    summary = json.loads((whole / "summary.json").read_text())
    for key in ("gain", "retention"):
        summary[key] = {"dice": summary[key]["dice"]}
    for model in summary["models"].values():
        model["metrics"] = {"dice": model["metrics"]["dice"]}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def page_of(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def change(run: Path, **changes: object) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | changes))
