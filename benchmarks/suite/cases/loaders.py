"""Loaders of pictures and clips beside the plain way; the limit is the decoder with nothing around it."""

import os
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lightning_binding.data import ImageFolderDataModule, VideoFolderDataModule
from suite.side import Side

PICTURES, BATCH, SIZE = 72, 32, 64
VIDEOS, LENGTH, CLIP, FRAME = 8, 150, 8, 128
KEPT = tempfile.TemporaryDirectory()  # until the process ends


def textures(count: int, height: int, width: int) -> list[np.ndarray]:
    """Pictures (H, W, 3) of blurred noise, about as hard to compress as photographs."""
    draws = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        scales = [
            (torch.randn(1, 3, -(-height // each), -(-width // each), generator=draws), each) for each in (64, 16, 4)
        ]
        total = sum(each**0.5 * F.interpolate(noise, (height, width), mode="bilinear") for noise, each in scales)
        found.append((128 + 9 * total[0]).clamp(0, 255).byte().permute(1, 2, 0).numpy())
    return found


def pictures() -> Path:
    """A folder of JPEGs in two classes."""
    for index, pixels in enumerate(textures(PICTURES, 375, 500)):
        path = Path(KEPT.name, "pictures", str(index % 2), f"{index}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
    return Path(KEPT.name, "pictures")


def videos() -> Path:
    """A folder of H.264 videos of five seconds, a texture that moves."""
    folder = Path(KEPT.name, "videos")
    folder.mkdir()
    for index, still in enumerate(textures(VIDEOS, 256, 340)):
        with av.open(str(folder / f"{index}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=30, options={"g": "30", "preset": "fast"})
            stream.height, stream.width, stream.pix_fmt = 256, 340, "yuv420p"
            for time_ in range(LENGTH):
                frame = av.VideoFrame.from_ndarray(np.roll(still, 2 * time_, 1), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return folder


def processor() -> float:
    """Seconds of the processor of this process and those below it, as the system counts them."""
    total, tick = time.process_time(), os.sysconf("SC_CLK_TCK")
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        total += sum(map(int, Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[11:15])) / tick
    return total


def epochs(loader: DataLoader, units: int) -> Side:
    """One epoch a call, with the processes that decode."""

    def call() -> float:
        start = processor()
        for _ in loader:
            pass
        return processor() - start

    return Side(call, units)


def our_pictures() -> Side:
    """The data module with one process."""
    data = ImageFolderDataModule(str(pictures()), image_size=SIZE, batch_size=BATCH, num_workers=0)
    data.setup("fit")
    loader = data.train_dataloader()
    return epochs(loader, BATCH * len(loader))


def plain_pictures() -> Side:
    """Torchvision's folder and transforms, the usual way."""
    from torchvision import datasets, transforms

    steps = [
        transforms.Resize(SIZE),
        transforms.CenterCrop(SIZE),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
    ]
    return epochs(DataLoader(datasets.ImageFolder(str(pictures()), transforms.Compose(steps)), BATCH, True), PICTURES)


def decoded_pictures() -> Side:
    """Libjpeg at the size that is asked of it."""
    paths = sorted(pictures().rglob("*.jpg"))

    def call() -> None:
        for path in paths:
            with Image.open(path) as image:
                image.draft(None, (2 * SIZE, 2 * SIZE))
                image.load()

    return Side(call, len(paths))


def our_videos() -> Side:
    """The data module: frames by their time stamps, in a process that may crash."""
    options = {"frames": CLIP, "fps": 15.0, "frame_size": FRAME, "short_side": 144}
    data = VideoFolderDataModule(str(videos()), batch_size=4, num_workers=0, **options)
    data.setup("fit")
    return epochs(data.train_dataloader(), len(data.train_set()))


def plain_videos() -> Side:
    """Every frame of the file is decoded, then some are taken, as simple loaders do."""
    paths, draws = sorted(videos().iterdir()), np.random.default_rng(0)

    def clip(path: Path) -> torch.Tensor:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        start = draws.integers(len(frames) - 2 * CLIP)
        chosen = torch.from_numpy(np.stack(frames[start : start + 2 * CLIP : 2])).permute(0, 3, 1, 2).float()
        resized = F.interpolate(chosen, (144, 191), mode="bilinear", antialias=True)
        top, left = draws.integers(144 - FRAME), draws.integers(191 - FRAME)
        return resized[:, :, top : top + FRAME, left : left + FRAME].byte()

    def call() -> None:
        for path in paths:
            clip(path)

    return Side(call, VIDEOS)


def decoded_videos() -> Side:
    """FFmpeg from the key frame before a clip to its last frame, on one thread."""
    paths, draws = sorted(videos().iterdir()), np.random.default_rng(0)

    def call() -> None:
        for path in paths:
            first = int(draws.integers(LENGTH - 2 * CLIP))
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
                container.seek(int(first / 30 / stream.time_base), stream=stream)
                for frame in container.decode(stream):
                    if frame.time * 30 >= first + 2 * CLIP - 2:
                        break

    return Side(call, VIDEOS)


SIDES = {
    "image_loader": {"ours": our_pictures, "peer": plain_pictures, "decoder": decoded_pictures},
    "video_loader": {"ours": our_videos, "peer": plain_videos, "decoder": decoded_videos},
}
