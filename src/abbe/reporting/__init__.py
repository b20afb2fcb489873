"""One self-contained HTML page a run: what was done, what it bought, and how far to trust it."""

from abbe.reporting.write import write_report

__all__ = ["write_report"]
