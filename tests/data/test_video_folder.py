"""Videos in folders: layouts, clips, broken files, and the same batches whatever reads them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from data.diary import Diary
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from small_videos import encode, encode_audio, value

from lightning_binding import InputError
from lightning_binding.data import VideoFolderDataModule
from lightning_binding.data.broken import TooManyBroken
from lightning_binding.video import codec, guarded

CLASSES = ["dancing", "juggling", "sailing"]
FRAMES = 20


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of brightness that tells the frame, as files of each kind."""
    folder = tmp_path_factory.mktemp("videos")
    for ending in (".mp4", ".mkv", ".webm", ".avi", ".mov"):
        encode(folder / f"video{ending}", range(FRAMES))
    return folder


def kinetics(root: Path, videos: Path, per_class: int = 3) -> Path:
    """Three classes of files of all kinds."""
    endings = sorted(path.suffix for path in videos.iterdir())
    for number, name in enumerate(CLASSES):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for index in range(per_class):
            ending = endings[(number * per_class + index) % len(endings)]
            shutil.copy(videos / f"video{ending}", folder / f"{index}{ending}")
    return root


def frame_folder(path: Path, count: int = FRAMES) -> Path:
    path.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (48, 32), (10 * index,) * 3).save(path / f"{index}.png")
    return path


def module(root: Path, **options: Any) -> VideoFolderDataModule:
    small = {"frame_size": 16, "short_side": 32, "num_workers": 0, "batch_size": 2, "frames": 3, "clips_per_video": 1}
    return VideoFolderDataModule(str(root), **{**small, **options})


def read(data: VideoFolderDataModule, epoch: int = 0) -> list[tuple[list[int], int]]:
    """The frames and the label of each clip of an epoch, in the order of the data."""
    clips = data.train_set()
    items = [clips[index, epoch] for index in range(len(clips))]
    return [([value(frame) for frame in item["video"]], int(item.get("label", -1))) for item in items]


def test_kinetics_s_layout(tmp_path: Path, videos: Path) -> None:
    data = module(kinetics(tmp_path, videos), fps=10)
    data.setup("fit")
    assert (data.class_names, data.num_classes) == (CLASSES, 3)
    found = read(data)
    assert [label for _, label in found] == [0] * 3 + [1] * 3 + [2] * 3
    for frames, _ in found:
        assert frames == [frames[0], frames[0] + 1, frames[0] + 2]
        assert 0 <= frames[0] <= FRAMES - 3
    assert len({frames[0] for frames, _ in found}) > 3
    batch = next(iter(data.train_dataloader()))
    assert batch["video"].shape == (2, 3, 3, 16, 16)
    assert batch["video"].dtype == torch.uint8
    assert batch["label"].shape == (2,)
    data.teardown("fit")


def test_each_video_stands_in_an_epoch_several_times(tmp_path: Path, videos: Path) -> None:
    data = module(kinetics(tmp_path, videos, 1), clips_per_video=5, fps=10)
    found = read(data)
    assert [label for _, label in found] == [0] * 5 + [1] * 5 + [2] * 5
    assert all(len({frames[0] for frames, label in found if label == each}) > 1 for each in range(3))
    assert read(data) == found
    assert read(data, epoch=1) != found
    assert read(module(tmp_path, clips_per_video=5, fps=10, seed=1)) != found


def test_folders_of_frames_and_flat_folders(tmp_path: Path, videos: Path) -> None:
    frame_folder(tmp_path / "one")
    frame_folder(tmp_path / "two")
    shutil.copy(videos / "video.mp4", tmp_path / "three.mp4")
    (tmp_path / "notes.txt").write_text("no video")
    data = module(tmp_path, fps=5, folder_fps=10, max_held=0)
    assert data.class_names == []
    found = read(data)
    assert len(found) == 3
    for frames, label in found:
        assert frames == [frames[0], frames[0] + 2, frames[0] + 4]
        assert label == -1
    assert "label" not in data.train_set()[0]
    frame_folder(tmp_path / "classes" / "train" / "a" / "deep" / "x")
    frame_folder(tmp_path / "classes" / "train" / "b" / "y")
    assert [label for _, label in read(module(tmp_path / "classes"))] == [0, 1]
    assert module(tmp_path / "classes", unlabelled=True).class_names == []
    assert len(read(module(tmp_path / "one"))) == 1  # the folder itself is a video


