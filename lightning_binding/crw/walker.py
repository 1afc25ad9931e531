"""The network whose features labels are propagated with, as a user names it on the command line."""

from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from lightning_binding.backbones.create import create_backbone
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.official import ARGUMENTS
from lightning_binding.errors import InputError
from lightning_binding.export import load
from lightning_binding.pretrained import load_pretrained, shipped

STRIDE = 8  # of a convolutional network, as in CRW


def walker(
    ckpt_path: str | None = None,
    backbone: str | None = None,
    pretrained: bool = False,
    weights: str | None = None,
    layer: str | int | None = None,
    stride: int | None = None,
) -> ContrastiveRandomWalk:
    """A module that encodes frames: of a checkpoint, of a backbone, or that which the package ships.

    Args:
        ckpt_path: Checkpoint of a run, file that `export` wrote, or `.pth` of the original code.
        backbone: Model in timm's registry.
        pretrained: Download timm's weights for it.
        weights: File of weights for it.
        layer: Layer whose features are taken; that of the checkpoint, or the last.
        stride: Pixels of one step of the backbone's features; None is 8, or the patch of a transformer.

    Raises:
        InputError: If both a checkpoint and a backbone are given, options do not belong together, or a file does not
            fit.
    """
    if isinstance(layer, str) and layer.lstrip("-").isdecimal():  # a place, as the command line gives it
        layer = int(layer)
    if backbone is not None:
        if ckpt_path is not None:
            raise InputError(f"give --backbone {backbone} or --ckpt_path {ckpt_path}, not both.")
        return _of_backbone(backbone, pretrained, weights, layer, stride).eval()
    for name, value in {"pretrained": pretrained or None, "weights": weights, "stride": stride}.items():
        if value is not None:
            raise InputError(f"--{name} belongs to --backbone, which is missing; a checkpoint has its own.")
    module = _shipped() if ckpt_path is None else _of_checkpoint(Path(ckpt_path))
    if layer is not None:
        module.eval_layer = module.backbone.layer_index(layer)
    return module.eval()


def _shipped() -> ContrastiveRandomWalk:
    names = [name for name in shipped() if name.startswith("crw_")]
    if not names:
        raise InputError(
            "no network is given: add --ckpt_path with a trained ContrastiveRandomWalk, or --backbone with a model of "
            "timm, such as --backbone vit_small_patch8_224.dino --pretrained true --preset dino."
        )
    module = load_pretrained(names[0])
    assert isinstance(module, ContrastiveRandomWalk)
    return module


def _of_checkpoint(path: Path) -> ContrastiveRandomWalk:
    if path.suffix == ".pth":
        return ContrastiveRandomWalk(**ARGUMENTS, official=str(path))
    module = load(path)
    if not isinstance(module, ContrastiveRandomWalk):
        raise InputError(f"{path} holds a {type(module).__name__}, expected a ContrastiveRandomWalk.")
    return module


def _of_backbone(
    name: str, pretrained: bool, weights: str | None, layer: str | int | None, stride: int | None
) -> ContrastiveRandomWalk:
    if stride is None:
        untrained = create_backbone(name, layer=layer)
        stride = untrained.stride if untrained.multiple > 1 else min(untrained.stride, STRIDE)
    if not pretrained and weights is None:
        rank_zero_warn(f"The backbone {name} is untrained; add --pretrained true for timm's weights, or --weights.")
    return ContrastiveRandomWalk(
        name, layer=layer, stride=stride, pretrained=pretrained, weights=weights, head_depth=-1
    )
