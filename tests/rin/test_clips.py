"""`sample` for videos: the user's own clip as context, MP4 and GIF."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_binding import InputError
from lightning_binding.cli import main
from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.export import save
from lightning_binding.pretrained import load_pretrained
from lightning_binding.rin.clips import read_context
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.video import RINVideoDiffusion
from lightning_binding.video import guarded
from lightning_binding.video.reader import read_frames
from lightning_binding.video.writer import write_video

SIZES = {
    "image_size": 8, "interface_dim": 16, "latents": 6, "latent_dim": 16, "blocks": [1], "latent_heads": 2,
    "cross_heads": 2,
}  # fmt: skip


def saved(path: Path, frames: int = 5, context_frames: int = 2) -> Path:
    torch.manual_seed(0)
    options = SIZES | {"frames": frames, "context_frames": context_frames}
    save(RINVideoDiffusion("rin_sprites", network_options=options, sampling=Sampling(steps=2)), path)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder of six frames, whose grey is their number."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in range(6):
        Image.new("RGB", (24, 16), (20 * index,) * 3).save(folder / f"{index}.png")
    return folder


def test_the_context_is_the_end_of_the_clip(clip: Path) -> None:
    context = read_context(str(clip), 2, 8, None)
    assert context.shape == (2, 3, 8, 8)
    assert context.flatten(1).float().mean(1).tolist() == [80, 100]
    with pytest.raises(InputError, match=r"has 6 frame\(s\); the model predicts from 7"):
        read_context(str(clip), 7, 8, None)


def test_the_middle_of_the_frames_is_taken(tmp_path: Path) -> None:
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 4:12] = 200
    Image.fromarray(picture).save(tmp_path / "0.png")
    assert read_context(str(tmp_path), 1, 8, None).unique().tolist() == [200]


def test_a_context_that_is_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    broken, model = tmp_path / "broken.mp4", saved(tmp_path / "model.safetensors")
    broken.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(SystemExit):
        main(["sample", "--ckpt_path", str(model), "--context", str(broken), "--out", str(tmp_path / "out")])
    text = capfd.readouterr().err.strip()
    assert f"error: {broken} cannot be read as a video: it is damaged, or no video (Invalid data found when" in text
    assert len(text.splitlines()) == 1
    assert "1094995529" not in text


@pytest.mark.parametrize(
    ("deed", "sentence"),
    [
        ("os.kill(os.getpid(), 11)", "ended the decoder process: SIGSEGV"),
        ("time.sleep(1000)", "gave no frame within 2 s"),
    ],
)
def test_a_context_that_takes_its_decoder_with_it(
    deed: str, sentence: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs a process of its own, and ends in a sentence."""
    evil = "import os, time\nimport lightning_binding.video.folder as folder\nwhole = folder._read\n"
    evil += f"def read(path, size):\n    if path.endswith('3.png'): {deed}\n    return whole(path, size)\n"
    program = guarded.PROGRAM.replace("\nmain()", f"\n{evil}folder._read = read\nmain()")
    monkeypatch.setattr(guarded, "PROGRAM", program)
    with pytest.raises(InputError, match=sentence):
        read_context(str(clip), 2, 8, None, timeout=2)


def test_a_clip_is_continued(tmp_path: Path, clip: Path) -> None:
    pytest.importorskip("av")
    model = saved(tmp_path / "model.safetensors")
    options = [
        "sample",
        "--ckpt_path",
        str(model),
        "--context",
        str(clip),
        "--num",
        "2",
        "--frames",
        "7",
        "--fps",
        "24",
    ]
    path = main([*options, "--out", str(tmp_path / "out")])
    assert path == tmp_path / "out" / "grid.mp4"
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"grid.mp4", "grid.gif", "strip.png", "video-00000.mp4", "video-00001.mp4"}
    assert len(list(read_frames(tmp_path / "out" / "video-00000.mp4"))) == 2 + 7
    strip = np.asarray(Image.open(path.parent / "strip.png"))
    assert strip.shape == (4 * (2 * 10 + 2), 4 * (9 * 10 + 2), 3)
    tile = strip[8 : 8 + 32, 8 : 8 + 32]  # the first frame of the context
    assert np.unique(tile).tolist() == [80]
    assert not np.array_equal(strip[8:40, 88:120], strip[48:80, 88:120])  # another noise for each

    main([*options, "--out", str(tmp_path / "carried"), "--carry_latents", "true"])
    carried = np.asarray(Image.open(tmp_path / "carried" / "strip.png"))
    assert carried.shape == strip.shape


