"""``abbe web``: a page that runs a package in the browser, as a folder for any static server."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from abbe.cli.shared.arguments import parse, say
from abbe.in_words import counted


@dataclass(frozen=True)
class WebArguments:
    """Arguments of ``abbe web``."""

    package: tyro.conf.Positional[str]
    """The package, or the name of one that comes with Abbe."""
    out: Path = Path("site")
    """Folder of the site; an earlier site there is replaced."""
    example: Path | None = None
    """An image for visitors to try; everyone can see it."""
    runtime: Path | None = None
    """Folder of the npm packages that the page needs, where there is no network."""
    webgpu: bool = True
    """Compute on graphics processors where the browser has them; 6.6 MB more."""
    origins: tuple[str, ...] = ()
    """Servers that visitors may open OME-Zarr from; else the page reaches no server but its own."""


def run(words: list[str]) -> int:
    """``abbe web``."""
    description = """Make a page that runs a package in the browser: a folder that any web server
can give. Someone opens it, drops an image, and sees the objects. Nothing is installed, and no image
leaves the machine.

ONNX Runtime, geotiff.js and zarrita are fetched from npm once, checked, and kept. The test
image of a package of yours is a part of one of your images, so it is not published: give one that
may be seen with --example.

examples:
  abbe web nuclei --out site/
  python -m http.server --directory site/       (then open http://localhost:8000)
  abbe web packages/polyps --out site/ --example polyp.png
  abbe web nuclei --origins https://images.example.org
  abbe web nuclei --runtime node_modules/       (without a network)"""
    arguments = parse(WebArguments, "web", words, description)
    from abbe.runtime.package.places import located
    from abbe.web import build_site

    site = build_site(
        located(arguments.package),
        arguments.out,
        runtime=arguments.runtime,
        example=arguments.example,
        webgpu=arguments.webgpu,
        origins=arguments.origins,
    )
    say(f"{arguments.out}: {counted(len(site.files), 'file')}, {site.size / 1e6:.1f} MB")
    if not site.example:
        say("It has no image to try: name one that everyone may see with --example.")
    say(f"Try it: python -m http.server --directory {arguments.out}, at http://localhost:8000")
    return 0