def test_a_list_as_in_the_original_code_and_a_single_video(tmp_path: Path, videos: Path) -> None:
    frame_folder(tmp_path / "frames" / "first clip")
    frame_folder(tmp_path / "frames" / "clip 2")
    listed = tmp_path / "lists" / "train.txt"
    listed.parent.mkdir()
    listed.write_text(f"# frames\n../frames/first clip 20\n\n../frames/clip 2 20\n{videos}/video.mp4\n")
    data = module(listed, fps=None, folder_fps=10)
    assert [frames[2] - frames[0] for frames, _ in read(data)] == [2, 2, 2]
    data.setup("fit")
    assert len(read(module(videos / "video.webm", clips_per_video=4))) == 4
    listed.write_text("# nothing\n")
    with pytest.raises(InputError, match=r"train\.txt lists no videos"):
        module(listed).setup("fit")
    listed.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is no list of videos; root must be a folder, a video, or a text file"):
        module(listed).setup("fit")


def test_one_crop_for_the_clip_and_one_flip(tmp_path: Path) -> None:
    ramp = torch.arange(48, dtype=torch.uint8).mul(5).expand(3, 32, 48).permute(1, 2, 0)
    for index in range(8):
        (tmp_path / "still").mkdir(exist_ok=True)
        Image.fromarray(ramp.numpy()).save(tmp_path / "still" / f"{index}.png")
    options = {"clips_per_video": 40, "crop_scale": (0.3, 0.8), "folder_fps": 8, "frames": 4}
    clips = module(tmp_path, horizontal_flip=True, **options).train_set()
    found = [clip["video"] for clip in (clips[index] for index in range(len(clips)))]
    assert all(torch.equal(frame, clip[0]) for clip in found for frame in clip)
    assert len({clip[0, 0].numpy().tobytes() for clip in found}) == 40
    mirrored = [bool(clip[0, 0, 0, 0] > clip[0, 0, 0, -1]) for clip in found]
    assert 10 < sum(mirrored) < 30
    upright = module(tmp_path, **options).train_set()
    for index in range(40):  # the flip changes nothing else
        expected = upright[index]["video"]
        assert torch.equal(found[index], expected.flip(-1) if mirrored[index] else expected)
    moving = module(tmp_path, crop="frame", **options).train_set()[0]["video"]
    assert len(torch.unique(moving, dim=0)) == 4
    centre = module(tmp_path, crop="centre", frame_size=32, **options).train_set()[0]["video"]
    assert torch.equal(centre[0], ramp.permute(2, 0, 1)[..., 8:40])


def test_short_videos_are_held_or_replaced(tmp_path: Path, videos: Path) -> None:
    encode(tmp_path / "a.mp4", range(3))
    shutil.copy(videos / "video.mp4", tmp_path / "b.mp4")
    held = read(module(tmp_path, frames=5, fps=10, max_held=0.4))
    assert held[0][0] == [0, 1, 2, 2, 2]
    listed = tmp_path / "list.txt"
    with pytest.warns(UserWarning, match=r"Skipped a broken video, .*a\.mp4 \(.*max_held.*\); the list is .*list\.txt"):
        strict = read(module(tmp_path, frames=5, fps=10, max_held=0.3, broken_files=str(listed)))
    assert strict[0][0] == [strict[0][0][0] + index for index in range(5)]
    assert len(listed.read_text().splitlines()) == 1


