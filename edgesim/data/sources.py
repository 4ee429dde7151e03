"""Data sources by name: embedded, torchvision's readers, the UCI HAR folder, synthetic (``npz`` is apart)."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edgesim.data import facts
from edgesim.data.dataset import Dataset
from edgesim.data.npz import load_npz
from edgesim.errors import UserError
from edgesim.seeds import stream

if TYPE_CHECKING:
    import numpy.typing as npt


def load_dataset(source: str, **options: object) -> Dataset:
    """Load a data set by the name of its source.

    Parameters
    ----------
    source
        A key of ``edgesim.data.facts.SOURCES``.
    **options
        The options of that source, the parameters of its reader below: ``path`` and ``download`` for files,
        ``samples``, ``classes``, ``shape``, ... for ``synthetic``, the array names for ``npz``.

    Raises
    ------
    UserError
        Unknown source or option, missing files, arrays that do not fit together.

    Examples
    --------
    >>> load_dataset("digits")
    Dataset('digits', 1797 samples of (1, 8, 8) uint8, 10 classes)
    """
    if source not in _READERS:
        raise UserError(f"data source {source!r} is unknown{_did_you_mean(source, _READERS)}")
    reader = _READERS[source]
    known = inspect.signature(reader).parameters
    for option in options:
        if option not in known:
            raise UserError(f"data source {source!r} has no option {option!r}{_did_you_mean(option, known)}")
    missing = [name for name, p in known.items() if p.default is p.empty and name not in options]
    if missing:
        raise UserError(f"data source {source!r} needs {', '.join(missing)}")
    return reader(**options)


def load_digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits (UCI optical digits, test part): 1 x 8 x 8, values 0 to 16."""
    rows = _digits()  # (sample, 64 pixels and the label)
    return Dataset(
        name="digits",
        x=rows[:, :-1].reshape(-1, 1, 8, 8),
        y=rows[:, -1].astype(np.int64),
        classes=10,
        kind="image",
        unit=16.0,
        default_test_share=facts.SOURCES["digits"].default_test_share,
    )


def _digits() -> npt.NDArray[np.uint8]:
    """The rows of scikit-learn's file, which is read without importing scikit-learn: that would take a second."""
    package = importlib.util.find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        if (file := Path(folder) / "datasets" / "data" / "digits.csv.gz").is_file():
            return np.loadtxt(file, delimiter=",", dtype=np.uint8)
    from sklearn.datasets import load_digits as embedded  # where a version of it keeps the file elsewhere

    return np.column_stack(embedded(return_X_y=True)).astype(np.uint8)


def load_mnist(path: str | Path, download: bool = False) -> Dataset:
    """MNIST (LeCun, Cortes, Burges): 60,000 + 10,000 images of 1 x 28 x 28, from torchvision's folder."""
    return _from_torchvision("MNIST", path, download)


def load_cifar10(path: str | Path, download: bool = False) -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 images of 3 x 32 x 32, from torchvision's folder."""
    return _from_torchvision("CIFAR10", path, download)


def load_cifar100(path: str | Path, download: bool = False) -> Dataset:
    """CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 images of 3 x 32 x 32, fine labels."""
    return _from_torchvision("CIFAR100", path, download)


def _from_torchvision(reader: str, path: str | Path, download: bool) -> Dataset:
    from edgesim.vision import vision

    root = Path(path).expanduser()
    make = getattr(vision("datasets"), reader)
    try:
        parts = [make(str(root), train=train, download=download) for train in (True, False)]
    except RuntimeError as error:  # torchvision's way to say that files are absent or damaged
        raise UserError(
            f"data source {reader.lower()}: no usable {reader} files below {root} "
            f"(wanted: {_wanted_files(make, root)}). Put them there, or write `download: true` under `data`. "
            f"torchvision says: {error}"
        ) from error
    except OSError as error:
        raise UserError(f"data source {reader.lower()}: downloading to {root} failed: {error}") from error
    x = np.concatenate([np.asarray(part.data) for part in parts])
    y = np.concatenate([np.asarray(part.targets, dtype=np.int64) for part in parts])
    x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
    return Dataset(
        name=reader.lower(),
        x=x,
        y=y,
        classes=len(parts[0].classes),
        kind="image",
        class_names=tuple(str(name) for name in parts[0].classes),
        is_test=np.repeat([False, True], [len(part.targets) for part in parts]),
        unit=255.0,
    )


def _wanted_files(reader: type, root: Path) -> str:
    folder = getattr(reader, "base_folder", None)
    return str(root / folder) if folder else str(root / reader.__name__ / "raw")


