"""Random weights in the layout of the Inception file, which cannot be shipped."""

from pathlib import Path

import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from lightning_binding.metrics.extractors import INCEPTION_FILE


def random_weights(folder: Path) -> Path:
    """Writes the file and returns its path; its layers are those of torch-fidelity's own network."""
    path = folder / INCEPTION_FILE
    torch.save({}, path)
    load = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda self, *arguments, **options: None  # type: ignore[assignment,method-assign]
    try:  # the constructor wants weights to load; this one is built without
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    finally:
        torch.nn.Module.load_state_dict = load  # type: ignore[method-assign]
    torch.save(network.state_dict(), path)
    return path