def broken_files(folder: Path, videos: Path) -> list[Path]:
    """Files with each of the things that can be wrong."""
    content = (videos / "video.mp4").read_bytes()
    for name, damaged in {"empty": b"", "truncated": content[: len(content) // 2], "text": b"no video"}.items():
        (folder / f"{name}.mp4").write_bytes(damaged)
    encode_audio(folder / "song.mp4")
    (folder / "hole.mp4").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "hangs.mp4")
    shutil.copy(videos / "video.mp4", folder / "crashes.mp4")
    names = ["empty", "truncated", "text", "song", "hole", "hangs", "crashes"]
    return [folder / f"{name}.mp4" for name in names]


CRASH = guarded.PROGRAM.replace(
    "\nmain()",
    """
import os, signal
import lightning_binding.video.decoder_process as process
whole = process.cut
def cut(path, **options):
    if "crashes" in path:
        os.kill(os.getpid(), signal.SIGSEGV)
    return whole(path, **options)
process.cut = cut
process.main()
""",
)


@pytest.mark.filterwarnings("ignore:Skipped a broken video")
@pytest.mark.parametrize("workers", [0, 2])
def test_broken_files_cost_a_sample_each(
    tmp_path: Path, videos: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "PROGRAM", CRASH)
    root = kinetics(tmp_path / "videos", videos)
    broken = broken_files(root / "train" / "juggling", videos)
    listed = tmp_path / "deep" / "broken.txt"
    data = module(root, num_workers=workers, max_broken=0.9, broken_files=str(listed), decode_timeout=2, fps=10)
    labels = [label for batch in data.train_dataloader() for label in batch["label"].tolist()]
    # The broken ones are the last of their class, and the first video of the next class takes the place of each.
    assert sorted(labels) == [0] * 3 + [1] * 3 + [2] * (3 + len(broken))
    assert sorted(labels) == [label for _, label in read(data)]
    reasons = dict(line.split("\t") for line in listed.read_text().splitlines())
    assert set(reasons) == {str(path) for path in broken}
    kinds = {Path(path).stem: reason for path, reason in reasons.items()}
    assert kinds["hangs"].startswith("DecoderHung: ")
    assert "gave no clip within 2 s" in kinds["hangs"]
    assert kinds["crashes"].startswith("DecoderDied: ")
    assert "SIGSEGV" in kinds["crashes"]
    assert "has no video" in kinds["song"]
    assert "There is no video" in kinds["hole"]
    assert all("cannot be read as a video" in kinds[name] for name in ("empty", "truncated", "text"))


@pytest.mark.filterwarnings("ignore:Skipped a broken video")
def test_what_hung_is_not_tried_again_not_even_by_the_next_run(tmp_path: Path, videos: Path) -> None:
    root = kinetics(tmp_path / "videos", videos, 1)
    os.mkfifo(root / "train" / "dancing" / "hangs.mp4")
    listed = tmp_path / "list.txt"
    first = module(root, broken_files=str(listed), decode_timeout=2, max_broken=0.3)
    expected = read(first)
    again = module(root, broken_files=str(listed), decode_timeout=1000, max_broken=0.3)
    assert read(again) == expected == read(first)
    first.teardown("fit")
    again.teardown("fit")


@pytest.mark.filterwarnings("ignore:Skipped a broken video")
def test_too_many_broken_files_stop_the_run_in_one_sentence(tmp_path: Path, videos: Path) -> None:
    root = kinetics(tmp_path / "videos", videos)
    for index in range(3):
        (root / "train" / "sailing" / f"{index}.mp4").write_bytes(b"no video")
    listed = tmp_path / "list.txt"
    data = module(root, broken_files=str(listed), max_broken=0.2, num_workers=1)
    loader = data.train_dataloader()
    with pytest.raises(TooManyBroken) as caught:
        list(loader)
    loader._iterator._shutdown_workers()  # type: ignore[union-attr]
    count = len(data.train_set())
    assert str(caught.value) == (
        f"3 of the {count} videos under {root}/train/ cannot be read, more than the 2 that max_broken tolerates; they "
        f"are listed in {listed}. Mend or remove them (and that list), or raise max_broken."
    )


@pytest.mark.filterwarnings("ignore:Skipped a broken video")
def test_when_nothing_is_left_the_search_ends(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    data = module(tmp_path, broken_files=str(tmp_path / "list.txt"))
    with pytest.raises(InputError, match=r"None of 1 videos under .* can be decoded; see .*list\.txt"):
        read(data)


@pytest.mark.filterwarnings("ignore:Skipped a broken video")
def test_batches_are_the_same_whatever_reads_them(tmp_path: Path, videos: Path) -> None:
    root = kinetics(tmp_path / "videos", videos)
    (root / "train" / "dancing" / "1.mp4").write_bytes(b"no video")
    seen = []
    for workers in (0, 2):
        options = {"broken_files": str(tmp_path / f"{workers}.txt"), "horizontal_flip": True, "crop": "frame"}
        data = module(root, num_workers=workers, max_broken=0.2, **options)
        seen.append([batch["video"] for batch in data.train_dataloader()])
    assert len(seen[0]) == 5
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


@pytest.mark.filterwarnings("ignore")
def test_a_restart_reads_what_the_run_would_have_read(tmp_path: Path, videos: Path) -> None:
    root = kinetics(tmp_path / "videos", videos)
    (root / "train" / "dancing" / "2.mp4").write_bytes(b"no video")

    def run(workers: int, ckpt_path: Path | None = None) -> dict[int, bytes]:
        diary = Diary("video")
        saver = ModelCheckpoint(tmp_path / "ckpt", filename="{step}", save_top_k=-1, every_n_train_steps=3)
        trainer = Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=[saver], default_root_dir=tmp_path,
        )  # fmt: skip
        data = module(root, num_workers=workers, max_broken=0.3, broken_files=str(tmp_path / "list.txt"))
        trainer.fit(diary, data, ckpt_path=ckpt_path)
        return diary.steps

    whole = run(0)
    assert len(whole) == len(set(whole.values())) == 10
    rest = run(2, tmp_path / "ckpt" / "step=6.ckpt")
    assert rest == {step: seen for step, seen in whole.items() if step >= 6}


def test_the_list_is_beside_the_log(tmp_path: Path, videos: Path) -> None:
    data = module(kinetics(tmp_path / "videos", videos))
    assert str(data.train_set().broken.file) == "broken_files.txt"
    data.trainer = Trainer(accelerator="cpu", logger=CSVLogger(tmp_path, version=7), enable_checkpointing=False)
    data.setup("fit")
    assert data.train_set().broken.file == tmp_path / "lightning_logs" / "version_7" / "broken_files.txt"


def test_nothing_is_opened_before_it_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        os.mkfifo(tmp_path / name / "hangs.mp4")
    data = module(tmp_path)
    data.setup("fit")
    assert len(data.train_dataloader()) == 1


LAYOUTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (lambda root: None, r"There are no videos under .*; looked for are files in \.mp4, .*frames"),
    "hollow": (lambda root: (root / "train" / "a").mkdir(parents=True), "There are no videos under .*train"),
    "mixed": (
        lambda root: [(root / "a").mkdir(), (root / "x.mp4").touch()],
        r"holds videos \(x\.mp4, …\) beside folders \(a, …\).*unlabelled: true",
    ),
    "frames beside": (
        lambda root: [frame_folder(root / "x", 1), (root / "a").mkdir()],
        r"holds videos \(x, …\) beside folders \(a, …\)",
    ),
}


