"""``abbe models``: which packages there are, and what they are for."""

import json
from dataclasses import dataclass

import tyro

from abbe.cli.shared.arguments import parse, say


@dataclass(frozen=True)
class ModelsArguments:
    """Arguments of ``abbe models``."""

    places: tyro.conf.Positional[tuple[str, ...]] = ()
    """Packages, folders of packages, and repositories on Hugging Face (hf:OWNER/NAME)."""
    json: bool = False
    """Print JSON instead of text."""


def run(words: list[str]) -> int:
    """``abbe models``; exit code 1 where a place could not be listed."""
    description = """List packages: what each sees and gives, at which scale, how good it is on test
images, what it was trained on and what its licences are. Those that come with Abbe stand first;
their names may be given wherever a package is wanted. A folder of yours that holds a package goes
before a name: say ./nuclei or nuclei, and the package in that folder is meant.

Of a repository on Hugging Face the description alone is fetched. abbe predict hf:OWNER/NAME fetches
the rest.

examples:
  abbe models
  abbe models packages/ hf:me/nuclei
  abbe models --json
  abbe predict nuclei images/                   (a package that comes with Abbe)"""
    arguments = parse(ModelsArguments, "models", words, description)
    from abbe.runtime.package.catalogue import catalogue

    found = catalogue(arguments.places)
    if arguments.json:
        packages = [entry.to_json() for entry in found.entries]
        print(json.dumps({"packages": packages, "problems": found.problems}, indent=2))
    else:
        say(str(found))
    return 1 if found.problems else 0
