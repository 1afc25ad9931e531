"""The nearest neighbours of every cell within a window of other feature maps, without what the window excludes.

Queries are taken in tiles. The keys that any cell of a tile may see are a box around it, so a few matrix products give
all its scores; the window's own shape is a bias added to them. The k best are found in two steps: the best of each
column of the box, the k best columns, then the k best in those. The k best scores lie in the k best columns.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

# Which offsets (dy, dx) a window of a radius allows.
SHAPES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "circle": lambda dy, dx, radius: dy**2 + dx**2 < radius**2,
    "disk": lambda dy, dx, radius: dy**2 + dx**2 <= radius**2,
    "square": lambda dy, dx, radius: torch.maximum(dy.abs(), dx.abs()) <= radius,
}
EXCLUDED = -1e10
TILE = (8, 12)
CHUNK = 512  # queries at a time where there is no window


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
    height, width, channels = queries.shape
    n = len(keys)
    top_k = min(top_k, n * height * width)
    scores = queries.new_empty(height * width, top_k)
    places = torch.empty(height * width, top_k, dtype=torch.long, device=queries.device)
    number = torch.arange(height * width, device=queries.device).view(height, width)
    for tile, box in _tiles(height, width, _reach(radius, shape)):
        query = queries[tile].reshape(-1, channels).T.contiguous()
        rows, columns = box
        seen = keys[:, rows, columns]
        bias = _bias(tile, box, radius, shape, str(queries.device)).to(queries.dtype)
        product = bias.repeat(n, 1, 1, 1)
        for score, key in zip(product, seen, strict=True):
            torch.baddbmm(score, key, query.expand(len(key), *query.shape), out=score)
        best, place = _two_step_top_k(product, top_k)
        frame, cell = place // bias[..., 0].numel(), place % bias[..., 0].numel()
        place = frame * height * width + number[box].flatten()[cell]
        here = number[tile].flatten()
        scores[here, : len(best)], places[here, : len(best)] = best.T, place.T
        if len(best) < top_k:
            scores[here, len(best) :], places[here, len(best) :] = EXCLUDED, 0
    return scores, places


def full_top_k(queries: Tensor, keys: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The k best of all keys, as `windowed_top_k` without a window; a chunk of queries at a time.

    Args:
        queries: Unit features (h, w, C).
        keys: Unit features of n maps, (n, h, w, C).
        top_k: Keys to find, k; fewer where there are fewer.

    Returns:
        Inner products and places, (h w, k) each.
    """
    n, height, width, channels = keys.shape
    key = keys.view(-1, channels)
    found = [
        _two_step_top_k((key @ chunk.T).view(n, height, width, -1), min(top_k, len(key)))
        for chunk in torch.split(queries.flatten(0, 1), CHUNK)
    ]
    return torch.cat([best.T for best, _ in found]), torch.cat([place.T for _, place in found])


def _two_step_top_k(scores: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The k best of (n, rows, columns, q) scores for every q, best first: values and flat places, (k, q) each."""
    n, rows, columns, queries = scores.shape
    groups = n * columns
    if groups <= top_k:
        return scores.flatten(0, 2).topk(min(top_k, n * rows * columns), dim=0)
    peak = scores.amax(1).view(groups, queries)
    group = peak.topk(top_k, dim=0, sorted=False).indices
    first = group // columns * (rows * columns) + group % columns  # the place of the first row of each column
    place = (first[:, None] + torch.arange(rows, device=scores.device)[:, None] * columns).flatten(0, 1)
    best, chosen = scores.view(-1, queries).gather(0, place).topk(top_k, dim=0)
    return best, place.gather(0, chosen)


def _reach(radius: float, shape: str) -> int:
    """The largest offset along an axis that a window allows."""
    offset = torch.arange(int(radius) + 2)
    return max(int(SHAPES[shape](offset, torch.zeros_like(offset), radius).sum()) - 1, 0)


def _tiles(height: int, width: int, reach: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Tiles of a map, and the boxes that their cells see."""
    for top in range(0, height, TILE[0]):
        for left in range(0, width, TILE[1]):
            bottom, right = min(top + TILE[0], height), min(left + TILE[1], width)
            rows = slice(max(top - reach, 0), min(bottom + reach, height))
            columns = slice(max(left - reach, 0), min(right + reach, width))
            yield (slice(top, bottom), slice(left, right)), (rows, columns)


def _bias(tile: tuple[slice, slice], box: tuple[slice, slice], radius: float, shape: str, device: str) -> Tensor:
    """0 where a cell of the tile sees a cell of the box, else `EXCLUDED`: (rows, columns, cells of the tile)."""
    (top, left), (rows, columns) = (part.start for part in tile), box
    sizes = tuple(part.stop - part.start for part in (*tile, *box))
    return _bias_of(rows.start - top, columns.start - left, sizes, radius, shape, device)


@lru_cache(maxsize=64)
def _bias_of(down: int, right: int, sizes: tuple[int, ...], radius: float, shape: str, device: str) -> Tensor:
    """As `_bias`, from what it depends on: the tiles of a map share a few of these."""
    tile_y, tile_x, box_y, box_x = (torch.arange(size, device=device) for size in sizes)
    dy = (box_y + down)[:, None, None, None] - tile_y[:, None]
    dx = (box_x + right)[:, None, None] - tile_x
    allowed = SHAPES[shape](dy, dx, radius).flatten(2)
    return torch.zeros(allowed.shape, device=device).masked_fill_(~allowed, EXCLUDED)
