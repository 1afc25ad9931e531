"""Lets torchvision be imported beside a CPU-only torch.

PyPI's torchvision wheel is compiled for CUDA. Its compiled operators cannot be registered with a CPU-only
torch, so ``import torchvision`` fails with ``operator torchvision::nms does not exist``, and with it every
package that imports torchvision: timm, torchmetrics, torch-fidelity, lightning. Declaring the two missing
operator schemas is enough for all of them to work (``ops.nms`` itself stays unavailable).

A healthy torchvision is left alone: the schemas are declared only after the import has failed, and only
where torch has no CUDA. See https://github.com/pytorch/vision/issues/9077.
"""

import torch

_library: torch.library.Library | None = None  # the declarations live as long as this reference

try:
    import torchvision
except RuntimeError:
    if torch.version.cuda is not None:
        raise
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for _operator in ("nms", "qnms"):
        _library.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    import torchvision  # noqa: F401
