"""The classifier of emoji that ships with the package."""

import timm
import torch

from lightning_binding.data import EmojiDataModule


@torch.no_grad()
def test_it_tells_the_categories_of_held_out_emoji_apart() -> None:
    data = EmojiDataModule(skin_tones=False, eval_batch_size=512)
    network = timm.create_model("emoji_resnet", pretrained=True).eval()
    right, total = 0, 0
    counts = torch.zeros(data.num_classes)
    for batch in data.val_dataloader():
        right += int((network(batch["image"] / 127.5 - 1).argmax(dim=1) == batch["label"]).sum())
        total += len(batch["label"])
        counts += torch.bincount(batch["label"], minlength=data.num_classes)
    assert right / total > 0.55
    assert right / total > 2 * float(counts.max()) / total  # than always naming the largest category


def test_features_and_classes() -> None:
    network = timm.create_model("emoji_resnet", pretrained=True).eval()
    x = torch.randn(2, 3, 32, 32)
    assert network(x).shape == (2, 9)
    assert network.forward_head(network.forward_features(x), pre_logits=True).shape == (2, network.num_features)
    assert not torch.equal(network(x), timm.create_model("emoji_resnet").eval()(x))
