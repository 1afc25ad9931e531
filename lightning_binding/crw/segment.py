"""From the mask of the first frame to masks of a whole video: features, propagation, and back to pixels."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.encoding import Encode, EncodedVideo, Watcher
from lightning_binding.crw.encoding import frame_size as frame_size
from lightning_binding.crw.objects import Objects
from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.errors import InputError


def segment(
    video: Iterable[Tensor],
    mask: Tensor,
    encode: Encode,
    settings: PropagationSettings,
    multiple: int = 1,
    later: Mapping[int, Tensor] | None = None,
    batch: int = 1,
    watcher: Watcher | None = None,
) -> Iterator[Tensor]:
    """Masks of a video from the mask of its first frame, one after another.

    Args:
        video: Frames uint8 (3, H, W), of one size: a tensor (T, 3, H, W), a list, or a stream. Each is looked at once
            and none is kept, so that a long video needs no more memory than a short one.
        mask: Ids of the first frame, uint8 (H, W): 0 is background, 255 is taken as background.
        encode: Maps uint8 frames (F, 3, h', w') to features (F, C, h, w).
        settings: How labels are propagated.
        multiple: What the encoder needs height and width to be a multiple of.
        later: Masks of later frames by their number, for objects that appear there. Only ids that no mask before had
            are looked at: other objects keep what was propagated to them.
        batch: Frames that are read ahead and encoded together.
        watcher: Sees every frame before it is encoded, and may adapt the encoder; see `crw.adaptation`.

    Yields:
        Masks of ids, uint8 (H, W); that of the first frame is the one given, without void.

    Raises:
        InputError: If a mask's size is not that of the frames, none holds an object, or the video ends before a mask.
    """
    objects = Objects(mask, later)
    encoded = EncodedVideo(video, encode, settings, multiple, batch, watcher)
    size = encoded.size
    if size != objects.size:
        raise InputError(
            f"the first mask has {objects.size[0]} x {objects.size[1]} pixels, the frames have {size[0]} x {size[1]}: "
            "give the mask of the first frame at the size of the video."
        )
    first = encoded.peek()
    labels = objects.labels(*first.shape[-2:]).to(first.device)
    time = 0
    for time, found in enumerate(propagate_frames(encoded, labels, settings, objects.amend, encoded.renew)):
        yield objects.mask(time, winners(objects.present(time, found), size, settings)) if time else objects.first
    if later and max(later) > time:
        raise InputError(f"there is a mask for frame {max(later)}, and the last frame of the video is {time}.")


def winners(labels: Tensor, size: tuple[int, int], settings: PropagationSettings) -> Tensor:
    """The channel that is largest in every pixel of a video, (H, W), from soft labels of a frame, (h, w, L).

    Args:
        labels: Soft labels.
        size: Height and width of the video.
        settings: How labels are stretched and brought to that size.
    """
    if settings.normalise_labels:
        low, high = labels.amin((0, 1)), labels.amax((0, 1))
        labels = torch.where(high > low, (labels - low) / (high - low).clamp(min=1e-12), labels)
    mode = "nearest" if settings.nearest_upsampling else "bilinear"
    align = None if mode == "nearest" else False
    large = F.interpolate(labels.permute(2, 0, 1)[None], size, mode=mode, align_corners=align)
    return large[0].argmax(0)
