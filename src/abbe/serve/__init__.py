"""A local page to try a promptable network: click points, drag boxes, keep the masks."""

from abbe.serve.app import application
from abbe.serve.local import address_of, listen, run
from abbe.serve.session import MaskPredictor, Session

__all__ = ["MaskPredictor", "Session", "address_of", "application", "listen", "run"]
