"""Which parts of the work on a large image others may do: its blocks, and what goes before each."""

import math
from collections.abc import Iterable
from itertools import pairwise, product

from abbe.runtime.job import Block, Blocks
from abbe.runtime.tiling.grid import Grid, Tile

MOST_TILES = 12
"""Tiles a side of what one worker computes of a large image."""
MOST_PX = 6000
"""The same in px at the network's pixel size, which is less than that with windows of 1024 px."""


def tiles_of(block: Block) -> list[Tile]:
    """The tiles of a block, row by row."""
    return [Tile(row, column) for row in range(*block.rows) for column in range(*block.columns)]


def blocks_of(grid: Grid) -> tuple[Block, ...]:
    """All tiles in blocks, the largest first, so that the last to end are small.

    None where one would be all.
    """
    sides = _divided(len(grid.rows), grid.shape[0]), _divided(grid.width, grid.shape[1])
    blocks = [Block(rows, columns) for rows, columns in product(*sides)]
    return () if len(blocks) == 1 else tuple(sorted(blocks, key=_count, reverse=True))


def with_seams(grid: Grid, blocks: Iterable[Block]) -> Blocks:
    """Blocks, then the seams of each, which need the maps of those around it; then the numbers."""
    first = dict.fromkeys(blocks, frozenset[Block]())
    if not first:
        return {}
    seams = {Block(each.rows, each.columns, "seams"): _around(grid, each, first) for each in first}
    whole = Block((0, len(grid.rows)), (0, grid.width), "numbers")
    return first | seams | {whole: frozenset(seams)}


def _around(grid: Grid, block: Block, others: Iterable[Block]) -> frozenset[Block]:
    """A block and those whose maps its tiles need."""
    top, left = next(grid.around(Tile(block.rows[0], block.columns[0])))
    *_, (bottom, right) = grid.around(Tile(block.rows[1] - 1, block.columns[1] - 1))
    return frozenset(
        each
        for each in others
        if each.rows[0] <= bottom
        and top < each.rows[1]
        and each.columns[0] <= right
        and left < each.columns[1]
    )


def _divided(count: int, length: int) -> list[tuple[int, int]]:
    """So many tiles of ``length`` px in almost equal spans, none above what a block has at most."""
    spans = max(math.ceil(count / MOST_TILES), min(math.ceil(length / MOST_PX), count // 2), 1)
    edges = [round(count * number / spans) for number in range(spans + 1)]
    return list(pairwise(edges))


def _count(block: Block) -> int:
    (top, bottom), (left, right) = block.rows, block.columns
    return (bottom - top) * (right - left)
