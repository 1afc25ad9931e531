"""Label propagation: the original's outputs, planted motions, and a dense computation without windows or streaming."""

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.nearest import full_top_k, products
from lightning_binding.crw.propagation import PRESETS, PropagationSettings, propagate, propagate_frames
from lightning_binding.crw.windows import EXCLUDED, SHAPES, TILE, windowed_top_k
from lightning_binding.errors import InputError

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "crw.npz")
FEATURES, LABELS = torch.tensor(FIXTURE["features"]), torch.tensor(FIXTURE["labels0"])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal(height: int, width: int) -> Tensor:
    """A feature map in which every cell has a direction of its own, (h w, h, w)."""
    return torch.eye(height * width, dtype=torch.float64).view(-1, height, width)


def stripes(height: int, width: int, count: int = 3) -> Tensor:
    """Labels in vertical stripes, (h, w, count)."""
    return F.one_hot((torch.arange(width) * count // width).expand(height, -1)).double()


def padded(time: int, context: int) -> list[int]:
    """The last frames in the original code, where copies of the first frame lie before the video."""
    return [max(index, 0) for index in range(time - context, time)]


def dense(
    features: Tensor,
    labels: Tensor,
    context: int,
    top_k: int,
    temperature: float,
    radius: float,
    last: Callable[[int, int], list[int]] = padded,
) -> Tensor:
    """The procedure of the original code: all keys at once, the mask added, the k best of everything."""
    time, _, height, width = features.shape
    nodes = F.normalize(features, dim=1).flatten(2).transpose(1, 2)  # (T, hw, C)
    y, x = (grid.flatten() for grid in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    near = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2 < radius**2
    found = [labels.flatten(0, 1)]
    for t in range(1, time):
        frames = [0, *last(t, context)]
        scores = torch.stack([nodes[t] @ nodes[index].T for index in frames], 1)  # (hw, frames, hw)
        scores[:, 1:] += torch.where(near, 0.0, -1e10)[:, None]
        best, place = (scores.flatten(1) / temperature).topk(min(top_k, scores[0].numel()))
        label = torch.cat([found[index] for index in frames])
        found.append((best.softmax(1)[..., None] * label[place]).sum(1))
    return torch.stack(found).view(time, height, width, -1)


def test_the_original_code_is_reproduced() -> None:
    found = propagate(FEATURES, LABELS, context=5, top_k=10, temperature=0.05, radius=4)
    np.testing.assert_allclose(found.numpy(), FIXTURE["propagated_crw"], atol=1e-12)


def test_the_code_of_dino_is_reproduced() -> None:
    found = propagate(
        FEATURES,
        LABELS,
        context=3,
        top_k=5,
        temperature=0.1,
        radius=3,
        shape="square",
        window_first_frame=True,
        pad_with_first_frame=False,
    )
    np.testing.assert_allclose(found.numpy(), FIXTURE["propagated_dino"], atol=1e-12)


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 4), st.integers(1, 12), st.floats(0.5, 6))
@settings(max_examples=25, deadline=None)
def test_streaming_and_windows_change_nothing(height: int, width: int, context: int, top_k: int, radius: float) -> None:
    features = random(5, 8, height, width)
    labels = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    top_k = min(top_k, height * width)
    found = propagate(iter(features), labels, context=context, top_k=top_k, temperature=0.1, radius=radius)
    torch.testing.assert_close(found, dense(features, labels, context, top_k, 0.1, radius), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "last"),
    [
        ({"first_frame_twice": True}, lambda time, context: list(range(max(0, time - context), time))),
        ({}, lambda time, context: list(range(max(1, time - context), time))),
    ],
)
@pytest.mark.parametrize("context", [0, 1, 3])
def test_the_first_frame_counts_once_or_twice(
    options: dict[str, bool], last: Callable[[int, int], list[int]], context: int
) -> None:
    features = random(7, 3, 6, 8)
    found = propagate(features, stripes(6, 8), context=context, temperature=0.1, pad_with_first_frame=False, **options)  # type: ignore[arg-type]
    expected = dense(features, stripes(6, 8), context, 10, 0.1, 12, last)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_indices_of_the_context_are_those_of_the_padded_video() -> None:
    """At frame 3 of a video with 20 frames before it, the original code looks at [0; 3, ..., 22] of all frames."""
    features = random(6, 12, 5, 6)
    in_front = torch.cat([features[:1].expand(20, -1, -1, -1), features])
    labels = torch.rand(5, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = propagate(features, labels, top_k=30, temperature=0.1, radius=3)
    keys, known = in_front[[0, *range(3, 23)]], torch.cat([labels.expand(20, -1, -1, -1), found])[[0, *range(3, 23)]]
    scores = torch.einsum("kchw,cij->ijkhw", F.normalize(keys, dim=1), F.normalize(features[3], dim=0))
    y, x = torch.arange(5), torch.arange(6)
    near = (y[:, None, None, None] - y[:, None]) ** 2 + (x[:, None, None] - x) ** 2 < 9
    scores[:, :, 1:] += torch.where(near, 0.0, -1e10)[:, :, None]
    best, place = (scores.flatten(2) / 0.1).topk(30)
    expected = (best.softmax(-1)[..., None] * known.flatten(0, 2)[place]).sum(2)
    torch.testing.assert_close(found[3], expected, rtol=0, atol=1e-12)


@given(st.integers(1, 25), st.integers(1, 30), st.integers(1, 3), st.sampled_from(sorted(SHAPES)), st.floats(0, 13))
@settings(max_examples=40, deadline=None)
def test_windowed_neighbours_are_those_of_all_scores(h: int, w: int, n: int, shape: str, radius: float) -> None:
    queries, keys = F.normalize(random(h, w, 6), dim=-1), F.normalize(random(n, h, w, 6, seed=1), dim=-1)
    found, place = windowed_top_k(queries, keys, 5, radius, shape)
    y, x = (grid.flatten() for grid in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    near = SHAPES[shape](y[:, None] - y, x[:, None] - x, radius)
    scores = torch.einsum("qc,nkc->qnk", queries.flatten(0, 1), keys.flatten(1, 2))
    scores = scores.masked_fill(~near[:, None], EXCLUDED).flatten(1)
    expected = scores.topk(min(5, n * h * w))
    inside = expected.values > EXCLUDED / 2
    torch.testing.assert_close(found[inside], expected.values[inside])
    assert (found[~inside] <= EXCLUDED / 2).all()
    assert torch.equal(place[inside], expected.indices[inside])
    again, _ = windowed_top_k(queries, keys, 5, radius, shape)  # with what was kept from the first call
    assert torch.equal(found, again)


@pytest.mark.parametrize(("tile", "threads"), [((4, 8), 2), ((16, 32), 1), ((1, 3), 3)])
def test_tiles_and_threads_change_nothing(tile: tuple[int, int], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = propagate(FEATURES, LABELS, context=3)
    monkeypatch.setitem(TILE, "cpu", tile)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                found = propagate(FEATURES, LABELS, context=3)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("b", "m"), [(1, 5), (40, 4), (3, 1)])
def test_products_are_inner_products(b: int, m: int, dtype: torch.dtype) -> None:
    keys, queries = random(b, m, 16).to(dtype), random(7, 16, seed=1).to(dtype)
    expected = torch.einsum("bmc,qc->bmq", keys, queries)
    torch.testing.assert_close(products(keys, queries), expected)


def test_neighbours_without_a_window_are_those_of_all_scores() -> None:
    queries, keys = F.normalize(random(9, 31, 6), dim=-1), F.normalize(random(2, 9, 31, 6, seed=1), dim=-1)
    expected = (queries.flatten(0, 1) @ keys.flatten(0, 2).T).topk(7)
    found, place = full_top_k(queries, keys, 7)
    torch.testing.assert_close(found, expected.values)
    assert torch.equal(place, expected.indices)


@pytest.mark.parametrize(("context", "error"), [(20, 1.2e-7), (2, 1.44e-8)])
def test_a_still_video_keeps_its_labels(context: int, error: float) -> None:
    features, labels = orthonormal(8, 9).expand(6, -1, -1, -1), stripes(8, 9)
    found = propagate(features, labels, context=context)
    assert (found - labels).abs().max() <= error
    found = propagate(random(1, 64, 8, 9).expand(6, -1, -1, -1), labels, context=context)
    assert torch.equal(found.argmax(-1), labels.argmax(-1).expand(6, -1, -1))


def test_labels_follow_what_moves() -> None:
    still, labels = orthonormal(10, 14), stripes(10, 14)
    features = torch.stack([still.roll(time, 2) for time in range(6)])
    found = propagate(features, labels).argmax(-1)
    for time in range(6):
        assert torch.equal(found[time], labels.argmax(-1).roll(time, 1))


def test_the_first_frame_finds_what_left_the_window_unless_it_has_one_itself() -> None:
    still, labels = orthonormal(16, 40), stripes(16, 40)
    features = torch.stack([still.roll(13 * time, 2) for time in range(3)])
    expected = torch.stack([labels.argmax(-1).roll(13 * time, 1) for time in range(3)])
    assert torch.equal(propagate(features, labels).argmax(-1), expected)
    windowed = propagate(features, labels, window_first_frame=True, shape="square", pad_with_first_frame=False)
    assert (windowed.argmax(-1) == expected)[1:].float().mean().item() < 0.5


def test_labels_keep_their_mass() -> None:
    found = propagate(FEATURES.float(), LABELS.float(), context=3)
    torch.testing.assert_close(found.sum(-1), LABELS.float().sum(-1).expand(9, -1, -1).clone(), atol=1e-6, rtol=0)


def test_one_neighbour_is_the_limit_of_low_temperature() -> None:
    one = propagate(FEATURES, LABELS, context=3, top_k=1)
    cold = propagate(FEATURES, LABELS, context=3, temperature=1e-5)
    torch.testing.assert_close(one, cold)


@pytest.mark.parametrize(("radius", "shape", "cells"), [(12, "circle", 437), (12, "disk", 441), (12, "square", 625)])
def test_windows_have_the_known_sizes(radius: float, shape: str, cells: int) -> None:
    offset = torch.arange(-20, 21)
    assert int(SHAPES[shape](offset[:, None], offset, radius).sum()) == cells


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_runs(name: str) -> None:
    found = torch.stack(list(propagate_frames(FEATURES[:3], LABELS, PRESETS[name])))
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found.sum(-1)))


