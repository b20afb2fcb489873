"""The names under which students knew ``abbe.tensors``."""

from abbe.tensors import differences, read_safetensors, read_tensors

__all__ = ["differences", "read_safetensors", "read_tensors"]
