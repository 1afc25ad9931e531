"""Raw pixels as features: the baseline that a learnt feature has to beat, under the name of a backbone."""

from collections.abc import Sequence
from typing import Any

from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F


class Pixels(nn.Module):
    """The pixels of every patch as its channels; no weights.

    Args:
        patch_size: Height and width of a patch, which is the stride of the features.
    """

    def __init__(self, patch_size: int = 4) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.feature_info = [{"module": "pixels", "num_chs": 3 * patch_size**2, "reduction": patch_size}]
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (1.0, 1.0, 1.0)}  # grey is 0

    def prune_intermediate_layers(self, indices: Sequence[int], **options: Any) -> list[int]:
        """There is one layer."""
        return list(indices)

    def forward_intermediates(self, images: Tensor, **options: Any) -> list[Tensor]:
        """Pictures (B, 3, H, W) as [(B, 3 patch_size^2, H / patch_size, W / patch_size)], cut to whole patches."""
        height, width = (side - side % self.patch_size for side in images.shape[-2:])
        return [F.pixel_unshuffle(images[..., :height, :width], self.patch_size)]


@register_model
def pixels(pretrained: bool = False, **options: Any) -> Pixels:
    """Raw pixels; `patch_size` is the stride.

    Args:
        pretrained: Has no meaning here.
        **options: `patch_size`; what timm adds to every call is left out.
    """
    return Pixels(options.get("patch_size", 4))