def test_no_more_maps_are_kept_than_the_context_needs() -> None:
    def kept() -> int:
        return sum(type(each) is Tensor and each.shape == (6, 7, 5) for each in gc.get_objects())

    frames = (random(5, 6, 7, seed=time) for time in range(12))
    alive = [kept() for _ in propagate_frames(frames, stripes(6, 7), PropagationSettings(context=2))]
    assert len(alive) == 12
    assert max(alive) <= 2  # the one at hand, and a view; the first and the last two are in the memory


@pytest.mark.parametrize(
    ("features", "labels", "arguments", "message"),
    [
        (FEATURES, LABELS[0], {}, r"expected \(h, w, L\)"),
        (FEATURES, LABELS[:, :, :0], {}, "no channel"),
        (FEATURES, LABELS[:5], {}, r"frame 0 has features \(24, 14, 18\)"),
        (FEATURES, LABELS, {"top_k": 0}, "top_k=0 must be 1 or more"),
        (FEATURES, LABELS, {"temperature": 0.0}, "temperature=0.0 must be positive"),
        (FEATURES, LABELS, {"shape": "round"}, "shape='round' is unknown; known are circle, disk, square"),
        (FEATURES, LABELS, {"context": -1}, "context=-1 must be 0 or more"),
    ],
)
def test_bad_input_is_explained(features: Tensor, labels: Tensor, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        propagate(features, labels, **arguments)  # type: ignore[arg-type]
