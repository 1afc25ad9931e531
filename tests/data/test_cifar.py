"""CIFAR-10 in both official layouts, made here; pickles that do more than hold arrays are refused."""

import pickle
import struct

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from lightning_binding import InputError
from lightning_binding.data import CIFAR10DataModule
from lightning_binding.data.safe_pickle import load_arrays

BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
EACH = 4


@pytest.fixture(scope="module")
def batches():
    random = np.random.default_rng(0)
    return {b: (random.integers(0, 256, (EACH, 3072), np.uint8), random.integers(0, 10, EACH)) for b in BATCHES}


def python_2_pickle(images, labels):
    """A batch byte by byte as Python 2 and NumPy 1 pickled it: byte strings, and NumPy's old module names."""

    def string(text):
        return b"U" + bytes([len(text)]) + text

    def number(value):
        return b"J" + struct.pack("<i", value)

    shape = number(images.shape[0]) + number(images.shape[1]) + b"\x86"
    dtype = b"cnumpy\ndtype\n" + string(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + string(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + string(b"b") + b"\x87R"
    array += b"(" + number(1) + shape + dtype + b"\x89" + b"T" + struct.pack("<i", images.size) + images.tobytes()
    array += b"tb"
    listed = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return b"\x80\x02}" + string(b"data") + array + b"s" + string(b"labels") + listed + b"s."


def write(root, batches, version):
    folder = root / f"cifar-10-batches-{version}"
    folder.mkdir(parents=True)
    for name, (images, labels) in batches.items():
        if version == "py":
            (folder / name).write_bytes(python_2_pickle(images, labels))
        else:
            (folder / f"{name}.bin").write_bytes(np.column_stack([labels.astype(np.uint8), images]).tobytes())
    return folder


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("version", ["py", "bin"])
def test_both_versions(tmp_path, batches, version, inside):
    folder = write(tmp_path, batches, version)
    data = CIFAR10DataModule(str(folder if inside else tmp_path), batch_size=3)
    data.setup("fit")
    for loader, names in ((data.reference_dataloader(), BATCHES[:5]), (data.test_dataloader(), BATCHES[5:])):
        image = torch.cat([b["image"] for b in loader]).numpy()
        label = torch.cat([b["label"] for b in loader]).numpy()
        np.testing.assert_array_equal(image.reshape(-1, 3072), np.concatenate([batches[n][0] for n in names]))
        np.testing.assert_array_equal(label, np.concatenate([batches[n][1] for n in names]))
    assert data.num_classes == 10
    assert data.class_names[3] == "cat"


def test_training_images_are_the_images_or_their_mirrors(tmp_path, batches):
    write(tmp_path, batches, "bin")
    data = CIFAR10DataModule(str(tmp_path), seed=4)
    train, reference = data.train_set(), data.reference_set()
    mirrored = 0
    for epoch in range(10):
        a = train.__getitems__([(i, epoch) for i in range(20)])["image"]
        b = reference.__getitems__(range(20))["image"]
        same, mirror = ((a == x).flatten(1).all(1) for x in (b, b.flip(-1)))
        assert (same ^ mirror).all()
        mirrored += int(mirror.sum())
    assert 65 < mirrored < 135


def test_another_size_averages_boxes(tmp_path, batches):
    write(tmp_path, batches, "bin")
    small = CIFAR10DataModule(str(tmp_path), image_size=16).eval_set().image.double()
    full = torch.from_numpy(batches["test_batch"][0]).reshape(-1, 3, 16, 2, 16, 2).double()
    assert (small - full.mean((3, 5))).abs().max() <= 0.5


def test_missing(tmp_path):
    message = r"no CIFAR-10 in .*: neither cifar-10-batches-py nor cifar-10-batches-bin\..* download: true"
    with pytest.raises(InputError, match=message):
        CIFAR10DataModule(str(tmp_path)).setup("fit")


def test_a_batch_is_missing(tmp_path, batches):
    (write(tmp_path, batches, "py") / "data_batch_3").unlink()
    with pytest.raises(InputError, match=r"lacks data_batch_3; unpack CIFAR-10 again"):
        CIFAR10DataModule(str(tmp_path)).train_set()


@pytest.mark.parametrize("version", ["py", "bin"])
def test_a_truncated_batch(tmp_path, batches, version):
    file = next(write(tmp_path, batches, version).glob("test_batch*"))
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"test_batch.* is not a batch of CIFAR-10"):
        CIFAR10DataModule(str(tmp_path)).eval_set()


def test_labels_outside_the_classes(tmp_path, batches):
    file = write(tmp_path, batches, "bin") / "test_batch.bin"
    file.write_bytes(bytes([10]) + file.read_bytes()[1:])
    with pytest.raises(InputError, match="its labels do not fit"):
        CIFAR10DataModule(str(tmp_path)).eval_set()


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, batches):
    trace = tmp_path / "ran"
    file = write(tmp_path, batches, "py") / "test_batch"
    file.write_bytes(pickle.dumps({b"data": Attack(str(trace))}, protocol=2))
    with pytest.raises(InputError, match=r"it asks for .*io\.open, which arrays do not need|__builtin__"):
        CIFAR10DataModule(str(tmp_path)).eval_set()
    assert not trace.exists()


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_of_any_protocol_are_read(protocol):
    batch = {b"data": np.arange(12, dtype=np.uint8).reshape(3, 4), b"labels": [1, 2, 3], b"label": b"batch"}
    back = load_arrays(pickle.dumps(batch, protocol=protocol))
    assert back[b"labels"] == [1, 2, 3]
    np.testing.assert_array_equal(back[b"data"], batch[b"data"])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([None, {}]), "array of objects"),
        (np.array(["a"]), "which are no numbers"),
        (np.zeros(2, "i4,i4"), "V8"),
    ],
)
def test_arrays_of_other_things_are_refused(array, message):
    with pytest.raises(pickle.UnpicklingError, match=message):
        load_arrays(pickle.dumps({b"data": array}, protocol=2))


def test_orders_are_kept():
    for array in (np.arange(12, dtype=">i4").reshape(3, 4), np.asfortranarray(np.arange(6.0).reshape(2, 3))):
        np.testing.assert_array_equal(load_arrays(pickle.dumps({0: array}, protocol=4))[0], array, strict=True)


def test_a_download_that_fails_says_so(tmp_path, monkeypatch):
    def fail(root, download):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fail)
    with pytest.raises(InputError, match=r"could not be downloaded to .* \(no network\); unpack cifar-10-python"):
        CIFAR10DataModule(str(tmp_path), download=True).prepare_data()


def test_nothing_is_downloaded_where_it_is(tmp_path, batches, monkeypatch):
    write(tmp_path, batches, "bin")
    monkeypatch.setattr("torchvision.datasets.CIFAR10", None)
    data = CIFAR10DataModule(str(tmp_path), download=True)
    data.prepare_data()
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    data.setup("fit")
    assert len(data.train_dataloader()) == 1
