"""Label propagation: labels of the first frame follow the nearest features through a video.

Every cell of a frame takes the labels of the k nearest cells, in feature space, of the first frame and of the last few,
weighted by the softmax of their similarities (section 3.3 of arXiv 2006.14613). Frames come one at a time and the last
few are all that is kept, so the length of the video costs no memory.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.memory import Memory
from lightning_binding.crw.nearest import full_top_k
from lightning_binding.crw.settings import PRESETS as PRESETS
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.crw.windows import top_k_of_blocks, windowed_top_k
from lightning_binding.errors import InputError


def propagate(
    features: Iterable[Tensor],
    labels: Tensor,
    *,
    context: int = 20,
    top_k: int = 10,
    temperature: float = 0.05,
    radius: float = 12,
    shape: str = "circle",
    window_first_frame: bool = False,
    pad_with_first_frame: bool = True,
    first_frame_twice: bool = False,
) -> Tensor:
    """Propagates the labels of the first frame through a video; the defaults are those of CRW's code.

    Args:
        features: Feature maps (C, h, w), one for each frame, as a tensor (T, C, h, w) or one at a time. They are
            normalised here.
        labels: Soft labels of the first frame (h, w, L), each channel a share in [0, 1].
        context: Number of the last frames that labels come from, beside the first.
        top_k: Cells that a cell takes its label from.
        temperature: Of the softmax over their similarities.
        radius: Of the window, in cells, in which a cell sees the last frames.
        shape: Of the window: `circle` (closer than the radius), `disk` (at most the radius), `square`.
        window_first_frame: Whether the first frame is seen through the window too.
        pad_with_first_frame: Whether the first frame stands in for the frames before it, so that it counts as often as
            frames are missing.
        first_frame_twice: Whether the first frame is also one of the last while it is recent enough, and counts twice.

    Returns:
        Soft labels of all frames, (T, h, w, L); those of the first are the labels given.

    Raises:
        InputError: If shapes do not fit together or a setting is out of range.
    """
    window = radius, shape, window_first_frame, pad_with_first_frame, first_frame_twice
    settings = PropagationSettings(context, top_k, temperature, *window)
    return torch.stack(list(propagate_frames(features, labels, settings)))


@torch.no_grad()
def propagate_frames(
    features: Iterable[Tensor],
    labels: Tensor,
    settings: PropagationSettings,
    amend: Callable[[int, Tensor], Tensor] | None = None,
    renew: Callable[[list[int]], list[Tensor] | None] | None = None,
) -> Iterator[Tensor]:
    """Propagates as `propagate`, and yields the labels (h, w, L) of one frame after another.

    Args:
        features: Feature maps (C, h, w).
        labels: Soft labels of the first frame, (h, w, L).
        settings: How.
        amend: Given the number of a later frame and the labels found for it, returns those that it shall have and
            that the frames after it take theirs from; None leaves them as they are.
        renew: Given the numbers of earlier frames, returns their feature maps where the network has changed since they
            were made, or None where it has not; it is asked once for each frame, after the frame's own features.
    """
    _check(labels)
    labels = labels if labels.dtype == torch.float64 else labels.float()
    memory: Memory | None = None
    for time, frame in enumerate(features):
        if frame.ndim != 3 or frame.shape[1:] != labels.shape[:2]:
            raise InputError(
                f"frame {time} has features {tuple(frame.shape)}, and the labels are {tuple(labels.shape)}: expected "
                f"(C, {labels.shape[0]}, {labels.shape[1]}). Labels are given at the resolution of the features."
            )
        frame = _unit(frame)
        if memory is None:
            found = labels.to(frame.device)
            copies = settings.context if settings.pad_with_first_frame else int(settings.first_frame_twice)
            memory = Memory(frame, found, settings.context, copies)
        else:
            renewed = None if renew is None else renew([0, *range(max(1, time - settings.context), time)])
            if renewed is not None:
                memory.renew([_unit(each) for each in renewed])
            found = _step(frame, memory, settings)
            found = found if amend is None else amend(time, found)
            memory.add(frame, found)
        yield found


def _unit(features: Tensor) -> Tensor:
    """Features (C, h, w) as unit vectors (h, w, C), in float32 at least."""
    features = features if features.dtype == torch.float64 else features.float()
    return F.normalize(features, dim=0).permute(1, 2, 0).contiguous()


def _step(query: Tensor, memory: Memory, settings: PropagationSettings) -> Tensor:
    """Labels (h, w, L) of a frame (h, w, C)."""
    window = settings.top_k, settings.radius, settings.shape
    if settings.window_first_frame:
        score, place = windowed_top_k(query, memory.first, *window)
    else:
        score, place = full_top_k(query, memory.first, settings.top_k)
    if memory.count:
        last_score, last_place = top_k_of_blocks(query, memory.blocks, *window)
        score, place = torch.cat([score, last_score], 1), torch.cat([place, last_place + len(query.flatten(0, 1))], 1)
    best, chosen = score.topk(min(settings.top_k, score.shape[1]), dim=1)
    label = memory.labels[place.gather(1, chosen)]
    found = torch.einsum("qk,qkl->ql", (best / settings.temperature).softmax(1), label)
    return found.view(*query.shape[:2], -1)


def _check(labels: Tensor) -> None:
    if labels.ndim != 3:
        raise InputError(f"labels have the shape {tuple(labels.shape)}, expected (h, w, L), of the first frame.")
    if labels.shape[2] == 0:
        raise InputError("labels have no channel: give at least one object, or a background and an object.")
