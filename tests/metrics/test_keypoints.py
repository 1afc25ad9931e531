"""PCK: closed forms, the official loops, and any split over processes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.metrics import KeypointAccuracy

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


def percentages(metric: KeypointAccuracy) -> list[float]:
    found = metric.compute()
    assert list(found) == ["PCK@0.1", "PCK@0.2", "PCK@0.3", "PCK@0.4", "PCK@0.5"]
    return [float(value) for value in found.values()]


def person(frames: int = 4) -> Tensor:
    """Joints at the corners of a box of 30 x 40, and in it: its diagonal is 50, the person's size 30."""
    joints = torch.tensor([[0.0, 0], [30, 0], [0, 40], [30, 40], [15, 20]], dtype=torch.float64)
    return joints + torch.arange(frames)[:, None, None] * 7


def test_the_truth_is_correct() -> None:
    metric = KeypointAccuracy(5)
    metric.update(person(), person())
    assert percentages(metric) == [100] * 5


@pytest.mark.parametrize(
    ("shift", "correct"), [(3.0, 5), (3.001, 4), (6.0, 4), (6.001, 3), (9.001, 2), (12.001, 1), (15.0, 1), (15.001, 0)]
)
def test_a_joint_is_correct_within_a_share_of_the_size(shift: float, correct: int) -> None:
    metric = KeypointAccuracy(5)
    prediction = person()
    prediction[..., 1] += shift
    metric.update(prediction, person())
    assert percentages(metric) == [0] * (5 - correct) + [100] * correct


def test_what_is_not_seen_counts_nowhere() -> None:
    target, prediction = person(), person()
    target[:, 3:, 1] = float("nan")  # the box is now 30 x 40 by three joints: no smaller
    prediction[:, 3:] += 1000
    metric = KeypointAccuracy(5)
    metric.update(prediction, target)
    assert percentages(metric) == [100] * 5
    target[1:, 2] = float("nan")  # and now 30 x 0: the size is 18
    prediction[:, :2, 0] += 5
    metric.reset()
    metric.update(prediction, target)
    assert percentages(metric) == [0, 0, 100, 100, 100]


def test_the_mean_is_over_joints() -> None:
    target, prediction = person(3), person(3)
    target[2, 0] = float("nan")
    prediction[1, 0] += 100  # of the first joint, all that is seen: 0 of 1; of the second, 1 of 2
    prediction[1, 1] = float("nan")
    metric = KeypointAccuracy(5)
    metric.update(prediction, target)
    assert percentages(metric) == [70] * 5


def test_the_first_frame_counts_if_asked() -> None:
    prediction = person(4)
    prediction[0] += 1000
    for drop_first, expected in ((True, 100), (False, 75)):
        metric = KeypointAccuracy(5, drop_first=drop_first)
        metric.update(prediction, person(4))
        assert percentages(metric) == [expected] * 5


def test_a_single_joint_is_right_or_wrong() -> None:
    target = torch.full((3, 2, 2), float("nan"))
    target[:, 0] = 5
    metric = KeypointAccuracy(2)
    metric.update(torch.tensor([5.0, 5]).expand(3, 2, 2), target)
    assert percentages(metric) == [100] * 5
    metric.update(torch.tensor([5.0, 5.1]).expand(3, 2, 2), target)
    assert percentages(metric) == [50] * 5


def official(videos: list[tuple[np.ndarray, np.ndarray]], joints: int) -> list[float]:
    """Loops over videos, frames and joints, as the evaluation of CRW has them."""
    distances: list[list[float]] = [[] for _ in range(joints)]
    for prediction, target in videos:
        for time in range(1, len(target)):
            seen = [joint for joint in range(joints) if not np.isnan(target[time, joint]).any()]
            low, high = (
                extreme([target[time, joint] for joint in seen] or [[0, 0]], 0) for extreme in (np.min, np.max)
            )
            size = 0.6 * np.linalg.norm(high - low)
            for joint in seen:
                distance = np.linalg.norm(prediction[time, joint] - target[time, joint])
                distances[joint].append(distance / size)
    shares = [[np.mean(np.array(each) <= threshold) for each in distances if each] for threshold in THRESHOLDS]
    return [100 * float(np.mean(share)) for share in shares]


def video(seed: int, joints: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 100, (int(rng.integers(2, 7)), joints, 2))
    prediction = target + rng.normal(0, 12, target.shape)
    hidden = rng.random(target.shape[:2]) < 0.3
    hidden[:, :2] = False  # two joints give the person a size
    target[hidden] = np.nan
    return prediction, target


@settings(max_examples=30)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.integers(2, 15))
def test_as_the_official_loops(seeds: list[int], joints: int) -> None:
    videos = [video(seed, joints) for seed in seeds]
    metric = KeypointAccuracy(joints)
    for prediction, target in videos:
        metric.update(torch.from_numpy(prediction), torch.from_numpy(target))
    assert percentages(metric) == pytest.approx(official(videos, joints), abs=1e-9)


def _rank(rank: int, world: int, parts: list[list[int]]) -> list[float]:
    metric = KeypointAccuracy()
    for seed in parts[rank]:
        metric.update(*map(torch.from_numpy, video(seed, 15)))
    return percentages(metric)


@pytest.mark.parametrize("parts", [[[0, 1, 2], [3]], [[3, 0, 2, 1], []]])
def test_any_split_over_processes_gives_the_same(gloo, parts: list[list[int]]) -> None:  # type: ignore[no-untyped-def]
    expected = official([video(seed, 15) for seed in range(4)], 15)
    for found in gloo(_rank, parts):
        assert found == pytest.approx(expected, abs=1e-9)


def test_unusable_places() -> None:
    metric = KeypointAccuracy(5)
    with pytest.raises(InputError, match=r"expected \(T, num_joints=5, 2\) for both"):
        metric.update(torch.zeros(4, 5, 2), torch.zeros(4, 6, 2))
    with pytest.raises(InputError, match=r"\(3, 5, 2\) and \(4, 5, 2\)"):
        metric.update(torch.zeros(3, 5, 2), torch.zeros(4, 5, 2))
    with pytest.raises(InputError, match=r"the shapes \(5, 2\)"):
        metric.update(torch.zeros(5, 2), torch.zeros(5, 2))
    metric.update(torch.zeros(1, 5, 2), torch.zeros(1, 5, 2))  # a video of one frame, which was given
    with pytest.raises(InputError, match="no joint was seen"):
        metric.compute()
    for options in ({"num_joints": 0}, {"thresholds": ()}, {"thresholds": (-0.1,)}, {"box_scale": 0.0}):
        with pytest.raises(InputError, match="must be positive"):
            KeypointAccuracy(**options)  # type: ignore[arg-type]
