"""JHMDB: which clips are of the test set, where their joints are, and what is wrong with a copy in words."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from layouts import joints, moving_squares, write_jhmdb
from scipy.io import savemat

from lightning_binding.data import JHMDBDataModule
from lightning_binding.errors import InputError


def clips(root: Path) -> list[dict[str, object]]:
    data = JHMDBDataModule(str(root), num_workers=0)
    data.setup("validate")
    return list(data.val_dataloader())


def mat(root: Path) -> Path:
    return root / "joint_positions" / "catch" / "A_clip_of_0" / "joint_positions.mat"


def folder(root: Path) -> Path:
    return root / "Rename_Images" / "catch" / "A_clip_of_0"


def test_clips_of_the_test_set(tmp_path: Path) -> None:
    found = clips(write_jhmdb(tmp_path))
    assert [clip["name"] for clip in found] == ["catch/A_clip_of_0", "walk/A_clip_of_1"]
    for seed, clip in enumerate(found):
        assert torch.equal(clip["video"], moving_squares(1, 5, seed=seed)[0])  # PNG loses nothing
        assert clip["frame_names"] == ["00001", "00002", "00003", "00004", "00005"]
        points = clip["points"]
        assert points.dtype == torch.float32
        assert points[0, 3].tolist() == [24, 10]  # counted from 0
        assert points[4, 3].tolist() == [32, 10]
    assert len(JHMDBDataModule.joints) == 15


def test_joints_outside_the_frame_are_not_seen(tmp_path: Path) -> None:
    root = write_jhmdb(tmp_path)
    places = joints(5)
    places[:, 0] = 1, 0.5, 64, 64.5, 30  # x from 1 to 64 is in the frame
    places[1, 0] = 48, 20, 48, 20, 48.5  # y from 1 to 48
    savemat(mat(root), {"pos_img": places})
    points = clips(root)[0]["points"]
    assert points[:, 0].isnan().any(-1).tolist() == [False, True, False, True, True]
    assert points[2, 0].tolist() == [63, 47]
    assert points[points[:, 0].isnan().any(-1), 0].isnan().all()


def test_frames_after_the_last_joints_have_none(tmp_path: Path) -> None:
    root = write_jhmdb(tmp_path)
    savemat(mat(root), {"pos_img": joints(3)})
    points = clips(root)[0]["points"]
    assert points.shape == (5, 15, 2)
    assert points.isnan().all(-1).all(-1).tolist() == [False, False, False, True, True]


def test_videos_where_there_are_no_frames(tmp_path: Path) -> None:
    root = write_jhmdb(tmp_path)
    shutil.rmtree(folder(root))
    path = root / "ReCompress_Videos" / "catch" / "A_clip_of_0.avi"
    path.parent.mkdir(parents=True)
    shades = torch.arange(5) * 50
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in shades.tolist():
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = clips(root)[0]
    assert clip["frame_names"] == ["00001", "00002", "00003", "00004", "00005"]
    assert clip["video"].shape == (5, 3, 48, 64)
    assert (clip["video"].float().mean((1, 2, 3)) - shades).abs().max() < 10


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: shutil.rmtree(root / "splits"),
            "no list .*<class>_test_split1.txt; is .* folder of JHMDB",
        ),
        (
            lambda root: shutil.rmtree(folder(root)),
            "A_clip_of_0 is missing: there is neither .*Rename_Images",
        ),
        (lambda root: mat(root).unlink(), "clip catch/A_clip_of_0 has no joints: there is no file"),
        (
            lambda root: (root / "splits" / "walk_test_split1.txt").write_text("a.avi 2\nb.avi"),
            r"walk_test_split1.txt, line 2: expected `<clip>.avi` and 1 or 2, got 'b.avi'",
        ),
        (lambda root: mat(root).write_bytes(b"nothing"), "joint_positions.mat cannot be read as a file of MATLAB"),
        (lambda root: savemat(mat(root), {"pos": 1}), "has no pos_img; expected the array pos_img"),
        (lambda root: savemat(mat(root), {"pos_img": np.ones((15, 5))}), r"has a pos_img of shape \(15, 5\)"),
        (lambda root: savemat(mat(root), {"pos_img": joints(6)}), "has joints of 6 frames, .* has 5"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, spoil: object, message: str) -> None:
    root = write_jhmdb(tmp_path)
    spoil(root)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        clips(root)


def test_there_are_three_splits() -> None:
    with pytest.raises(InputError, match="split is 4; JHMDB has the splits 1, 2 and 3"):
        JHMDBDataModule("jhmdb", split=4)
