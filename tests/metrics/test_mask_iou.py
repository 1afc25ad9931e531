"""mIoU: closed forms, counting class by class, and any split over processes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_binding import InputError
from lightning_binding.metrics import MaskIoU


def masks(seed: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a target with some void; not all classes are in them."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 8, 3)
    present = rng.integers(0, classes, rng.integers(1, 5))
    prediction, target = (rng.choice(present, shape).astype(np.uint8) for _ in range(2))
    target[rng.random(shape) < 0.1] = 255
    return prediction, target


def slow(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int) -> float:
    """The mean over classes that are in any mask, by sets of pixels."""
    prediction, target = (np.concatenate([mask.ravel() for mask in each]) for each in zip(*pairs, strict=True))
    prediction, target = prediction[target != 255], target[target != 255]
    with np.errstate(invalid="ignore"):
        ious = [
            np.float64(((prediction == index) & (target == index)).sum())
            / ((prediction == index) | (target == index)).sum()
            for index in range(classes)
        ]
    return float(np.nanmean(ious))


def test_equal_masks() -> None:
    target = torch.randint(20, (3, 30, 40))
    metric = MaskIoU()
    metric.update(target, target)
    assert float(metric.compute()) == 1


def test_classes_that_are_nowhere_are_left_out_and_those_in_one_mask_are_not() -> None:
    target = torch.zeros(1, 4, 4, dtype=torch.uint8)
    target[:, :2] = 7
    metric = MaskIoU()
    metric.update(target, target)
    assert float(metric.compute()) == 1
    prediction = target.clone()
    prediction[:, 3] = 9  # background: 4 of 8 pixels, class 7: all, class 9: none
    metric.reset()
    metric.update(prediction, target)
    assert float(metric.compute()) == pytest.approx((0.5 + 1 + 0) / 3)


def test_what_is_predicted_on_void_does_not_count() -> None:
    target = torch.zeros(4, 4, dtype=torch.uint8)
    target[0], target[1] = 1, 255
    prediction = (target == 1).byte()
    prediction[1] = 2
    metric = MaskIoU(3)
    metric.update(prediction, target)
    assert float(metric.compute()) == 1


def test_one_matrix_of_all_videos() -> None:
    """Not a mean of means: a class counts by its pixels, however they are spread over videos."""
    small, large = torch.zeros(1, 1, 2, dtype=torch.uint8), torch.ones(1, 9, 2, dtype=torch.uint8)
    metric = MaskIoU(2)
    metric.update(1 - small, small)
    metric.update(large, large)
    assert float(metric.compute()) == pytest.approx((0 + 18 / 20) / 2)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.integers(2, 20))
def test_as_counting_class_by_class(seeds: list[int], classes: int) -> None:
    pairs = [masks(seed, classes) for seed in seeds]
    pairs.append((np.zeros((1, 2, 2), np.uint8),) * 2)  # a pixel that counts
    metric = MaskIoU(classes)
    for prediction, target in pairs:
        metric.update(torch.from_numpy(prediction), torch.from_numpy(target))
    assert float(metric.compute()) == pytest.approx(slow(pairs, classes), abs=1e-12)


def _rank(rank: int, world: int, parts: list[list[int]]) -> float:
    metric = MaskIoU()
    for seed in parts[rank]:
        metric.update(*map(torch.from_numpy, masks(seed, 20)))
    return float(metric.compute())


@pytest.mark.parametrize("parts", [[[0, 1, 2], [3]], [[3, 0, 2, 1], []]])
def test_any_split_over_processes_gives_the_same(gloo, parts: list[list[int]]) -> None:  # type: ignore[no-untyped-def]
    expected = slow([masks(seed, 20) for seed in range(4)], 20)
    for found in gloo(_rank, parts):
        assert found == pytest.approx(expected, abs=1e-12)


def test_unusable_masks() -> None:
    metric, target = MaskIoU(3), torch.zeros(4, 4, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"\(3, 4\) was predicted for a target \(4, 4\)"):
        metric.update(target[1:], target)
    with pytest.raises(InputError, match=r"the prediction is torch\.float32, expected integers"):
        metric.update(target.float(), target)
    with pytest.raises(InputError, match="the prediction has the values 3 to 3, expected classes below num_classes=3"):
        metric.update(target + 3, target)
    with pytest.raises(InputError, match="the prediction has the values 255 to 255"):
        metric.update(target + 255, target)
    with pytest.raises(InputError, match="the target has the values 0 to 254"):
        metric.update(target, torch.tensor([0, 1, 254, 255], dtype=torch.uint8).expand(4, 4))
    with pytest.raises(InputError, match="num_classes=1 must be 2 or more"):
        MaskIoU(1)
    metric.update(target, target + 255)
    with pytest.raises(InputError, match="no pixel was scored"):
        metric.compute()