@pytest.mark.parametrize(("make", "message"), LAYOUTS.values(), ids=LAYOUTS)
def test_wrong_layouts(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        module(tmp_path).setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "fps is 0; it must be positive"),
        ({"frames": 0}, "frames is 0"),
        ({"short_side": -1}, "short_side is -1"),
        ({"max_held": 1}, r"max_held is 1; it must be a share in \[0, 1\)"),
        ({"crop": "middle"}, "There is no crop 'middle'"),
        ({"decode_timeout": 0}, "decode_timeout is 0"),
        ({"backend": "pyaw"}, "There is no backend 'pyaw' for video; did you mean pyav"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        module(tmp_path, **options)


def test_the_backend_is_the_one_that_was_chosen(tmp_path: Path, videos: Path) -> None:
    data = module(kinetics(tmp_path, videos), backend="torchcodec", fps=10)
    try:
        codec.import_decoder()
    except InputError:
        with pytest.raises(InputError, match="The backend torchcodec cannot be loaded: pip install"):
            data.setup("fit")
        return
    data.setup("fit")
    for frames, _ in read(data):
        assert frames == [frames[0], frames[0] + 1, frames[0] + 2]


def test_folders_of_frames_need_no_backend(tmp_path: Path) -> None:
    frame_folder(tmp_path / "videos" / "a")
    module(tmp_path / "videos", backend="torchcodec").setup("fit")


def test_a_missing_folder_and_no_held_out_side(tmp_path: Path, videos: Path) -> None:
    with pytest.raises(InputError, match=r"There is no folder .*nowhere"):
        module(tmp_path / "nowhere").setup("fit")
    data = module(kinetics(tmp_path, videos))
    assert data.val_dataloader() == []
    with pytest.raises(InputError, match="has no annotated sequences; it is for fit alone"):
        data.test_dataloader()


def test_the_same_clips_of_held_out_videos(videos: Path, tmp_path: Path) -> None:
    root = kinetics(tmp_path, videos)
    shutil.copytree(root / "train", root / "val")
    data = module(root, eval_clips=2, eval_batch_size=4)
    first, second = (list(data.val_dataloader()) for _ in range(2))
    assert [len(batch["video"]) for batch in first] == [4, 4, 4, 4, 2]
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one["video"], two["video"])
        assert torch.equal(one["label"], two["label"])
    assert torch.cat([batch["label"] for batch in first]).bincount().tolist() == [6, 6, 6]
    assert not list(module(root).val_dataloader())


def test_validation_without_its_folder(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"eval_clips is 1, but there is no folder .*val of held-out videos"):
        module(kinetics(tmp_path, videos), eval_clips=1).val_dataloader()
    with pytest.raises(InputError, match="eval_clips is -1"):
        module(tmp_path, eval_clips=-1)
