"""The Fréchet distance: closed forms, other implementations on the same features, and any split of the data."""

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from lightning_binding import InputError
from lightning_binding.metrics import FrechetDistance, frechet_distance


class Pooled(nn.Module):
    """A fixed random extractor: uint8 pictures to 24 features."""

    num_features = 24

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("weight", torch.randn(24, 3 * 64, generator=generator).double() / 10)

    def forward(self, images: Tensor) -> Tensor:  # in float64, so that the size of a batch changes no feature
        return torch.tanh(images.double().flatten(1) / 127.5 - 1) @ self.weight.double().T  # type: ignore[operator]


def pictures(count: int, seed: int, shift: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(200, (count, 3, 8, 8), generator=generator) + shift).to(torch.uint8)


def gaussian(dim: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(dim, dim, dtype=torch.float64, generator=generator)
    return torch.randn(dim, dtype=torch.float64, generator=generator), factor @ factor.T


def test_closed_form_of_commuting_gaussians() -> None:
    mu_1, mu_2 = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([0.0, 2.0, 3.0])
    a, b = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([4.0, 4.0, 0.0])  # one has no variance in a direction
    expected = (mu_1 - mu_2).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert frechet_distance(mu_1, a.diag(), mu_2, b.diag()) == pytest.approx(float(expected), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(dim=st.integers(1, 12), seed=st.integers(0, 1000))
def test_symmetric_and_zero_for_equals_and_as_the_unsymmetric_root(dim: int, seed: int) -> None:
    first, second = gaussian(dim, seed), gaussian(dim, seed + 1)
    distance = frechet_distance(*first, *second)
    assert distance == pytest.approx(float(frechet_distance(*second, *first)), rel=1e-9, abs=1e-9)
    assert float(frechet_distance(*first, *first)) == pytest.approx(0, abs=1e-7 * float(first[1].trace()))
    root = torch.linalg.eigvals(first[1] @ second[1]).sqrt().real.sum()
    expected = (first[0] - second[0]).square().sum() + first[1].trace() + second[1].trace() - 2 * root
    assert distance == pytest.approx(float(expected), rel=1e-6, abs=1e-6)


def test_less_than_full_rank_is_no_special_case() -> None:
    metric = FrechetDistance(Pooled())
    metric.update(pictures(5, 0), real=True)
    metric.update(pictures(4, 1, shift=30), real=False)
    distance = metric.compute()
    assert torch.isfinite(distance)
    assert distance > 0


def both(metric: FrechetDistance | FrechetInceptionDistance, size: int = 50) -> float:
    for batch in pictures(300, 0).split(size):
        metric.update(batch, real=True)
    for batch in pictures(260, 1, shift=20).split(size):
        metric.update(batch, real=False)
    return float(metric.compute())


def test_agrees_with_torchmetrics_on_the_same_extractor() -> None:
    theirs = FrechetInceptionDistance(feature=Pooled(), normalize=False)
    theirs.set_dtype(torch.float64)
    assert both(FrechetDistance(Pooled())) == pytest.approx(both(theirs), rel=1e-6)


def test_agrees_with_torch_fidelity_on_the_same_pictures_and_extractor() -> None:
    import torch_fidelity
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Registered(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **options: object) -> None:
            super().__init__(name, features_list)
            self.pooled = Pooled()

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("24",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "24"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        @staticmethod
        def get_dummy_input_for_compile() -> None:
            return None

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            return (self.pooled(images),)

    class Stored(torch.utils.data.Dataset[Tensor]):
        def __init__(self, images: Tensor) -> None:
            self.images = images

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> Tensor:
            return self.images[index]

    torch_fidelity.register_feature_extractor("pooled", Registered)
    common: dict[str, Any] = {
        "input1": Stored(pictures(300, 0)),
        "input2": Stored(pictures(260, 1, shift=20)),
        "feature_extractor": "pooled",
        "feature_layer_fid": "24",
        "feature_layer_kid": "24",
        "feature_layer_isc": "24",
        "cuda": False,
        "verbose": False,
        "save_cpu_ram": True,
        "cache": False,
    }
    theirs = torch_fidelity.calculate_metrics(**common, fid=True)
    assert both(FrechetDistance(Pooled())) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    features = {real: Pooled()(images) for real, images in ((True, pictures(300, 0)), (False, pictures(260, 1, 20)))}
    kernel = KernelInceptionDistance(nn.Identity(), subsets=1, subset_size=260)
    score = InceptionScore(nn.Identity(), splits=1)
    for real, values in features.items():
        kernel.update(values, real=real)
    score.update(features[True])
    subset = torch_fidelity.calculate_metrics(
        **common, kid=True, kid_subsets=1, kid_subset_size=260, isc=True, isc_splits=1
    )
    assert float(score.compute()[0]) == pytest.approx(subset["inception_score_mean"], rel=1e-5)
    # 260 of 300 are drawn at random, by each in its own way: all 260 generated ones are, so the rest differs little
    assert float(kernel.compute()[0]) == pytest.approx(subset["kernel_inception_distance_mean"], rel=0.05)


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 300), block=st.integers(1, 400))
def test_batches_and_buffer_do_not_matter(size: int, block: int) -> None:
    from lightning_binding.metrics import streaming

    expected = both(FrechetDistance(Pooled()), 300)
    before = streaming.BLOCK
    streaming.BLOCK = block
    try:
        assert both(FrechetDistance(Pooled()), size) == pytest.approx(expected, rel=1e-10)
    finally:
        streaming.BLOCK = before


def test_what_waits_is_in_copies_pickles_and_states() -> None:
    metric = FrechetDistance(Pooled())
    expected = both(FrechetDistance(Pooled()))
    for batch in pictures(300, 0).split(50):
        metric.update(batch, real=True)
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
        other.update(pictures(260, 1, shift=20), real=False)
        assert float(other.compute()) == pytest.approx(expected, rel=1e-12)


def test_features_count_as_an_update() -> None:
    metric = FrechetDistance(Pooled())
    real, fake = Pooled()(pictures(300, 0)), Pooled()(pictures(260, 1, shift=20))
    metric.update_features(real, real=True)
    metric.update_features(fake[:100], real=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torchmetrics warns where there was no update
        first = float(metric.compute())
    metric.update_features(fake[100:], real=False)
    assert float(metric.compute()) == pytest.approx(both(FrechetDistance(Pooled())), rel=1e-10)
    assert float(metric.compute()) != pytest.approx(first, rel=1e-3)


def test_the_real_side_outlives_a_reset_and_a_file(tmp_path: Path) -> None:
    metric = FrechetDistance(Pooled(), reset_real_features=False)
    expected = both(metric)
    metric.reset()
    metric.update(pictures(260, 1, shift=20), real=False)
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-12)
    metric.save_real(tmp_path / "real.safetensors")
    again = FrechetDistance(Pooled())
    again.load_real(tmp_path / "real.safetensors")
    again.update(pictures(260, 1, shift=20), real=False)
    assert float(again.compute()) == pytest.approx(expected, rel=1e-12)
    metric = FrechetDistance(Pooled())
    both(metric)
    metric.reset()
    with pytest.raises(InputError, match="one side has 0"):
        metric.compute()


def _rank(rank: int, world: int) -> float:
    metric = FrechetDistance(Pooled())
    metric.update(pictures(300, 0)[: 299 if rank == 0 else None][0 if rank == 0 else 299 :], real=True)  # 299 and 1
    if rank == 0:  # the second process has nothing on this side
        metric.update(pictures(260, 1, shift=20), real=False)
    return float(metric.compute())


def test_uneven_processes_give_the_same_as_one(gloo) -> None:  # type: ignore[no-untyped-def]
    expected = both(FrechetDistance(Pooled()))
    for value in gloo(_rank):
        assert value == pytest.approx(expected, rel=1e-10)


def test_unusable_features() -> None:
    metric = FrechetDistance(nn.Identity())
    with pytest.raises(InputError, match=r"expected \(N, d\)"):
        metric.update(torch.zeros(2, 3, 4, 4), real=True)
    with pytest.raises(InputError, match="not finite"):
        metric.update(torch.full((2, 3), float("nan")), real=True)
    metric.update(torch.zeros(1, 3), real=True)
    with pytest.raises(InputError, match="one side has 1"):
        metric.compute()


def test_what_a_device_was_not_asked_about_is_looked_at_before_it_counts() -> None:
    metric = FrechetDistance(nn.Identity())
    metric.update_features(torch.randn(10, 3), real=True)
    metric.flush()
    metric._waiting["real"].append(torch.full((2, 3), float("nan")))  # as an update on a GPU leaves them
    with pytest.raises(InputError, match="not finite"):
        metric.compute()
    assert int(metric.real_count) == 10
    assert metric.real_sum.isfinite().all()


def test_damaged_statistics(tmp_path: Path) -> None:
    (tmp_path / "real.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="delete it"):
        FrechetDistance(Pooled()).load_real(tmp_path / "real.safetensors")
