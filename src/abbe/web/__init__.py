"""A page that runs a package in the browser: a folder of files for any static server."""

from abbe.web.runtime_files import Fetched, runtime_files
from abbe.web.site import PAGE, Site, build_site, described

__all__ = ["PAGE", "Fetched", "Site", "build_site", "described", "runtime_files"]
