"""Pictures of walks: who starts, and where the colour goes."""

import torch

from lightning_binding.callbacks.walk_picture import HEAT, draw_walks, starts


def test_objects_come_first_and_nobody_twice() -> None:
    mask = torch.zeros(40, 40, dtype=torch.uint8)
    mask[8:16, 24:32] = 3
    mask[32:40, 0:8] = 1
    mask[0, 0] = 255
    assert starts(mask, 25, 4)[:2] == [20, 8]  # ids in order: 1 in the last row, 3 in the second
    chosen = starts(mask, 25, 9)
    assert len(set(chosen)) == len(chosen) <= 9
    assert starts(None, 4, 9) == [1, 2, 3, 0] or set(starts(None, 4, 9)) == {0, 1, 2, 3}


def test_colour_lies_where_the_walker_is() -> None:
    video = torch.full((3, 3, 16, 16), 100, dtype=torch.uint8)
    places = torch.zeros(3, 4, 4)
    places[0] = torch.eye(4)
    places[1:, 0, 3] = 1  # a walker of the first node stands on the last in both later frames
    picture = draw_walks(video, places, [0])
    frames = [picture[:, 2:18, 2 + 18 * time : 18 + 18 * time] for time in range(3)]
    assert frames[0][:, 0, 0].tolist() == list(HEAT)  # the frame of the start
    assert frames[0][:, 12, 12].tolist() == [100, 100, 100]
    for frame in frames[1:]:
        expected = [round(100 * 0.3 + value * 0.7) for value in HEAT]
        assert frame[:, 15, 15].tolist() == expected
        assert frame[:, 0, 0].tolist() == [100, 100, 100]