def load_uci_har(path: str | Path) -> Dataset:
    """UCI HAR (Anguita et al., ESANN 2013): 561 features of 30 people's phones, from the official folder.

    ``path`` is the unpacked ``UCI HAR Dataset`` folder or the folder that holds it. Groups are the people.
    """
    asked = Path(path).expanduser()
    root = asked if (asked / "train").is_dir() else asked / "UCI HAR Dataset"
    parts: dict[str, list[npt.NDArray[np.float64]]] = {"X": [], "y": [], "subject": []}
    for split in ("train", "test"):
        for what, arrays in parts.items():
            file = root / split / f"{what}_{split}.txt"
            if not file.is_file():
                raise UserError(
                    f"data source uci_har: {file} is missing. `path` must be the unpacked official folder "
                    "'UCI HAR Dataset' (archive.ics.uci.edu, data set 240) with train/X_train.txt, "
                    "train/y_train.txt, train/subject_train.txt and the same three under test/"
                )
            arrays.append(np.loadtxt(file, ndmin=2 if what == "X" else 1))
    names_file = root / "activity_labels.txt"
    names = (
        tuple(line.split()[1] for line in names_file.read_text().splitlines() if line.strip())
        if names_file.is_file()
        else ()
    )
    x = np.concatenate(parts["X"]).astype(np.float32)
    return Dataset(
        name="uci_har",
        x=x,
        y=np.concatenate(parts["y"]).astype(np.int64) - 1,  # the files count activities from 1
        classes=6,
        kind="vector",
        class_names=names,
        group=np.concatenate(parts["subject"]).astype(np.int64),
        is_test=np.repeat([False, True], [len(part) for part in parts["y"]]),
    )


def synthetic(
    classes: int = facts.SYNTHETIC_CLASSES,
    samples: int = facts.SYNTHETIC_SAMPLES,
    shape: tuple[int, ...] | list[int] = facts.SYNTHETIC_SHAPE,
    separability: float = facts.SYNTHETIC_SEPARABILITY,
    groups: int = 0,
    group_shift: float = 1.0,
    seed: int = 0,
) -> Dataset:
    """Gaussian class prototypes with unit noise, the same for the same options in every process.

    Parameters
    ----------
    classes, samples
        How many; classes are as equally large as can be.
    shape
        Shape of a sample; three dimensions (channels, height, width) make uint8 images, any others vectors.
    separability
        Expected distance between two prototypes in standard deviations of the noise, whatever the shape. Two
        classes at distance s are told apart by the best classifier with error Phi(-s / 2).
    groups
        Number of natural groups (0: none). Every group has its own offset ...
    group_shift
        ... whose expected length is this many standard deviations of the noise.
    seed
        Names the data set; independent of a run's seed.
    """
    size = math.prod(shape)
    if classes < 2 or samples < classes or size < 1 or separability < 0 or groups < 0:
        raise UserError(
            "synthetic data: needs at least 2 classes, a sample a class, a shape without zeros and no "
            f"negative separability; found classes={classes}, samples={samples}, shape={tuple(shape)}, "
            f"separability={separability}, groups={groups}"
        )
    random = stream(seed, "synthetic", classes, samples, *shape, groups)
    prototypes = random.standard_normal((classes, size)) * (separability / math.sqrt(2 * size))
    y = random.permutation(np.arange(samples, dtype=np.int64) % classes)
    values = (prototypes[y] + random.standard_normal((samples, size))).astype(np.float32)
    group = None
    if groups:
        group = random.integers(0, groups, samples)
        offsets = random.standard_normal((groups, size)) * (group_shift / math.sqrt(size))
        values += offsets[group].astype(np.float32)
    name = f"synthetic({classes} classes, separability {separability:g}, seed {seed})"
    held_out = facts.SOURCES["synthetic"].default_test_share
    if len(shape) != 3:
        x = values.reshape(samples, size)
        return Dataset(name, x, y, classes, "vector", group=group, default_test_share=held_out)
    # one standard deviation of the noise is 32 grey levels around the middle
    pixels = np.clip(np.rint(values * 32 + 128), 0, 255).astype(np.uint8).reshape(samples, *shape)
    return Dataset(name, pixels, y, classes, "image", group=group, unit=255.0, default_test_share=held_out)


def _did_you_mean(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else f" (known: {', '.join(sorted(known))})"


_READERS: Mapping[str, Callable[..., Dataset]] = MappingProxyType(
    {
        "digits": load_digits,
        "mnist": load_mnist,
        "cifar10": load_cifar10,
        "cifar100": load_cifar100,
        "uci_har": load_uci_har,
        "npz": load_npz,
        "synthetic": synthetic,
    }
)
