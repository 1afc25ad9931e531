"""Raw pixels under the name of a backbone."""

import torch

from lightning_binding.backbones import create_backbone
from lightning_binding.crw.module import ContrastiveRandomWalk


def test_features_are_the_pixels_of_a_patch() -> None:
    backbone = create_backbone("pixels", patch_size=2)
    assert (backbone.channels, backbone.stride, list(backbone.parameters())) == (12, 2, [])
    images = torch.rand(2, 3, 6, 7)
    features = backbone(images)
    assert features.shape == (2, 12, 3, 3)
    for row in range(3):
        for column in range(3):
            patch = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            torch.testing.assert_close(features[:, :, row, column], patch.flatten(1))


def test_a_module_propagates_labels_with_them() -> None:
    exact = {"top_k": 1, "nearest_upsampling": True}
    module = ContrastiveRandomWalk("pixels", stride=4, head_depth=-1, propagation_options=exact)
    frame = torch.randint(256, (3, 16, 16), dtype=torch.uint8)
    mask = torch.zeros(16, 16, dtype=torch.uint8)
    mask[4:12, 4:12] = 1
    found = module.predict_step({"video": frame.expand(4, -1, -1, -1), "mask": mask[None]}, 0)["mask"]
    assert torch.equal(found, mask.expand(4, -1, -1))
