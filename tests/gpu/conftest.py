"""A GPU for the tests that ask for one: `CUDA_VISIBLE_DEVICES=0 pytest -m gpu`, or `tox -e gpu`."""

import pytest
import torch


@pytest.fixture
def cuda() -> torch.device:
    """The device; these tests are asked for by their marker, so its absence is an error."""
    if not torch.cuda.is_available():
        pytest.fail("torch sees no GPU, which the tests marked gpu need: CUDA_VISIBLE_DEVICES=0 pytest -m gpu")
    torch.backends.cudnn.allow_tf32 = False  # else convolutions have ten bits
    return torch.device("cuda")
