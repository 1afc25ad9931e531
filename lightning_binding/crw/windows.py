"""The nearest neighbours of every cell within a window of other feature maps, without what the window excludes.

Queries are taken in tiles. The keys that any cell of a tile may see are a box around it; the window's own shape is a
bias added to their scores. Maps are kept in blocks of a few columns, each with its rows of all maps one after another,
so what a box takes of a block is one stretch of memory and no key is copied.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.nearest import full_top_k as full_top_k
from lightning_binding.crw.nearest import products, two_step_top_k
from lightning_binding.crw.threads import each

# Which offsets (dy, dx) a window of a radius allows.
SHAPES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "circle": lambda dy, dx, radius: dy**2 + dx**2 < radius**2,
    "disk": lambda dy, dx, radius: dy**2 + dx**2 <= radius**2,
    "square": lambda dy, dx, radius: torch.maximum(dy.abs(), dx.abs()) <= radius,
}
EXCLUDED = -1e10
BLOCK = 4  # columns
TILE = {"cpu": (4, 8), "other": (16, 32)}  # rows and columns: the scores of a box of the former stay in the cache


def windowed_top_k(queries: Tensor, keys: Tensor, top_k: int, radius: float, shape: str) -> tuple[Tensor, Tensor]:
    """The k best keys of every query within a window around its own place.

    Args:
        queries: Unit features (h, w, C).
        keys: Unit features of n maps, (n, h, w, C).
        top_k: Keys to find, k; fewer where there are fewer.
        radius: Of the window, in cells.
        shape: Name in `SHAPES`.

    Returns:
        Inner products (h w, k), best first, and places in the n h w keys, (h w, k). A key outside the window, of a
        query that sees fewer than k, has the product `EXCLUDED`.
    """
    return top_k_of_blocks(queries, to_blocks(keys), top_k, radius, shape)


def to_blocks(maps: Tensor) -> Tensor:
    """Maps (n, h, w, C) in blocks of columns, (w / BLOCK, h, n, BLOCK, C); zeros fill the last one up."""
    filled = F.pad(maps, (0, 0, 0, -maps.shape[2] % BLOCK))
    return rearrange(filled, "n h (j b) c -> j h n b c", b=BLOCK).contiguous()


def top_k_of_blocks(queries: Tensor, blocks: Tensor, top_k: int, radius: float, shape: str) -> tuple[Tensor, Tensor]:
    """As `windowed_top_k`, of keys in blocks (w / BLOCK, h, n, BLOCK, C)."""
    height, width, _ = queries.shape
    maps = blocks.shape[2]
    cells = maps * height * width
    top_k = min(top_k, cells)
    scores = queries.new_full((height, width, top_k), EXCLUDED)
    places = torch.zeros(scores.shape, dtype=torch.long, device=queries.device)
    reach = _reach(radius, shape)

    def search(tile: tuple[slice, slice]) -> None:
        query = queries[tile].flatten(0, 1)
        rows, columns = _box(tile, height, width, reach)
        bias = _bias(tile, rows, columns, width, radius, shape, str(queries.device))
        found = _scores(blocks[columns, rows], query, bias)
        best, place = two_step_top_k(found.flatten(2, 3), top_k)
        block, row, frame, column = _unravelled(place, found.shape[:-1])
        place = (frame * height + rows.start + row) * width + (columns.start + block) * BLOCK + column
        place.clamp_(max=cells - 1)  # what fills the last block up is no place
        for whole, part in ((scores, best), (places, place)):
            view = whole[tile]
            view[..., : len(part)] = part.T.view(*view.shape[:2], -1)

    tall, wide = TILE.get(queries.device.type, TILE["other"])
    tiles = [
        (slice(top, min(top + tall, height)), slice(left, min(left + wide, width)))
        for left in range(0, width, wide)
        for top in range(0, height, tall)
    ]
    each(search, tiles, queries.device)
    return scores.flatten(0, 1), places.flatten(0, 1)


def _unravelled(place: Tensor, shape: torch.Size) -> list[Tensor]:
    """Indices of flat places in an array; torch's own copies the shape to the device, for which the host waits."""
    found = []
    for size in reversed(shape[1:]):
        found.append(place % size)
        place = place // size
    return [place, *reversed(found)]


def _scores(keys: Tensor, queries: Tensor, bias: Tensor) -> Tensor:
    """Inner products of the cells of a box (blocks, rows, maps, BLOCK, C) with a tile's (q, C), and the bias of each.

    On a CPU block by block, whose scores stay in the cache; elsewhere at once, since every call costs.

    Args:
        keys: Unit features; a block's are one stretch of memory.
        queries: Unit features.
        bias: Of `_bias`, (blocks, rows, BLOCK, q).

    Returns:
        (blocks, rows, maps, BLOCK, q).
    """
    if keys.device.type == "cpu":
        found = queries.new_empty(*keys.shape[:-1], len(queries))
        for block, excluded, score in zip(keys, bias, found, strict=True):
            torch.add(products(block.flatten(0, 1), queries).view_as(score), excluded[:, None], out=score)
        return found
    return (keys.flatten(1, 3) @ queries.T).view(*keys.shape[:-1], -1).add_(bias[:, :, None])


def _reach(radius: float, shape: str) -> int:
    """The largest offset along an axis that a window allows."""
    offset = torch.arange(int(radius) + 2)
    return max(int(SHAPES[shape](offset, torch.zeros_like(offset), radius).sum()) - 1, 0)


def _box(tile: tuple[slice, slice], height: int, width: int, reach: int) -> tuple[slice, slice]:
    """The rows, and the blocks of columns, that the cells of a tile see."""
    (top, bottom), (left, right) = ((part.start - reach, part.stop + reach) for part in tile)
    return slice(max(top, 0), min(bottom, height)), slice(max(left, 0) // BLOCK, -(-min(right, width) // BLOCK))


def _bias(
    tile: tuple[slice, slice], rows: slice, columns: slice, width: int, radius: float, shape: str, device: str
) -> Tensor:
    """0 where a cell of the tile sees a cell of its box, else `EXCLUDED`: (blocks, rows, BLOCK, cells of the tile)."""
    left = columns.start * BLOCK
    right = min(columns.stop * BLOCK, width)
    offsets = (rows.start - tile[0].start, left - tile[1].start)
    sizes = (*(part.stop - part.start for part in (*tile, rows, columns)), right - left)
    return _bias_of(offsets, sizes, radius, shape, device)


@lru_cache(maxsize=64)
def _bias_of(offsets: tuple[int, int], sizes: tuple[int, ...], radius: float, shape: str, device: str) -> Tensor:
    """As `_bias`, from what it depends on: the tiles of a map share a few of these."""
    tile_y, tile_x, box_y, blocks, real = sizes
    y, x, key_y, key_x = (torch.arange(size, device=device) for size in (tile_y, tile_x, box_y, blocks * BLOCK))
    dy = (key_y + offsets[0])[:, None, None, None] - y[:, None]
    dx = (key_x + offsets[1])[:, None, None] - x
    seen = (SHAPES[shape](dy, dx, radius) & (key_x < real)[:, None, None]).flatten(2)
    bias = torch.zeros(seen.shape, device=device).masked_fill_(~seen, EXCLUDED)
    return rearrange(bias, "y (j b) q -> j y b q", b=BLOCK).contiguous()
