"""J and F of sequences: the official numbers, two other implementations, and any split over processes."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_scores import blobs, by_vos_benchmark, slow_f, slow_statistics, square
from scipy.ndimage import gaussian_filter
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.metrics import JaccardBoundary, write_davis_tables
from lightning_binding.metrics.boundary import disk_radius
from lightning_binding.metrics.jaccard_boundary import STATISTICS, frame_scores, statistics

FULL = np.ones((480, 854), np.uint8)
EMPTY = np.zeros((480, 854), np.uint8)


def scored(prediction: np.ndarray, target: np.ndarray, **options: Any) -> JaccardBoundary:
    metric = JaccardBoundary(**options)
    metric.update(torch.from_numpy(prediction), torch.from_numpy(target), "clip")
    return metric


def frame(prediction: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """J and F of one object in one frame, which a frame before shows and a frame after ends."""
    found = scored(np.stack([prediction] * 3), np.stack([FULL, target, FULL])).compute()
    return float(found["J-Mean"]), float(found["F-Mean"])


@pytest.mark.parametrize(
    ("shift", "jaccard", "contour"),
    [
        ((0, 0), 1, 1),
        ((0, 1), 0.980198, 1),
        ((0, 4), 0.923077, 1),
        ((0, 8), 0.851852, 1),
        ((0, 9), 0.834862, 0.540),
        ((0, 10), 0.818182, 0.535),
        ((0, 20), 0.666667, 0.485),
        ((0, 100), 0, 0.2925),
        ((0, 200), 0, 0),
        ((8, 8), 0.733703, 0.9625),
        ((9, 9), 0.706630, 0.085),
    ],
)
def test_official_numbers_of_a_square_that_is_off(shift: tuple[int, int], jaccard: float, contour: float) -> None:
    found = frame(square(100, 200 + shift[0], 300 + shift[1]), square(100, 200, 300))
    assert found == pytest.approx((jaccard, contour), abs=5e-7)


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [(EMPTY, EMPTY, (1, 1)), (EMPTY, FULL, (0, 1)), (FULL, FULL, (1, 1)), (FULL, EMPTY, (0, 1))],
)
def test_masks_that_are_empty_or_full(
    prediction: np.ndarray, target: np.ndarray, expected: tuple[float, float]
) -> None:
    assert frame(prediction, target) == expected  # neither has a boundary: F is 1


def test_one_mask_is_missing() -> None:
    assert frame(EMPTY, square(100, 200, 300)) == (0, 0)
    assert frame(square(100, 200, 300), EMPTY) == (0, 0)


def test_official_numbers_of_noise() -> None:
    rng = np.random.default_rng(0)
    coins = [(rng.random((5, 480, 854)) > 0.5).astype(np.uint8) for _ in range(2)]
    found = scored(*coins, drop_ends=False).compute()
    assert float(found["J-Mean"]) == pytest.approx(0.333015, abs=5e-7)
    assert float(found["F-Mean"]) == 1  # boundaries everywhere: each is close to one of the other
    noise = [rng.standard_normal((5, 480, 854))[0] for _ in range(2)]
    jaccard, contour = frame(*[(gaussian_filter(each, 20) > 0).astype(np.uint8) for each in noise])
    assert jaccard == pytest.approx(0.331401, abs=5e-7)
    assert contour == pytest.approx(0.30685, abs=5e-6)


@pytest.mark.parametrize(
    ("frames", "recall", "decay"),
    [(4, 0.5, 0.666667), (8, 0.5, 0.714286), (10, 0.5, 0.777778), (67, 0.492537, 0.75), (98, 0.5, 0.752577)],
)
def test_official_numbers_of_scores_that_fall(frames: int, recall: float, decay: float) -> None:
    found = statistics(torch.linspace(1, 0, frames, dtype=torch.float64)).tolist()
    assert found == pytest.approx([0.5, recall, decay], abs=5e-7)


@settings(max_examples=60)
@given(st.one_of(st.integers(1, 12), st.integers(1, 700)))
def test_statistics_by_rounded_quarters(frames: int) -> None:
    values = torch.rand(frames, 2, dtype=torch.float64)
    for column, found in zip(values.T, statistics(values).T, strict=True):
        assert found.tolist() == pytest.approx(slow_statistics(column.numpy()), abs=1e-12)


def test_scores_of_just_a_half_are_not_recalled() -> None:
    assert statistics(torch.tensor([0.5, 0.5, 0.6, 0.4])).tolist() == pytest.approx([0.5, 0.25, 0])


def assert_as_vos_benchmark(prediction: np.ndarray, target: np.ndarray, objects: int) -> None:
    """Every frame of every object, and the statistics over frames."""
    expected = by_vos_benchmark(prediction, target, objects)
    radius = disk_radius(target.shape[1], target.shape[2])
    frames = zip(torch.from_numpy(prediction), torch.from_numpy(target), strict=True)
    found = torch.stack([frame_scores(*pair, objects, radius) for pair in frames], 1).numpy()
    assert np.abs(found - expected).max() < 1e-12
    overall = scored(prediction, target, drop_ends=False).per_object()
    for index in range(objects):
        rows = [value for scores in expected[:, :, index] for value in slow_statistics(scores)]
        assert list(overall[f"clip_{index + 1}"].values()) == pytest.approx(rows, abs=1e-12)


@pytest.mark.parametrize(
    ("objects", "height", "width", "frames"), [(4, 480, 854, 3), (1, 240, 427, 4), (9, 120, 214, 6), (17, 200, 150, 4)]
)
def test_as_vos_benchmark(objects: int, height: int, width: int, frames: int) -> None:
    rng = np.random.default_rng(objects)
    target = blobs(rng, frames, height, width, objects, height / 25)
    target[0, -1, -1] = objects  # blobs may leave out an object
    prediction = np.roll(target, (height // 60, -height // 40), (1, 2))
    prediction[1][prediction[1] == 1] = 0
    prediction[-1] = blobs(rng, 1, height, width, objects, height / 10)[0]
    assert_as_vos_benchmark(prediction, target, objects)


def test_as_vos_benchmark_with_void_and_missing_objects_and_empty_and_full_frames() -> None:
    rng = np.random.default_rng(0)
    target, prediction = blobs(rng, 8, 90, 160, 3, 6), blobs(rng, 8, 90, 160, 3, 6)
    target[0, 0, 0] = 3
    target[1], prediction[2], target[3], prediction[3] = 0, 0, 0, 0
    target[4], prediction[5] = 2, 3
    target[6][target[6] == 1] = 0
    target[7, 20:50, 40:90] = 255
    target[7, 60:70] = 4  # an object that comes later
    assert_as_vos_benchmark(prediction, target, 3)


def test_as_vos_benchmark_over_300_frames() -> None:
    rng = np.random.default_rng(0)
    target, prediction = blobs(rng, 300, 24, 40, 2, 3), blobs(rng, 300, 24, 40, 2, 3)
    target[0, 0, 0] = 2
    assert_as_vos_benchmark(prediction, target, 2)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([1, 2, 0.05]))
def test_as_brute_force(seed: int, objects: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(3, 6)), *rng.integers(2, 15, 2))
    target, prediction = (rng.choice([0, *range(objects + 1)], shape).astype(np.uint8) for _ in range(2))
    target[0, 0, 0] = objects
    target[rng.random(shape) < 0.1] = 255
    target[0, 0, 0] = objects
    radius = tolerance if tolerance >= 1 else int(np.ceil(tolerance * np.hypot(*shape[1:])))
    found = scored(prediction, target, tolerance=tolerance).per_object()
    for index in range(1, objects + 1):
        masks = prediction[1:-1] == index, target[1:-1] == index
        union = (masks[0] | masks[1]).sum((1, 2))
        jaccard = np.where(union > 0, (masks[0] & masks[1]).sum((1, 2)) / np.maximum(union, 1), 1)
        contour = np.array([slow_f(*pair, int(radius)) for pair in zip(*masks, strict=True)])
        expected = [*slow_statistics(jaccard), *slow_statistics(contour)]
        assert list(found[f"clip_{index}"].values()) == pytest.approx(expected, abs=1e-12)


def test_the_first_and_the_last_frame_do_not_count() -> None:
    mask = square(30, 10, 10, 60, 60)
    target = np.stack([mask] * 5)
    prediction = target.copy()
    prediction[[0, -1]] = 7  # not even known ids
    assert all(float(scored(prediction, target).compute()[name]) == 1 for name in ("J-Mean", "F-Recall"))
    prediction[[0, -1]] = 0
    assert float(scored(prediction, target, drop_ends=False).compute()["J-Mean"]) == pytest.approx(0.6)


def test_what_is_predicted_on_void_is_wrong() -> None:
    target = np.stack([square(10, 0, 0, 40, 40)] * 3)
    target[:, :10, 10:20] = 255
    prediction = np.where(target > 0, 1, 0).astype(np.uint8)
    assert float(scored(prediction, target).compute()["J-Mean"]) == 0.5
    assert float(scored(prediction, target, single_object=True).compute()["J-Mean"]) == 0.5


def test_objects_are_those_up_to_the_highest_id_of_the_first_frame() -> None:
    target = np.zeros((4, 20, 20), np.uint8)
    target[:, :5, :5] = 3
    target[1:, 10:, 10:] = 1  # an object that is absent at first
    target[1:, :5, 10:] = 9  # and one that is no object of this sequence
    prediction = np.where(target == 3, 3, 0).astype(np.uint8)
    found = scored(prediction, target).per_object()
    assert {name: values["J-Mean"] for name, values in found.items()} == {"clip_1": 0, "clip_2": 1, "clip_3": 1}


def test_single_object_is_the_union_of_all() -> None:
    rng = np.random.default_rng(0)
    target, prediction = blobs(rng, 5, 90, 160, 3, 6), blobs(rng, 5, 90, 160, 9, 6)
    found = scored(prediction, target, single_object=True).per_object()
    expected = scored((prediction > 0).astype(np.uint8), (target > 0).astype(np.uint8)).per_object()
    assert found == expected
    assert len(found) == 1


def sequences() -> list[tuple[Tensor, Tensor, str]]:
    """Five of different sizes and numbers of objects, one with a name that is no ASCII, two lines and long."""
    result = []
    names = ["bmx", "drift-Straße\n2", "x" * 300, "a", "z"]
    for index, (objects, name) in enumerate(zip((2, 1, 4, 1, 3), names, strict=True)):
        rng = np.random.default_rng(index)
        shape = (4 + index, 20 + index, 30)
        target, prediction = (torch.from_numpy(blobs(rng, *shape, objects, 2.5)) for _ in range(2))
        target[0, 0, 0] = objects
        result.append((prediction, target, name))
    return result


def over_all() -> JaccardBoundary:
    metric = JaccardBoundary()
    for sequence in sequences():
        metric.update(*sequence)
    return metric


def test_the_mean_is_over_objects() -> None:
    metric = over_all()
    found, objects = metric.compute(), metric.per_object()
    assert list(found) == ["J&F-Mean", *STATISTICS]
    assert len(objects) == 11
    assert list(objects)[:4] == ["a_1", "bmx_1", "bmx_2", "drift-Straße\n2_1"]
    for name in STATISTICS:
        assert float(found[name]) == pytest.approx(np.mean([values[name] for values in objects.values()]), abs=1e-12)
    assert float(found["J&F-Mean"]) == pytest.approx(float(found["J-Mean"] + found["F-Mean"]) / 2, abs=1e-12)
    alone = {}
    for prediction, target, name in sequences():
        metric = JaccardBoundary()
        metric.update(prediction, target, name)
        alone |= metric.per_object()
    assert alone == objects


def _split(rank: int, world: int, parts: list[list[int]]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    metric, data = JaccardBoundary(), sequences()
    for index in parts[rank]:
        metric.update(*data[index])
    found = {name: float(value) for name, value in metric.compute().items()}
    objects = metric.per_object() if rank == 0 else {}  # alone, after all have computed
    metric.update(*data[parts[0][0]])  # what a process has is its own again
    assert len(metric.records) == len(parts[rank]) + 1 + (not parts[rank])
    return found, objects


@pytest.mark.parametrize(
    "parts",
    [
        [[0, 1, 2], [3, 4]],
        [[4, 2], [3, 1, 0]],
        [[0, 1, 2, 3, 4], []],
        [[0, 2, 4], [1, 3, 0]],  # as when a sampler fills up with what it began with
        [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]],
    ],
)
def test_any_split_over_processes_gives_the_same(gloo, parts: list[list[int]]) -> None:  # type: ignore[no-untyped-def]
    metric = over_all()
    expected = {name: float(value) for name, value in metric.compute().items()}
    results = gloo(_split, parts)
    assert [found for found, _ in results] == [expected, expected]  # to the last bit: objects are summed by name
    assert results[0][1] == metric.per_object()


def test_copies_resets_and_steps() -> None:
    metric = JaccardBoundary()
    first, *others = sequences()
    step = metric(*first)
    assert step == metric.compute()
    for copied in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
        for sequence in others:
            copied(*sequence)
        assert copied.compute() == over_all().compute()
        assert copied.per_object() == over_all().per_object()
    metric.reset()
    with pytest.warns(UserWarning, match="before"), pytest.raises(InputError, match="no sequence was scored"):
        metric.compute()
    with pytest.warns(UserWarning, match="before"), pytest.raises(InputError, match="no sequence was scored"):
        metric.per_object()


def test_tables_as_the_official_code_writes_them(tmp_path: Path) -> None:
    target = torch.from_numpy(np.stack([square(100, 200, 300)] * 5))
    metric = JaccardBoundary()
    for shift, name in ((9, "late"), (1, "early")):
        metric.update(target.roll(shift, 2), target, name)
    paths = write_davis_tables(tmp_path / "new", metric.compute(), metric.per_object(), "test-dev")
    assert [path.name for path in paths] == ["global_results-test-dev.csv", "per-sequence_results-test-dev.csv"]
    assert paths[0].read_bytes().decode() == (
        "J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay\n0.839,0.908,1.000,0.000,0.770,1.000,0.000\n"
    )
    assert paths[1].read_bytes().decode() == "Sequence,J-Mean,F-Mean\nearly_1,0.980,1.000\nlate_1,0.835,0.540\n"


def test_unusable_masks() -> None:
    metric, masks = JaccardBoundary(), torch.ones(4, 6, 6, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"clip: masks must be uint8 \(T, H, W\), not torch.int64"):
        metric.update(masks.long(), masks, "clip")
    with pytest.raises(InputError, match=r"not torch.uint8 \(6, 6\)"):
        metric.update(masks[0], masks[0], "clip")
    with pytest.raises(InputError, match=r"\(3, 6, 6\) was predicted for a target \(4, 6, 6\)"):
        metric.update(masks[1:], masks, "clip")
    for frames in (1, 2):
        with pytest.raises(InputError, match=f"clip has {frames} frames, of which none is left to score; drop_ends"):
            metric.update(masks[:frames], masks[:frames], "clip")
        whole = JaccardBoundary(drop_ends=False)
        whole.update(masks[:frames], masks[:frames], "clip")
        assert {name: float(value) for name, value in whole.compute().items()} == {
            "J&F-Mean": 1,
            **{name: float(not name.endswith("Decay")) for name in STATISTICS},
        }
    with pytest.raises(InputError, match="holds no object"):
        metric.update(masks, torch.where(masks > 0, 255, 0).byte(), "clip")
    with pytest.raises(InputError, match=r"the prediction has the id 2, and .* objects up to 1; single_object=True"):
        metric.update(masks * 2, masks, "clip")
    with pytest.raises(InputError, match="tolerance=0 must be"):
        JaccardBoundary(tolerance=0)
    metric.update(masks, masks, "clip")
    metric.update(masks, masks, "clip")  # the same again
    assert len(metric.per_object()) == 1
    with pytest.raises(InputError, match="two sequences are called 'clip'"):
        metric.update(masks * 0, masks, "clip")
