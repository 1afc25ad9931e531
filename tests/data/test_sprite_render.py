"""Rendering sprites: every pixel and every mask, against a second implementation and against identities."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_binding.data.compositing import composite, premultiply
from lightning_binding.data.emoji_archive import load_emoji
from lightning_binding.data.sprite_motion import Motion, Tracks
from lightning_binding.data.sprite_render import BLOCK, Scene, render
from lightning_binding.data.sprite_scene import Stage, draw_scene


def still(*sprites, size, background=(40, 90, 200), frames=1):
    """A scene without motion; each sprite is `(tile, x, y, angle, side)`."""
    tracks = Tracks(*(np.array([[sprite[i]] * frames for sprite in sprites], float) for i in range(1, 5)))
    colour = torch.tensor(background, dtype=torch.float32)[:, None, None].expand(3, *size)
    return Scene(*size, colour, np.zeros((frames, 2)), [sprite[0] for sprite in sprites], tracks)


def emoji(index):
    return premultiply(load_emoji().pixels[index : index + 1], 32)


@pytest.mark.parametrize("index", [0, 1234, 7000])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_on_the_grid_a_sprite_is_composited_pixel_for_pixel(index, turns):
    tile = emoji(index)
    drawn = render(still((tile[0].float(), 21, 18, turns * np.pi / 2, 32), size=(40, 44)))
    turned = torch.rot90(tile, -turns, (2, 3))  # rot90 is anticlockwise
    expected = torch.tensor([40, 90, 200], dtype=torch.uint8)[:, None, None].repeat(1, 40, 44)
    expected[:, 2:34, 5:37] = composite(turned, torch.tensor([[40, 90, 200]], dtype=torch.uint8))[0]
    np.testing.assert_allclose(drawn["video"][0].int(), expected.int(), atol=1 if turns else 0)
    mask = torch.zeros(40, 44, dtype=torch.uint8)
    mask[2:34, 5:37] = turned[0, 3] >= 128
    assert (drawn["mask"][0] != mask).float().mean() <= (0.001 if turns else 0)


def reference(scene, frame):
    """Draw a frame one pixel at a time: colour, id, and how near the deciding alphas are to a half."""
    picture, ids = np.zeros((scene.height, scene.width, 3)), np.zeros((scene.height, scene.width), int)
    margin = np.full((scene.height, scene.width), np.inf)

    def sample(image, x, y):
        left, top = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
        total = np.zeros(len(image))
        for row in (top, top + 1):
            for column in (left, left + 1):
                if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                    weight = (1 - abs(x - 0.5 - column)) * (1 - abs(y - 0.5 - row))
                    total += weight * image[:, row, column]
        return total

    background = scene.background.double().numpy()
    for row in range(scene.height):
        for column in range(scene.width):
            px, py = column + 0.5, row + 0.5
            colour = sample(background, px + scene.camera[frame, 0], py + scene.camera[frame, 1])
            for k, tile in enumerate(scene.tiles):
                dx, dy = px - scene.tracks.x[k, frame], py - scene.tracks.y[k, frame]
                angle, scale = scene.tracks.angle[k, frame], tile.shape[-1] / scene.tracks.side[k, frame]
                across = scale * (np.cos(angle) * dx + np.sin(angle) * dy) + tile.shape[-1] / 2
                down = scale * (-np.sin(angle) * dx + np.cos(angle) * dy) + tile.shape[-1] / 2
                *rgb, alpha = sample(tile.double().numpy(), across, down)
                colour = colour * (1 - alpha / 255) + rgb
                margin[row, column] = min(margin[row, column], abs(alpha - 127.5))
                if alpha >= 127.5:
                    ids[row, column] = k + 1
            picture[row, column] = colour
    return picture.transpose(2, 0, 1), ids, margin


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_against_a_renderer_of_single_pixels(seed):
    motion = Motion((0.3, 0.9), (0.0, 0.2), (0.0, 40.0), (0.0, 0.2))
    stage = Stage(13, 17, (1, 4), motion, camera=0.1)
    scene = draw_scene(np.random.default_rng(seed), load_emoji().pixels, stage, BLOCK + 2)
    clip = render(scene)
    for frame in (0, BLOCK + 1):
        picture, ids, margin = reference(scene, frame)
        assert np.abs(clip["video"][frame].numpy() - picture).max() <= 0.51
        clear = margin > 0.01
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(clip["mask"][frame].numpy()[clear], ids[clear])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_topmost_sprite_owns_a_pixel(seed):
    """The mask of all is made of the masks of each alone, the later over the earlier."""
    stage = Stage(32, 40, (3, 5), Motion(sprite_size=(0.4, 0.9)))
    scene = draw_scene(np.random.default_rng(seed), load_emoji().pixels, stage, 3)
    expected = torch.zeros(3, 32, 40, dtype=torch.uint8)
    for k, tile in enumerate(scene.tiles):
        alone = scene._replace(tiles=[tile], tracks=Tracks(*(values[k : k + 1] for values in scene.tracks)))
        expected[render(alone)["mask"] == 1] = k + 1
    assert torch.equal(render(scene)["mask"], expected)
    assert len(expected.unique()) > 2


def test_an_opaque_sprite_hides_what_is_below():
    red, blue = torch.zeros(4, 8, 8), torch.zeros(4, 8, 8)
    red[[0, 3]], blue[[2, 3]] = 255, 255
    for low, high in ((red, blue), (blue, red)):
        clip = render(still((low, 8, 8, 0, 8), (high, 10, 8, 0, 8), size=(16, 20)))
        assert clip["video"][0, :, 8, 8].tolist() == high[:3, 0, 0].tolist()
        assert clip["video"][0, :, 8, 5].tolist() == low[:3, 0, 0].tolist()
        assert clip["mask"][0].flatten().bincount().tolist() == [320 - 80, 16, 64]


def test_parts_of_a_clip_are_the_clip_in_parts():
    scene = draw_scene(np.random.default_rng(5), load_emoji().pixels, Stage(), 2 * BLOCK + 3)
    whole, part = render(scene), render(scene, 7, 12)
    for key in ("video", "mask"):
        assert torch.equal(whole[key][7:12], part[key])


def test_the_camera_moves_over_the_background():
    background = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0)).mul_(255).round_()
    nothing = Tracks(*(np.zeros((0, 3)),) * 4)
    camera = np.array([[0, 0], [10, 4], [2.5, 8]], float)
    video = render(Scene(12, 20, background, camera, [], nothing))["video"].float()
    assert torch.equal(video[0], background[:, :12, :20])
    assert torch.equal(video[1], background[:, 4:16, 10:30])
    between = (background[:, 8:20, 2:22] + background[:, 8:20, 3:23]) / 2
    assert (video[2] - between).abs().max() <= 0.5


def test_sprites_that_shrink_are_averaged():
    """A fine chequerboard becomes grey, not a coarse one: it is resized before it is sampled."""
    board = torch.zeros(1, 4, 32, 32, dtype=torch.uint8)
    board[:, 3] = 255
    board[:, :3, ::2, ::2] = board[:, :3, 1::2, 1::2] = 255
    stage = Stage(16, 16, (1, 1), Motion((0.5, 0.5), (0, 0), (0, 0), (0, 0)), camera=0.0)
    scene = draw_scene(np.random.default_rng(1), board, stage, 1)
    assert scene.tiles[0].shape == (4, 8, 8)
    assert ((scene.tiles[0][:3] - 127.5).abs() <= 1).all()
