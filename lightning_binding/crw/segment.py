"""From the mask of the first frame to masks of a whole video: features, propagation, and back to pixels."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.encoding import Encode, EncodedVideo, Watcher
from lightning_binding.crw.objects import Objects
from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.crw.sizes import frame_size as frame_size
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
    objects = Objects(mask, later, settings.label_resampling == "nearest", settings.align_corners)
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
        if time == 0:
            yield objects.first
            continue
        channels = winners(objects.present(time, found), size, encoded.encoded_size, settings)
        yield objects.mask(time, channels)
    if later and max(later) > time:
        raise InputError(f"there is a mask for frame {max(later)}, and the last frame of the video is {time}.")


def winners(labels: Tensor, size: tuple[int, int], encoded: tuple[int, int], settings: PropagationSettings) -> Tensor:
    """The channel that is largest in every pixel of a video, (H, W), from soft labels of a frame, (h, w, L).

    Args:
        labels: Soft labels.
        size: Height and width of the video.
        encoded: Height and width that its frames are encoded at.
        settings: How labels are brought to that size, and stretched.
    """
    decided = encoded if settings.decide_at_input_size else size
    mode, align = ("nearest", None) if settings.nearest_upsampling else ("bilinear", settings.align_corners)
    large = F.interpolate(labels.permute(2, 0, 1)[None], decided, mode=mode, align_corners=align)[0]
    if settings.normalise_labels:
        low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
        large = torch.where(high > low, (large - low) / (high - low).clamp(min=1e-12), large)
    found = large.argmax(0)
    if decided == size:
        return found
    return F.interpolate(found[None, None].float(), size, mode="nearest-exact")[0, 0].long()
