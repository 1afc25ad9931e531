"""The nearest neighbours of every cell among all cells of other feature maps.

The k best are found in two steps: the best of each column, the k best columns, then the k best in those. The k best
scores lie in the k best columns.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.threads import each

CHUNK = {"cpu": 64, "other": 1024}  # queries at a time: the scores of 64 stay in the cache


def full_top_k(queries: Tensor, keys: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The k best of all keys for every query.

    Args:
        queries: Unit features (h, w, C).
        keys: Unit features of n maps, (n, h, w, C).
        top_k: Keys to find, k; fewer where there are fewer.

    Returns:
        Inner products (h w, k), best first, and places in the n h w keys, (h w, k).
    """
    maps, height, width, _ = keys.shape
    query = queries.flatten(0, 1)
    scores = query.new_empty(len(query), min(top_k, maps * height * width))
    places = torch.empty(scores.shape, dtype=torch.long, device=query.device)
    size = CHUNK.get(query.device.type, CHUNK["other"])

    def search(start: int) -> None:
        chunk = slice(start, start + size)
        found = products(keys.flatten(0, 1), query[chunk]).view(maps, height, width, -1)
        best, place = two_step_top_k(found, top_k)
        scores[chunk], places[chunk] = best.T, place.T

    each(search, range(0, len(query), size), query.device)
    return scores, places


def products(keys: Tensor, queries: Tensor) -> Tensor:
    """Inner products of keys (b, m, C) and queries (q, C): (b, m, q)."""
    if keys.device.type != "cpu":
        return keys @ queries.T
    # A convolution with the queries as its kernels. It is oneDNN's, which takes the widest instructions of processors
    # of all makers; the matrix product is MKL's, which does so on Intel's alone.
    pictures, kernels = (rows[:, :, None].movedim(-1, 1) for rows in (keys, queries[:, None]))
    return F.conv2d(pictures, kernels).movedim(1, -1).squeeze(2)


def two_step_top_k(scores: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The k best of scores (s, rows, t, q) for every q, best first: values and flat places, (k, q) each."""
    blocks, rows, columns, queries = scores.shape
    flat = scores.reshape(-1, queries)
    groups = blocks * columns
    if groups <= top_k:
        return flat.topk(min(top_k, len(flat)), dim=0)
    peak = scores.amax(1).view(groups, queries)
    group = peak.topk(top_k, dim=0, sorted=False).indices
    first = group // columns * (rows * columns) + group % columns  # the place of the first row of each column
    place = (first[:, None] + torch.arange(rows, device=scores.device)[:, None] * columns).flatten(0, 1)
    best, chosen = flat.gather(0, place).topk(top_k, dim=0)
    return best, place.gather(0, chosen)
