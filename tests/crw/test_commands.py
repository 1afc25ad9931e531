"""`propagate` as a user types it: files and folders, masks and points, checkpoints and backbones, and what is wrong."""

import csv
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from lightning_binding import pretrained
from lightning_binding.cli import main
from lightning_binding.crw import results, walker
from lightning_binding.crw.adaptation import Adaptation
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.official import ARGUMENTS
from lightning_binding.crw.patches import PatchGrid
from lightning_binding.crw.segment import segment
from lightning_binding.errors import InputError
from lightning_binding.export import export
from lightning_binding.images import save_png
from lightning_binding.masks import PALETTE, read_mask, write_mask
from lightning_binding.video import codec, guarded
from lightning_binding.video.folder import frame_files
from lightning_binding.video.reader import probe, read_frames
from lightning_binding.video.writer import write_video

SIDE, LENGTH = 64, 6
MASK = ["--video", "clip.mp4", "--mask", "first.png"]
NETWORK = ["--backbone", "emoji_resnet", "--pretrained", "true", "--layer", "act1", "--stride", "2"]
NETWORK += ["--radius", "6", "--temperature", "0.01"]


def clip() -> tuple[Tensor, Tensor]:
    """A textured square that moves 4 pixels a frame over texture, and its masks: (6, 3, 64, 64), (6, 64, 64)."""
    both = torch.randint(256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    background, texture = both.repeat_interleave(8, 2).repeat_interleave(8, 3)
    video, masks = background.repeat(LENGTH, 1, 1, 1), torch.zeros(LENGTH, SIDE, SIDE, dtype=torch.uint8)
    for time in range(LENGTH):
        place = slice(8 + 4 * time, 32 + 4 * time)
        video[time, :, 20:44, place] = texture[:, 20:44, 8:32]
        masks[time, 20:44, place] = 1
    return video, masks


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with `clip.mp4`, the same as frames in `frames/`, and `first.png`."""
    monkeypatch.chdir(tmp_path)
    video, masks = clip()
    write_video("clip.mp4", video, 12.0)
    for time, frame in enumerate(video):
        save_png(frame, f"frames/frame{time + 8}.png")  # 8, 9, 10: not the order of the alphabet
    write_mask("first.png", masks[0])
    return tmp_path


def overlap(found: Tensor, wanted: Tensor) -> float:
    return float((found & wanted).sum() / (found | wanted).sum())


def masks_in(folder: str) -> Tensor:
    return torch.stack([read_mask(path) for path in frame_files(f"{folder}/masks")])


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line that the command ends with, at status 2."""
    with pytest.raises(SystemExit) as stopped:
        main(["propagate", *args])
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_mask_follows_a_file(here: Path, told: list[str]) -> None:
    folder = main(["propagate", *MASK, *NETWORK])
    assert folder == Path("propagated")
    assert [path.name for path in sorted(Path("propagated/masks").iterdir())] == [f"0000{i}.png" for i in range(6)]
    assert Image.open("propagated/masks/00003.png").mode == "P"
    found, wanted = masks_in("propagated"), clip()[1]
    assert torch.equal(found[0], wanted[0])
    assert overlap(found[1:] == 1, wanted[1:] == 1) > 0.7
    assert overlap((wanted[:1] == 1).expand(5, -1, -1), wanted[1:] == 1) < 0.4  # what standing still gives
    shown = probe("propagated/overlay.mp4")
    assert (shown.height, shown.width, round(shown.fps), shown.frames_estimate) == (SIDE, SIDE, 12, LENGTH)
    assert told[-1].startswith("6 frames, ")
    assert told[-1].endswith("a second: propagated/masks, propagated/overlay.mp4")


def test_the_overlay_shows_the_objects_in_their_colours(here: Path) -> None:
    main(["propagate", "--video", "frames", "--mask", "first.png", *NETWORK, "--opacity", "1"])
    video, found = clip()[0], masks_in("propagated")
    for frame, shown, mask in zip(video, read_frames("propagated/overlay.mp4"), found, strict=True):
        inside = torch.nn.functional.max_pool2d((mask != 1).float()[None], 5, 1, 2)[0] == 0  # away from borders
        colour = torch.tensor(PALETTE[1].astype(int))[:, None]
        assert (shown[:, inside].int() - colour).abs().max() < 30
        outside = torch.nn.functional.max_pool2d((mask == 1).float()[None], 5, 1, 2)[0] == 0
        assert (shown[:, outside].float() - frame[:, outside].float()).abs().mean() < 12


def test_a_folder_keeps_its_names(here: Path) -> None:
    main(["propagate", "--video", "frames", "--mask", "first.png", *NETWORK, "--fps", "8"])
    names = [f"frame{time}.png" for time in (10, 11, 12, 13, 8, 9)]
    assert [path.name for path in sorted(Path("propagated/masks").iterdir())] == names
    assert overlap(masks_in("propagated")[1:] == 1, clip()[1][1:] == 1) > 0.7
    assert round(probe("propagated/overlay.mp4").fps) == 8


def test_several_objects_of_any_id(here: Path) -> None:
    masks = clip()[1]
    first = torch.where(torch.arange(SIDE)[:, None] < 32, masks[0] * 5, masks[0] * 77)
    write_mask("first.png", first)
    main(["propagate", *MASK, *NETWORK])
    found = masks_in("propagated")
    assert set(found.unique().tolist()) == {0, 5, 77}
    upper = torch.where(torch.arange(SIDE)[:, None] < 32, masks, 0)
    assert overlap(found[1:] == 5, upper[1:] == 1) > 0.6


def test_a_palette_that_was_read_as_colours_and_black_and_white_are_masks_too(here: Path) -> None:
    main(["propagate", *MASK, *NETWORK, "--out", "a"])
    Image.open("first.png").convert("RGB").save("colours.png")
    main(["propagate", "--video", "clip.mp4", "--mask", "colours.png", *NETWORK, "--out", "b"])
    Image.fromarray(clip()[1][0].numpy() * 255).save("white.png")
    main(["propagate", "--video", "clip.mp4", "--mask", "white.png", *NETWORK, "--out", "c"])
    assert torch.equal(masks_in("a"), masks_in("b"))
    assert torch.equal(masks_in("a"), masks_in("c"))


@pytest.mark.parametrize(("video", "names"), [("clip.mp4", ["00000", "00003"]), ("frames", ["frame8", "frame11"])])
def test_an_object_appears_late(here: Path, video: str, names: list[str]) -> None:
    masks = clip()[1]
    late = torch.where(masks[3] == 1, 4, 0).to(torch.uint8)  # the square, of which the first mask says nothing
    other = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    other[48:60, 40:60] = 2
    write_mask(f"known/{names[0]}.png", other)
    write_mask(f"known/{names[1]}.png", late)
    settings = ["--context", "1", "--top_k", "1"]
    main(["propagate", "--video", video, "--mask", "known", *NETWORK, *settings])
    found = masks_in("propagated")
    assert [set(mask.unique().tolist()) for mask in found[:4]] == [{0, 2}] * 3 + [{0, 2, 4}]
    assert torch.equal(found[3] == 4, masks[3] == 1)
    assert overlap(found[1] == 2, other == 2) > 0.8
    main(["propagate", "--video", video, "--mask", "known", *NETWORK, "--max_frames", "3", "--out", "short"])
    assert len(masks_in("short")) == 3


def test_points(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("points.csv").write_text("name,y,x\nnose,30,16\nhand,32,24\ngone,,\n")
    Path("points.json").write_text(json.dumps([[16, 30], [24, 32], [None, None]]))
    given = {"inline": "16,30; 24,32;nan,nan", "csv": "points.csv", "json": "points.json"}
    for name, points in given.items():
        main(["propagate", "--video", "clip.mp4", "--points", points, *NETWORK, "--out", name])
    tables = [Path(name, "points.csv").read_text() for name in given]
    assert tables[0] == tables[1] == tables[2]
    rows = list(csv.DictReader(tables[0].splitlines()))
    assert [row["frame"] for row in rows[::3]] == [f"0000{time}" for time in range(LENGTH)]
    assert [row["point"] for row in rows[:3]] == ["0", "1", "2"]
    assert (rows[0]["x"], rows[0]["y"]) == ("16.00", "30.00")
    assert {row["x"] for row in rows[2::3]} == {""}
    for time in range(LENGTH):
        x, y = float(rows[3 * time + 1]["x"]), float(rows[3 * time + 1]["y"])
        assert abs(x - 24 - 4 * time) < 4
        assert abs(y - 32) < 4
    assert probe("inline/overlay.mp4").frames_estimate == LENGTH
    assert not Path("inline/masks").exists()


def test_a_video_of_one_frame(here: Path) -> None:
    write_video("one.mp4", clip()[0][:1], 12.0)
    main(["propagate", "--video", "one.mp4", "--mask", "first.png", *NETWORK])
    assert torch.equal(masks_in("propagated"), clip()[1][:1])
    assert probe("propagated/overlay.mp4").frames_estimate == 1


def test_frames_are_taken_at_a_rate_and_up_to_a_number(here: Path) -> None:
    plain = ["propagate", *MASK, *NETWORK, "--overlay", "false"]
    main([*plain, "--fps", "6", "--out", "slow"])
    main([*plain, "--max_frames", "2", "--out", "short"])
    main([*plain, "--batch_size", "4", "--out", "batch"])
    main([*plain, "--out", "all"])
    assert len(masks_in("slow")) == 3
    assert torch.equal(masks_in("short"), masks_in("all")[:2])
    assert torch.equal(masks_in("batch"), masks_in("all"))
    assert [path.name for path in Path("all").iterdir()] == ["masks"]


def trained(path: Path, **options: object) -> ContrastiveRandomWalk:
    """A module whose settings are not the defaults, and its checkpoint."""
    module = ContrastiveRandomWalk(
        "emoji_resnet",
        stride=4,
        pretrained=True,
        eval_layer="layer1",
        propagation="dino",
        propagation_options={"radius": 4, "short_side": 80, "other_side_multiple": 16},
        **options,  # type: ignore[arg-type]
    )
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return module


def test_a_checkpoint_brings_its_layer_and_settings(here: Path) -> None:
    module = trained(here / "walk.ckpt")
    export("walk.ckpt", "walk.safetensors")
    video = list(read_frames("clip.mp4"))
    expected = torch.stack(list(segment(video, read_mask("first.png"), module.encode, module.propagation)))
    for file in ("walk.ckpt", "walk.safetensors"):
        main(["propagate", *MASK, "--ckpt_path", file, "--out", file[5:]])
        assert torch.equal(masks_in(file[5:]), expected)
    main(["propagate", *MASK, "--ckpt_path", "walk.ckpt", "--layer", "act1"])
    assert not torch.equal(masks_in("propagated"), expected)


def test_a_checkpoint_brings_its_adaptation(here: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setattr("lightning_binding.crw.module.PatchGrid", lambda: PatchGrid(16, 16, 48))  # small nodes
    adaptation = Adaptation(steps=1, every=2, window=2, clip_length=3, learning_rate=1e-2)
    module = trained(here / "walk.ckpt", adaptation=adaptation)
    batch = {"video": torch.stack(list(read_frames("clip.mp4"))), "mask": read_mask("first.png")[None]}
    expected = module.predict_step(batch, 0)["mask"]
    main(["propagate", *MASK, "--ckpt_path", "walk.ckpt"])
    assert torch.equal(masks_in("propagated"), expected)
    reported = re.search(r"^6 frames, [\d.]+ a second, adaptation ([\d.]+) s of each: propagated/masks", told[-1])
    assert reported is not None
    assert 0 < float(reported[1]) < 10
    module.adaptation = None
    assert not torch.equal(module.predict_step(batch, 0)["mask"], expected)


def test_the_network_of_the_package_is_the_default(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(here / "walk.ckpt")
    export("walk.ckpt", "crw_tiny.safetensors")
    main(["propagate", *MASK, "--ckpt_path", "walk.ckpt", "--out", "named"])
    for module in (walker, pretrained):
        monkeypatch.setattr(module, "shipped", lambda: {"crw_tiny": here / "crw_tiny.safetensors", "rin_x": here})
    main(["propagate", *MASK])
    assert torch.equal(masks_in("propagated"), masks_in("named"))
    monkeypatch.setattr(walker, "shipped", lambda: {"rin_x": here})
    assert "no network is given: add --ckpt_path" in refused(capsys, *MASK)


def test_the_original_checkpoint(here: Path) -> None:
    module = ContrastiveRandomWalk(**ARGUMENTS)
    state = {
        name.replace("backbone.network.", "module.encoder.model.").replace("head.", "module.selfsim_fc."): value
        for name, value in module.state_dict().items()
    }
    torch.save({"model": state, "epoch": 24}, "pretrained.pth")
    main(["propagate", *MASK, "--ckpt_path", "pretrained.pth"])
    expected = segment(read_frames("clip.mp4"), read_mask("first.png"), module.encode, module.propagation)
    assert torch.equal(masks_in("propagated"), torch.stack(list(expected)))


def test_backbones(here: Path) -> None:
    with pytest.warns(UserWarning, match="The backbone emoji_resnet is untrained; add --pretrained true"):
        assert walker.walker(backbone="emoji_resnet").backbone.stride == 8
    assert walker.walker(backbone="emoji_resnet", layer="act1", pretrained=True).backbone.stride == 2  # its own is less
    with pytest.warns(UserWarning, match="untrained"):
        vit = walker.walker(backbone="vit_tiny_patch16_224", layer=-2)
    assert (vit.backbone.stride, vit.backbone.multiple, vit.backbone.layer) == (16, 16, "blocks.10")


def test_without_internet_weights_are_asked_for(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here / "cache"))
    line = refused(capsys, *MASK, "--backbone", "vit_small_patch16_224.dino", "--pretrained", "true")
    assert line.startswith("lightning-binding: error: the weights of timm's vit_small_patch16_224.dino are not in the ")
    assert line.endswith(
        "without internet, give a file that has them, by --weights in propagate and by --model.weights in a recipe."
    )


def test_layers_may_be_numbers(here: Path) -> None:
    plain = ["propagate", *MASK, "--backbone", "emoji_resnet", "--pretrained", "true", "--stride", "4"]
    for layer in ("1", "-4", "layer1"):
        main([*plain, "--layer", layer, "--out", layer.lstrip("-")])
    assert torch.equal(masks_in("1"), masks_in("layer1"))
    assert torch.equal(masks_in("4"), masks_in("layer1"))


def test_masks_of_an_earlier_run_are_pointed_out(here: Path) -> None:
    main(["propagate", *MASK, *NETWORK, "--overlay", "false"])
    with pytest.warns(UserWarning, match=r"propagated/masks still holds 4 masks of before, such as 00002\.png"):
        main(["propagate", *MASK, *NETWORK, "--overlay", "false", "--max_frames", "2"])


def test_without_pyav_the_overlay_is_a_gif(here: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    main(["propagate", "--video", "frames", "--mask", "first.png", *NETWORK])
    assert Image.open("propagated/overlay.gif").n_frames == LENGTH
    assert "The overlay becomes a GIF. Video files need PyAV" in told[0]
    assert told[-1].endswith("propagated/overlay.gif")


def test_what_was_written_before_an_error_stays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("frames/frame11.png").write_bytes(b"damaged")
    line = refused(capsys, "--video", "frames", "--mask", "first.png", *NETWORK)
    assert "frames/frame11.png cannot be read as a picture" in line
    assert {path.name for path in Path("propagated/masks").iterdir()} == {f"frame{time}.png" for time in (8, 9, 10)}
    assert probe("propagated/overlay.mp4").frames_estimate == 3
    line = refused(capsys, "--video", "frames", "--points", "16,30", *NETWORK, "--out", "points")
    assert len(Path("points/points.csv").read_text().splitlines()) == 4


def test_a_file_that_ends_the_decoder_ends_in_a_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = """
import os, signal
import lightning_binding.video.folder as folder
whole = folder._read
def read(path, size):
    if path.endswith("frame11.png"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return whole(path, size)
folder._read = read
main()"""
    monkeypatch.setattr(guarded, "PROGRAM", guarded.PROGRAM.replace("\nmain()", crash))
    line = refused(capsys, "--video", "frames", "--mask", "first.png", *NETWORK)
    assert line == "lightning-binding: error: frames ended the decoder process: SIGSEGV."
    assert len(list(Path("propagated/masks").iterdir())) == 3
    assert probe("propagated/overlay.mp4").frames_estimate == 3


def test_a_file_that_hangs_ends_in_a_sentence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe.mp4")  # nobody writes to it
    line = refused(capsys, "--video", "pipe.mp4", "--mask", "first.png", *NETWORK, "--decode_timeout", "1")
    assert "pipe.mp4 gave no frame within 1 s" in line


def test_a_backend_is_chosen_by_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = [*MASK, *NETWORK, "--overlay", "false", "--backend", "torchcodec", "--out", "other"]
    try:
        codec.import_decoder()
    except InputError:
        assert "The backend torchcodec cannot be loaded: pip install" in refused(capsys, *chosen)
        return
    main(["propagate", *chosen])
    main(["propagate", *MASK, *NETWORK, "--overlay", "false"])
    assert overlap(masks_in("other") == 1, masks_in("propagated") == 1) > 0.98


def test_an_interruption_leaves_a_whole_video(tmp_path: Path) -> None:
    video, masks = clip()

    def interrupted() -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(video[:4], masks, strict=False)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.show(tmp_path, interrupted(), 12.0, 0.5)
    assert len(list(read_frames(tmp_path / "overlay.mp4"))) == 4


@pytest.mark.parametrize(
    ("side", "options", "size"),
    [
        (540, [], (480, 640)),
        (540, ["--short_side", "120"], (120, 160)),
        (540, ["--preset", "dino"], (480, 640)),
        (540, ["--preset", "crw_jhmdb"], (320, 320)),
        (540, ["--preset", "crw_jhmdb", "--short_side", "90"], (90, 120)),
        (90, [], (90, 120)),
    ],
)
def test_frames_are_encoded_at_the_size_of_the_settings(
    side: int, options: list[str], size: tuple[int, int], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: set[tuple[int, ...]] = set()

    class Network(ContrastiveRandomWalk):
        def encode(self, frames: Tensor) -> Tensor:
            sizes.add(tuple(frames.shape[2:]))
            return torch.ones(1, 1, 4, 4)

    monkeypatch.setattr("lightning_binding.crw.commands.walker", lambda *_: Network("emoji_resnet", stride=8))
    video = torch.zeros(2, 3, side, side * 4 // 3, dtype=torch.uint8)
    write_video("black.mp4", video, 5.0)
    write_mask("all.png", torch.ones_like(video[0, 0]))
    main(["propagate", "--video", "black.mp4", "--mask", "all.png", *options])
    assert sizes == {size}
    assert torch.equal(masks_in("propagated"), torch.ones_like(video[:, 0]))  # masks are at the size of the video


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--video", "clip.mp4"], "give either --mask or --points of the first frame"),
        ([*MASK, "--points", "1,2"], "give either --mask or --points"),
        (["--video", "none.mp4", "--mask", "first.png"], "no video none.mp4"),
        (["--video", "first.txt", "--mask", "first.png"], "first.txt cannot be read as a video"),
        (["--video", "clip.mp4", "--mask", "none.png"], "there is no mask none.png; expected an indexed PNG"),
        (["--video", "clip.mp4", "--mask", "small.png"], "has 32 x 32 pixels, the frames have 64 x 64: give the mask"),
        (["--video", "clip.mp4", "--mask", "empty.png"], "the first mask holds no object"),
        (["--video", "clip.mp4", "--mask", "photo.png"], "which is not in the palette of DAVIS"),
        (["--video", "clip.mp4", "--mask", "bare"], "the folder bare has no mask"),
        (
            ["--video", "clip.mp4", "--mask", "named"],
            "named/frame8.png belongs to no frame; expected names such as 00000",
        ),
        (
            ["--video", "frames", "--mask", "numbered"],
            "00000.png belongs to no frame; expected names such as frame8.png",
        ),
        (
            ["--video", "clip.mp4", "--mask", "beyond"],
            "there is a mask for frame 9, and the last frame of the video is 5",
        ),
        (["--video", "clip.mp4", "--points", "1,2,3"], "['1', '2', '3'] is no point; expected two numbers"),
        (["--video", "clip.mp4", "--points", "none.csv"], "no such file; expected a CSV or JSON file, or points"),
        (["--video", "clip.mp4", "--points", ";"], "there is no point"),
        (["--video", "clip.mp4", "--points", "3,64"], "(3, 64) lies outside of the frames, which are 64 x 64 pixels"),
        (["--video", "clip.mp4", "--points", "wrong.json"], "wrong.json is no JSON"),
        (["--video", "clip.mp4", "--points", "object.json"], "object.json holds no list; expected [[x, y], [x, y]]"),
        ([*MASK, "--ckpt_path", "none.ckpt"], "there is no file none.ckpt"),
        ([*MASK, "--ckpt_path", "none.ckpt", *NETWORK], "give --backbone emoji_resnet or --ckpt_path none.ckpt, not"),
        ([*MASK, "--stride", "4"], "--stride belongs to --backbone, which is missing"),
        ([*MASK, "--backbone", "emoji_resnot"], "timm has no model 'emoji_resnot'; did you mean emoji_resnet"),
        ([*MASK, *NETWORK, "--preset", "crv"], "unknown preset 'crv'; did you mean crw"),
        ([*MASK, *NETWORK, "--layer", "layer9"], "no layer 'layer9'"),
        ([*MASK, *NETWORK, "--top_k", "0"], "top_k=0 must be 1 or more"),
        ([*MASK, *NETWORK, "--opacity", "2"], "--opacity 2.0 must be in [0, 1]"),
        ([*MASK, *NETWORK, "--fps", "0"], "--fps 0.0 must be positive"),
        ([*MASK, *NETWORK, "--max_frames", "0"], "--max_frames 0 must be positive"),
        ([*MASK, *NETWORK, "--backend", "pyaw"], "There is no backend 'pyaw' for video; did you mean pyav"),
        ([*MASK, *NETWORK, "--decode_timeout", "0"], "decode_timeout is 0.0; it must be a positive number of seconds"),
        ([*MASK, *NETWORK, "--short_side", "0"], "--short_side 0 must be 1 or more"),
        ([*MASK, *NETWORK, "--batch_size", "0"], "batch=0 must be 1 or more"),
        ([*MASK, *NETWORK, "--device", "tpus"], "--device tpus cannot be used"),
        ([*MASK, "--ckpt_path", "rin.safetensors"], "holds a RINDiffusion, expected a ContrastiveRandomWalk"),
    ],
)
def test_bad_input_is_explained_in_a_line(
    args: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, masks = clip()
    write_mask("small.png", masks[0, 12:44, :32])
    write_mask("empty.png", masks[0] * 0)
    save_png(video[0], "photo.png")
    for name in ("first.txt", "bare/notes.txt", "wrong.json"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("no video, no mask, no JSON")
    Path("object.json").write_text('{"x": 1}')
    write_mask("named/frame8.png", masks[0])
    write_mask("numbered/00000.png", masks[0])
    write_mask("beyond/00000.png", masks[0])
    write_mask("beyond/00009.png", masks[0] * 2)
    Path("rin.safetensors").write_bytes(pretrained.shipped()["rin_emoji32"].read_bytes())
    network = [] if any(option in args for option in ("--backbone", "--ckpt_path", "--stride")) else NETWORK
    line = refused(capsys, *args, *network)
    assert line.startswith("lightning-binding: error: ")
    assert message in line
    if "beyond" not in args:  # there, the frames that the video has were worth writing
        assert not Path("propagated").exists()


def test_dots() -> None:
    mask = results.dots(torch.tensor([[10.0, 20.0], [float("nan"), 3.0], [40.0, 5.0]]), (30, 50))
    assert mask[20, 10] == 1
    assert mask[5, 40] == 3
    assert set(np.unique(mask)) == {0, 1, 3}
    assert int((mask == 1).sum()) == 9  # a disk of radius 1.5
