"""A page that runs a package in the browser: a folder of files for any static server."""

from abbe.web.runtime_files import Fetched, runtime_files
from abbe.web.site import Site, build_site

__all__ = ["Fetched", "Site", "build_site", "runtime_files"]
