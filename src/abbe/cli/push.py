"""``abbe push``: a package becomes a repository on Hugging Face."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from abbe.cli.shared.arguments import parse, say


@dataclass(frozen=True)
class PushArguments:
    """Arguments of ``abbe push``."""

    package: tyro.conf.Positional[Path]
    """The package."""
    repository: tyro.conf.Positional[str]
    """The repository, OWNER/NAME; it is made where it does not exist."""
    dry_run: bool = False
    """Only say what would be uploaded."""
    private: bool = False
    """Make the repository private, if it is made."""
    example: bool = True
    """Upload the test image too: it is a part of one of your images."""


def run(words: list[str]) -> int:
    """``abbe push``."""
    description = """Upload a package to a Hugging Face repository, with its model card.

The test image in a package is a part of one of your images: leave it out with --no-example where
it must not be seen.

examples:
  abbe push nuclei me/nuclei --dry-run
  abbe push nuclei me/nuclei --private --no-example"""
    arguments = parse(PushArguments, "push", words, description)
    from abbe.exporting.formats.push import push

    uploads, address = push(
        arguments.package,
        arguments.repository,
        with_example=arguments.example,
        private=arguments.private,
        dry_run=arguments.dry_run,
    )
    verb = "would upload" if address is None else "uploaded"
    say(f"{verb} to {arguments.repository}:")
    for file in uploads:
        say(f"  {file.path:24} {file.bytes:>12,} bytes")
    say(address or "nothing was sent (--dry-run)")
    return 0
