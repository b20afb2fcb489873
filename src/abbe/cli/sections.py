"""Sections of the experiment file as arguments of a verb."""

import tyro

from abbe import config

Unprefixed = tyro.conf.arg(name="")
SOME_DATA = config.Data.model_construct(kind="folder")
SOME_TEACHER = config.Teacher.model_construct()
"""Not checked, because the command line is yet to complete them."""