def test_clips_from_noise(tmp_path: Path) -> None:
    pytest.importorskip("av")
    model = saved(tmp_path / "model.safetensors", 4, 0)
    main(["sample", "--ckpt_path", str(model), "--num", "3", "--out", str(tmp_path / "out")])
    with Image.open(tmp_path / "out" / "grid.gif") as animation:
        assert animation.n_frames == 4  # type: ignore[attr-defined]


def test_without_pyav_videos_are_gifs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(tmp_path / "model.safetensors", 4, 0)
    monkeypatch.setitem(sys.modules, "av", None)
    main(["sample", "--ckpt_path", str(model), "--num", "2", "--out", str(tmp_path / "out")])
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written >= {"grid.gif", "strip.png", "video-00000.gif", "video-00001.gif"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "predicts what follows 2 frames: give --context"),
        (["--context", "nowhere.mp4"], "nowhere.mp4"),
        (["--frames", "0"], "--frames 0 1 or more"),
        (["--fps", "0"], "--fps 0 must be positive"),
    ],
)
def test_bad_input(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(tmp_path / "model.safetensors")
    with pytest.raises(SystemExit):
        main(["sample", "--ckpt_path", str(model), *options, "--out", str(tmp_path / "out")])
    assert message in capsys.readouterr().err


def test_options_of_the_other_kind_of_model(tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(tmp_path / "model.safetensors", 4, 0)
    for given, message in (
        (["--ckpt_path", str(model), "--context", str(clip)], "draws clips from noise alone"),
        (["--frames", "3"], "this one draws pictures"),
    ):
        with pytest.raises(SystemExit):
            main(["sample", *given, "--num", "1", "--out", str(tmp_path / "out")])
        assert message in capsys.readouterr().err


def test_the_model_that_ships_predicts_motion() -> None:
    """Held-out sprites are nearer to what the shipped model predicts than to the last given frame, by 1 dB and more."""
    module = load_pretrained("rin_sprites")
    data = MovingSpritesDataModule(
        frame_size=32, frames=16, eval_sequences=8, eval_frames=16, sprites=[1, 2], sprite_size=[0.3, 0.5],
        speed=[0.02, 0.06], spin=[0.0, 3.0], zoom=[0.0, 0.01], background="plain", skin_tones=False,
    )  # fmt: skip
    clips = torch.stack([sequence["video"] for sequence in data.val_dataloader()])
    predicted = module.predict_video(clips[:, :2], steps=10)

    def decibels(video: torch.Tensor) -> float:
        error = (video.float() - clips[:, 2:].float()).square().flatten(1).mean(1)
        return float((10 * torch.log10(255**2 / error)).mean())

    assert decibels(predicted) > decibels(clips[:, 1:2].expand_as(predicted)) + 1


def test_the_shipped_model_goes_on_from_a_clip(tmp_path: Path, clip: Path) -> None:
    main(["sample", "--context", str(clip), "--num", "1", "--steps", "2", "--out", str(tmp_path / "out")])
    assert list((tmp_path / "out").glob("*.gif"))


def test_a_file_without_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    from small_videos import encode_audio

    encode_audio(tmp_path / "audio.mp4")
    model = saved(tmp_path / "model.safetensors")
    with pytest.raises(SystemExit):
        main(["sample", "--ckpt_path", str(model), "--context", str(tmp_path / "audio.mp4"), "--out", str(tmp_path)])
    assert "audio.mp4" in capsys.readouterr().err


def test_a_video_file_as_context(tmp_path: Path) -> None:
    pytest.importorskip("av")
    frames = [torch.full((3, 16, 16), 40 * index, dtype=torch.uint8) for index in range(4)]
    path = write_video(tmp_path / "clip.mp4", frames, 8)
    context = read_context(str(path), 2, 8, 8.0)
    assert (context.flatten(1).float().mean(1) - torch.tensor([80.0, 120.0])).abs().max() < 4
