"""Commands of shards."""

from pathlib import Path
from typing import Literal

from lightning.pytorch.utilities import rank_zero_info

from lightning_binding.data.broken import BrokenFiles
from lightning_binding.data.shards.convert import BROKEN, convert
from lightning_binding.data.shards.plan import make_plan
from lightning_binding.data.shards.sides import KINDS, Splitting
from lightning_binding.data.shards.verify import verify as verify_chunks
from lightning_binding.errors import InputError

TOO_MANY = (
    "Raise --max_broken and give the command again, which goes on from the chunks that are finished; or mend or remove "
    "the files and give another --out, since the source is then another."
)


def shard(
    out: str,
    source: str | None = None,
    kind: Literal["image", "video"] = "image",
    chunk_mb: int = 64,
    workers: int = 4,
    shuffle: bool = True,
    seed: int = 0,
    val_root: str | None = None,
    held_out_share: float = 0.05,
    unlabelled: bool = False,
    max_broken: float = 0.01,
    verify: bool = True,
) -> Path:
    """Converts a folder of images or videos, or a list of them, into a few large files that can be streamed.

    A command that was ended, by whatever, goes on when it is given again, and the result is the same.

    Args:
        out: Folder to write into; `out/train` and `out/val` can be read by litdata as well.
        source: Folder, in a layout that `ImageFolderDataModule` or `VideoFolderDataModule` reads, or a text file with a
            path on each line; when not given, the shards in `out` are verified, and nothing is written.
        kind: image or video. The files are stored as they are, after they were decoded once (of videos one frame).
        chunk_mb: Size of a shard in MiB, which one file alone may exceed.
        workers: Processes; 0 works in the main process.
        shuffle: Whether the order of the source is shuffled once, so that a shard holds many classes.
        seed: Of that shuffle.
        val_root: Folder of held-out images; `val` in the source when not given.
        held_out_share: Share of the images that is held out where there is no folder of held-out ones.
        unlabelled: Take all images or videos, at any depth, as of no class.
        max_broken: Share of the files that may be broken before the command stops; they are left out, and listed in
            `broken_files.txt` in `out`.
        verify: Compare all shards with their checksums in the end.

    Returns:
        The folder.

    Raises:
        InputError: If the source, a number or the folder is not valid, too many files are broken, or shards damaged.
    """
    if not 1 <= chunk_mb <= 2048 or workers < 0 or not 0 <= max_broken < 1:
        raise InputError(
            f"--chunk_mb {chunk_mb} must be in [1, 2048], --workers {workers} 0 or more, --max_broken {max_broken} a "
            "share in [0, 1)."
        )
    folder = Path(out).expanduser().absolute()
    if source is not None:
        if folder.is_relative_to(Path(source).expanduser().absolute()):
            raise InputError(
                f"--out {out} lies in --source {source}, where the shards would be taken for images or videos of the "
                "next call: give a folder beside it."
            )
        found = KINDS[kind].find(str(Path(source).expanduser()), Splitting(val_root, held_out_share, unlabelled))
        plan = make_plan(found, kind, chunk_mb * 2**20, seed if shuffle else None)
        broken = {
            side: BrokenFiles(
                folder / BROKEN,
                files.root,
                sum(each.total for each in found.sides.values() if each.root == files.root),
                max_broken,
                kind,
                TOO_MANY,
            )
            for side, files in found.sides.items()
        }
        indices = convert(plan, folder, kind, found.class_names, broken, workers)
        for side, index in indices.items():
            total, size = sum(chunk.examples for chunk in index.chunks), sum(chunk.bytes for chunk in index.chunks)
            left_out = found.sides[side].total - total
            rank_zero_info(
                f"{folder / side}: {total} {kind}s in {len(index.chunks)} shards, {size / 2**30:.3g} GiB"
                + (f"; {left_out} broken ones are listed in {folder / BROKEN}." if left_out else ".")
            )
    if verify or source is None:
        count = verify_chunks(folder, workers)
        rank_zero_info(f"{count} shards in {folder} have the checksums that were written with them.")
    return folder
