"""Reading data: every source becomes the same kind of data set, and what is missing is said."""

import contextlib
import os
import pickle
import struct
import subprocess
import sys
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets

from edgesim.data import Dataset, load_dataset
from edgesim.data.facts import SOURCES, TRANSFORMS, amount_of
from edgesim.errors import UserError
from edgesim.vision import vision


def real_data(name: str) -> Path:
    """A file of the folder with real data, or skip."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ["EDGESIM_DATA"]) if "EDGESIM_DATA" in os.environ else beside
    if not (folder / name).exists():
        pytest.skip(f"no {name}: set EDGESIM_DATA to the folder that holds it")
    return folder / name


def npz(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "file.npz", **arrays)
    return folder / "file.npz"


IMAGES = np.arange(4 * 6 * 5 * 3, dtype=np.uint8).reshape(4, 6, 5, 3)  # NHWC
LABELS = np.array([0, 1, 2, 1])
PARTS = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": LABELS[:2]}


def test_facts_load_neither_numpy_nor_torch():
    code = "import sys, edgesim.data.facts; print(sorted({'numpy', 'torch', 'sklearn'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("source", ["digits", "synthetic"])
def test_what_facts_promise_is_what_is_loaded(source):
    data, facts = load_dataset(source), SOURCES[source]
    assert (data.classes, data.sample_shape, data.kind) == (facts.classes, facts.sample_shape, facts.kind)
    assert data.default_test_share == facts.default_test_share
    assert (data.is_test is not None, data.group is not None) == (facts.has_test, facts.has_groups)


def test_severities_rise_from_what_changes_nothing():
    for name, facts in TRANSFORMS.items():
        amounts = [amount_of(name, severity) for severity in range(6)]
        assert amounts == [facts.neutral, *facts.severities]
        distances = [abs(amount - facts.neutral) for amount in amounts]
        assert distances == sorted(distances)
        assert len(set(distances)) == 6
        assert all(facts.low <= amount <= facts.high for amount in amounts)


def test_digits_are_those_of_scikit_learn_wherever_it_keeps_their_file(monkeypatch: pytest.MonkeyPatch):
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    found = [load_dataset("digits")]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found.append(load_dataset("digits"))
    for digits in found:
        assert np.array_equal(digits.x.reshape(-1, 64), x)
        assert np.array_equal(digits.y, y)
        assert (digits.x.dtype, digits.y.dtype) == (np.uint8, np.int64)


def test_digits_keep_their_bytes_and_are_scaled_to_one_when_used():
    digits = load_dataset("digits")
    assert len(digits) == 1797
    assert digits.x.dtype == np.uint8
    assert digits.sample_bytes == 64 + 1
    values = digits.features(np.arange(len(digits)))
    assert values.dtype == np.float32
    assert (values.min(), values.max()) == (0.0, 1.0)


def test_arrays_of_a_data_set_cannot_be_written_to():
    digits = load_dataset("digits")
    with pytest.raises(ValueError, match="read-only"):
        digits.x[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        digits.y[0] = 0


def test_the_fingerprint_follows_the_content_and_not_the_name():
    def make(name="a", x=IMAGES, y=LABELS, unit=255.0):
        return Dataset(name, x.transpose(0, 3, 1, 2), y, 3, "image", unit=unit)

    changed = IMAGES.copy()
    changed[0, 0, 0, 0] += 1
    assert make().fingerprint == make("b").fingerprint
    others = {
        make(x=changed).fingerprint,
        make(y=LABELS[::-1].copy()).fingerprint,
        make(unit=1.0).fingerprint,
        make().fingerprint,
    }
    assert len(others) == 4


def test_the_size_of_a_raw_sample_can_be_overridden():
    digits = load_dataset("digits")
    assert digits.wire_bytes() == 65
    assert digits.wire_bytes(sample_bytes=2000) == 2000
    assert digits.wire_bytes(codec_ratio=0.5) == 32 + 1
    assert digits.wire_bytes(codec_ratio=0.01) == 1 + 1
    with pytest.raises(UserError, match="keep one"):
        digits.wire_bytes(sample_bytes=1, codec_ratio=1.0)


def test_an_unknown_source_or_option_is_named_with_what_is_known():
    with pytest.raises(UserError, match="did you mean 'cifar10'"):
        load_dataset("cifar")
    with pytest.raises(UserError, match=r"has no option 'separation'.*did you mean 'separability'"):
        load_dataset("synthetic", separation=3)
    with pytest.raises(UserError, match="needs path"):
        load_dataset("npz")


# synthetic


def test_synthetic_data_is_the_same_for_the_same_options():
    one, again = load_dataset("synthetic", samples=100), load_dataset("synthetic", samples=100)
    assert one.fingerprint == again.fingerprint
    assert one.fingerprint != load_dataset("synthetic", samples=100, seed=1).fingerprint


def test_synthetic_data_has_any_shape_and_balanced_classes():
    images = load_dataset("synthetic", classes=7, samples=70, shape=[3, 4, 5])
    assert (images.kind, images.x.dtype, images.x.shape) == ("image", np.uint8, (70, 3, 4, 5))
    assert np.bincount(images.y).tolist() == [10] * 7
    vectors = load_dataset("synthetic", samples=20, shape=[2, 3], groups=4)
    assert (vectors.kind, vectors.x.shape) == ("vector", (20, 6))
    assert set(vectors.group.tolist()) <= set(range(4))


@pytest.mark.parametrize("size", [2, 200])
def test_two_synthetic_classes_are_as_hard_to_tell_apart_as_separability_says(size):
    # the best classifier errs with Phi(-distance / 2); averaged over data sets, for distances scatter
    gaps = []
    for seed in range(40):
        data = load_dataset("synthetic", classes=2, samples=400, shape=(size,), separability=3.0, seed=seed)
        gap = data.x[data.y == 0].mean(axis=0) - data.x[data.y == 1].mean(axis=0)
        gaps.append(float((gap**2).sum()) - 2 * size / 200)  # minus the noise of two means of 200 samples
    assert np.sqrt(np.mean(gaps)) == pytest.approx(3.0, rel=0.25 if size == 2 else 0.05)


def test_impossible_synthetic_data_is_refused():
    with pytest.raises(UserError, match="at least 2 classes"):
        load_dataset("synthetic", classes=1)


# npz


def test_images_of_an_npz_come_channels_first_whatever_their_layout(tmp_path):
    last = load_dataset("npz", path=npz(tmp_path, x=IMAGES, y=LABELS))
    first = load_dataset("npz", path=npz(tmp_path, x=IMAGES.transpose(0, 3, 1, 2), y=LABELS))
    assert last.sample_shape == (3, 6, 5)
    assert last.fingerprint == first.fingerprint
    assert last.features(np.array([3]))[0, 2, 5, 4] == np.float32(IMAGES[3, 5, 4, 2]) / np.float32(255)


def test_grey_images_get_one_channel_and_integers_their_own_range(tmp_path):
    grey = load_dataset("npz", path=npz(tmp_path, x=np.array([[[-128, 127]]], np.int8), y=[0]))
    assert grey.sample_shape == (1, 1, 2)
    assert grey.features(np.array([0])).ravel().tolist() == [0.0, 1.0]
    assert grey.sample_bytes == 2 + 1


@pytest.mark.parametrize("wide", [">f8", "<f8", "longdouble"])
def test_floats_wider_than_32_bits_are_kept_in_32(tmp_path, wide):
    images = load_dataset("npz", path=npz(tmp_path, x=(IMAGES / 255).astype(wide), y=LABELS))
    assert images.x.dtype == np.float32
    assert images.sample_bytes == 3 * 6 * 5 * 4 + 1


def test_an_npz_with_train_and_test_parts_has_an_official_split(tmp_path):
    path = npz(
        tmp_path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2], who_train=[5, 5, 9, 9],
        who_test=[1, 1],
    )  # fmt: skip
    data = load_dataset("npz", path=path, group="who")
    assert data.is_test.tolist() == [False] * 4 + [True] * 2
    assert data.group.tolist() == [5, 5, 9, 9, 1, 1]


def test_names_of_classes_are_taken_where_they_fit(tmp_path):
    fitting = load_dataset("npz", path=npz(tmp_path, x=IMAGES, y=LABELS, classes=["a", "b", "c"]))
    assert fitting.class_names == ("a", "b", "c")
    longer = npz(tmp_path, x=IMAGES, y=LABELS, classes=["a", "b", "c", "d"])
    assert load_dataset("npz", path=longer).classes == 3
    assert load_dataset("npz", path=longer, class_names="classes").classes == 4


def test_text_or_gappy_labels_are_refused_unless_they_may_be_renamed(tmp_path):
    for labels in (["x", "y", "z", "y"], [1, 2, 3, 2], [0, 5, 9, 5], [0.5, 1, 2, 1], [-1, 0, 1, 0]):
        path = npz(tmp_path, x=IMAGES, y=labels)
        with pytest.raises(UserError, match="remap_labels"):
            load_dataset("npz", path=path)
        data = load_dataset("npz", path=path, remap_labels=True)
        assert data.y.tolist() == [0, 1, 2, 1]
        assert data.class_names[1] == str(np.unique(labels)[1])


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": IMAGES, "y": LABELS}, {"x": "pictures"}, "neither 'pictures' nor 'pictures_train'.*holds: x, y"),
        ({"x": IMAGES[:3], "y": LABELS}, {}, "3 samples and 'y' 4 labels"),
        ({"x": IMAGES[:, :, :, :2], "y": LABELS}, {}, "which side holds the channels"),
        ({"x": IMAGES.astype(np.float32), "y": LABELS}, {}, r"value_range: \[0, 255\]"),
        ({"x": IMAGES, "y": LABELS}, {"value_range": [1, 1]}, "two rising numbers"),
        ({"x": np.array([[1.0, np.nan]]), "y": [0]}, {}, "NaN"),
        ({"x": np.array([["a"]]), "y": [0]}, {}, "numbers are needed"),
        ({"x": IMAGES, "y": LABELS}, {"class_names": "names"}, "holds no 'names'"),
        ({"x": np.array([{}], dtype=object), "y": [0]}, {}, "cannot be read"),
        ({"x_train": IMAGES, "y": LABELS, "x_test": IMAGES}, {}, "only one of them has a test part|8 samples"),
        (PARTS | {"y_train": LABELS[:3], "y_test": LABELS[:3]}, {}, "'y_train' and 'y_test' have 3 and 3 samples"),
        (PARTS | {"g_train": LABELS[:3], "g_test": LABELS[:3]}, {"group": "g"}, "'g_train' and 'g_test' have 3 and 3"),
        ({"x": IMAGES[:0] / 255, "y": LABELS[:0]}, {}, "no samples, or samples of no features"),
        ({"x": np.zeros((4, 0)), "y": LABELS}, {}, "no samples, or samples of no features"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_told_apart(tmp_path, arrays, options, message):
    with pytest.raises(UserError, match=message):
        load_dataset("npz", path=npz(tmp_path, **arrays), **options)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_damaged_npz_is_told_by_name(tmp_path, compressed):
    path = tmp_path / "damaged.npz"
    x = np.random.default_rng(0).random((100, 5))
    (np.savez_compressed if compressed else np.savez)(path, x=x, y=np.arange(100) % 2)
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(UserError):  # some bytes nobody reads
            load_dataset("npz", path=path)
    for length in range(0, len(whole), 397):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"damaged\.npz cannot be read"):
            load_dataset("npz", path=path)


def test_floats_get_the_range_that_is_given(tmp_path):
    path = npz(tmp_path, x=np.array([[[-1.0, 3.0]]]), y=[0])
    assert load_dataset("npz", path=path, value_range=[-1, 3]).features(np.array([0])).ravel().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "options", "samples", "shape", "classes", "tests"),
    [
        ("mnist.npz", {}, 70_000, (1, 28, 28), 10, 10_000),
        ("cifar10.npz", {}, 25_000, (3, 32, 32), 10, 5_000),
        ("cifar100.npz", {}, 25_000, (3, 32, 32), 100, 5_000),
        ("cifar100.npz", {"y": "y_coarse", "class_names": "coarse_classes"}, 25_000, (3, 32, 32), 20, 5_000),
        ("har.npz", {"group": "subject"}, 10_299, (561,), 6, 2_947),
        ("kws_mfcc.npz", {}, 1_000, (1, 49, 10), 12, None),
    ],
)
def test_real_files_are_understood_without_help(name, options, samples, shape, classes, tests):
    data = load_dataset("npz", path=real_data(name), **options)
    assert (len(data), data.sample_shape, data.classes) == (samples, shape, classes)
    assert (None if data.is_test is None else int(data.is_test.sum())) == tests


# files of their own


def test_missing_files_are_named_together_with_what_to_do(tmp_path):
    for source in ("mnist", "cifar10", "cifar100"):
        with pytest.raises(UserError, match=f"(?s){tmp_path}.*download: true"):
            load_dataset(source, path=tmp_path)
    with pytest.raises(UserError, match=r"X_train\.txt is missing.*UCI HAR Dataset"):
        load_dataset("uci_har", path=tmp_path)


def test_mnist_is_read_from_its_official_files(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 3), ("t10k", 2)):
        pixels = np.full((count, 28, 28), 7 * count, np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + bytes(range(count)))
    data = load_dataset("mnist", path=tmp_path)
    assert data.x.shape == (5, 1, 28, 28)
    assert data.y.tolist() == [0, 1, 2, 0, 1]
    assert data.is_test.tolist() == [False, False, False, True, True]
    assert (data.x[0, 0, 0, 0], data.x[4, 0, 0, 0]) == (21, 14)
    assert data.classes == SOURCES["mnist"].classes


@pytest.mark.parametrize(("source", "reader"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar_is_read_from_its_official_files(tmp_path, monkeypatch, source, reader):
    make = getattr(vision("datasets"), reader)
    folder = tmp_path / make.base_folder
    folder.mkdir()
    names = [str(label) for label in range(SOURCES[source].classes)]

    def write(name: str, content: dict[str, object]) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return md5((folder / name).read_bytes()).hexdigest()

    def batch(value: int) -> dict[str, object]:
        pixels = np.arange(3 * 32 * 32).reshape(1, -1) % 100 + value
        return {"data": pixels.astype(np.uint8), "labels": [value], "fine_labels": [value]}

    parts = {"train_list": [write("one", batch(1)), write("two", batch(2))], "test_list": [write("three", batch(3))]}
    files = iter(("one", "two", "three"))
    for attribute, sums in parts.items():
        monkeypatch.setattr(make, attribute, [[next(files), checksum] for checksum in sums])
    key = make.meta["key"]
    monkeypatch.setattr(make, "meta", {"filename": "meta", "key": key, "md5": write("meta", {key: names})})

    data = load_dataset(source, path=tmp_path)
    assert data.y.tolist() == [1, 2, 3]
    assert data.is_test.tolist() == [False, False, True]
    assert data.x[2].ravel().tolist() == (np.arange(3 * 32 * 32) % 100 + 3).tolist()
    assert (data.sample_shape, data.classes) == (SOURCES[source].sample_shape, SOURCES[source].classes)


def test_har_is_read_from_its_official_folder_with_people_as_groups(tmp_path):
    root = tmp_path / "UCI HAR Dataset"
    for part, people in (("train", [1, 3]), ("test", [2])):
        (root / part).mkdir(parents=True)
        np.savetxt(root / part / f"X_{part}.txt", np.full((len(people), 561), 0.25 * people[0]))
        np.savetxt(root / part / f"y_{part}.txt", [1 + p for p in people], fmt="%d")
        np.savetxt(root / part / f"subject_{part}.txt", people, fmt="%d")
    names = ("WALKING", "UP", "DOWN", "SITTING", "STANDING", "LAYING")
    (root / "activity_labels.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(names, 1)))
    data = load_dataset("uci_har", path=tmp_path)
    assert data.fingerprint == load_dataset("uci_har", path=root).fingerprint
    assert data.y.tolist() == [1, 3, 2]
    assert data.group.tolist() == [1, 3, 2]
    assert data.is_test.tolist() == [False, False, True]
    assert data.class_names == names
    assert data.x[2, 560] == np.float32(0.5)
