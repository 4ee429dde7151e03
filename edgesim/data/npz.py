"""The reader of ``npz`` files: any arrays a user has, brought to edgesim's layout, every guess checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgesim.data.dataset import Dataset
from edgesim.data.facts import Kind
from edgesim.errors import UserError

Array = npt.NDArray[np.generic]


def load_npz(
    path: str | Path,
    x: str = "x",
    y: str = "y",
    group: str | None = None,
    class_names: str | None = None,
    layout: Literal["auto", "nchw", "nhwc"] = "auto",
    value_range: Sequence[float] | None = None,
    remap_labels: bool = False,
) -> Dataset:
    """Read a data set from an ``.npz`` file (or a folder's one, never unpickling anything).

    Parameters
    ----------
    path
        The file.
    x, y, group
        Names of the arrays. For each name ``n`` the file holds either ``n``, or ``n_train`` and, where there
        is an official test split, ``n_test``.
    class_names
        Name of an array of class names. Left out, ``classes`` is taken where it has one name a label.
    layout
        Of 4-dimensional arrays. ``auto`` takes the one side of length 1, 3 or 4 as the channels.
    value_range
        The two stored values that stand for 0 and 1 in images. Default: 0 and 255 for uint8, the type's whole
        range for other integers, 0 and 1 for floats.
    remap_labels
        Rename labels (numbers or text) to 0, 1, ... in sorted order. Without it such labels are refused.

    Notes
    -----
    Two-dimensional arrays are vectors (kept as float32), three-dimensional ones images with one channel.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"data source npz: no file {file}")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            names = set(archive.files)
            stored_x, is_test = _joined(archive, names, x, file)
            stored_y, y_test = _joined(archive, names, y, file)
            groups, group_test = _joined(archive, names, group, file) if group is not None else (None, None)
            class_names_found = _names(archive, names, class_names, file)
    except UserError:
        raise
    except Exception as error:  # a damaged archive, pickled objects, a plain .npy: NumPy raises nearly anything
        raise UserError(f"data source npz: {file} cannot be read: {error}") from error
    _check_parts(file, (x, is_test), (y, y_test))
    _check_parts(file, (x, is_test), (group, group_test))
    if (is_test is None) != (y_test is None) or len(stored_x) != len(stored_y):
        raise UserError(
            f"data source npz: {file}: {x!r} has {len(stored_x)} samples and {y!r} {len(stored_y)} labels, "
            "or only one of them has a test part"
        )
    if not stored_x.size:
        raise UserError(
            f"data source npz: {file}: {x!r} has shape {stored_x.shape}: no samples, or samples of no features"
        )
    labels, found_names = _labels(stored_y, remap_labels, file, y)
    classes = int(labels.max(initial=-1)) + 1
    if class_names_found is not None and (class_names is not None or len(class_names_found) == classes):
        found_names = class_names_found
        classes = len(class_names_found)
    elif len(np.unique(labels)) != classes:
        raise _bad_labels(file, y, np.unique(labels))
    values, kind = _channels_first(stored_x, layout, file, x)
    zero, unit = _value_range(values, kind, value_range, file, x)
    return Dataset(
        name=file.name,
        x=values,
        y=labels,
        classes=classes,
        kind=kind,
        class_names=found_names,
        group=_groups(groups, file, group),
        is_test=is_test,
        zero=zero,
        unit=unit,
    )


def _joined(
    archive: np.lib.npyio.NpzFile, names: set[str], name: str, file: Path
) -> tuple[Array, npt.NDArray[np.bool_] | None]:
    """The array called ``name``, or its train and test parts end to end and the marks of the test part."""
    if name in names:
        return archive[name], None
    if f"{name}_train" not in names:
        raise UserError(
            f"data source npz: {file} holds neither {name!r} nor '{name}_train'. It holds: {', '.join(sorted(names))}"
        )
    train = archive[f"{name}_train"]
    if f"{name}_test" not in names:
        return train, None
    test = archive[f"{name}_test"]
    if train.shape[1:] != test.shape[1:]:
        raise UserError(
            f"data source npz: {file}: samples of '{name}_train' are {train.shape[1:]}, "
            f"those of '{name}_test' {test.shape[1:]}"
        )
    return np.concatenate([train, test]), np.repeat([False, True], [len(train), len(test)])


def _check_parts(
    file: Path,
    one: tuple[str | None, npt.NDArray[np.bool_] | None],
    other: tuple[str | None, npt.NDArray[np.bool_] | None],
) -> None:
    """Train and test parts that belong together are of one length each; given are names and marks of the test part."""
    if one[1] is None or other[1] is None or np.array_equal(one[1], other[1]):
        return
    found = [
        f"'{name}_train' and '{name}_test' have {np.count_nonzero(~marks)} and {np.count_nonzero(marks)} samples"
        for name, marks in (one, other)
        if marks is not None
    ]
    raise UserError(f"data source npz: {file}: {', '.join(found)}: one a sample is needed in each part")


def _names(
    archive: np.lib.npyio.NpzFile, names: set[str], class_names: str | None, file: Path
) -> tuple[str, ...] | None:
    if class_names is None and "classes" not in names:
        return None
    key = class_names or "classes"
    if key not in names:
        raise UserError(f"data source npz: {file} holds no {key!r}. It holds: {', '.join(sorted(names))}")
    return tuple(str(name) for name in archive[key].ravel())


def _labels(stored: Array, remap: bool, file: Path, name: str) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    if stored.ndim != 1:
        raise UserError(f"data source npz: {file}: labels {name!r} have shape {stored.shape}, not (samples,)")
    found, numbers = np.unique(stored, return_inverse=True)
    if remap:
        return numbers.astype(np.int64), tuple(str(label) for label in found)
    whole = stored.dtype.kind in "iu" or (stored.dtype.kind == "f" and bool((found == np.rint(found)).all()))
    if not whole or (len(found) and int(found[0]) < 0):
        raise _bad_labels(file, name, found)
    return stored.astype(np.int64), ()


def _bad_labels(file: Path, name: str, found: Array) -> UserError:
    return UserError(
        f"data source npz: {file}: labels {name!r} must be the whole numbers from 0 on, found "
        f"{', '.join(str(label) for label in found[:6])}{', ...' if len(found) > 6 else ''}. "
        "`remap_labels: true` renames them to 0, 1, ... in sorted order; where some classes have no samples, "
        "name all of them with `class_names`"
    )


def _groups(stored: Array | None, file: Path, name: str | None) -> npt.NDArray[np.int64] | None:
    if stored is None:
        return None
    if stored.dtype.kind in "iu":
        return stored.astype(np.int64)
    if stored.dtype.kind not in "US":
        raise UserError(f"data source npz: {file}: groups {name!r} must be whole numbers or text")
    return np.unique(stored, return_inverse=True)[1].astype(np.int64)


def _channels_first(stored: Array, layout: str, file: Path, name: str) -> tuple[Array, Kind]:
    if stored.dtype.kind not in "iuf":
        raise UserError(f"data source npz: {file}: {name!r} holds {stored.dtype}, numbers are needed")
    if stored.dtype.kind == "f" and stored.dtype.itemsize > 4:  # whatever its byte order
        stored = stored.astype(np.float32)
    if stored.ndim == 2:
        return stored.astype(np.float32), "vector"
    if stored.ndim == 3:
        return stored[:, None], "image"
    if stored.ndim != 4:
        raise UserError(
            f"data source npz: {file}: {name!r} has shape {stored.shape}: 2 (vectors), 3 (grey images) or "
            "4 dimensions (images) are understood"
        )
    if layout == "auto":
        first, last = stored.shape[1] in (1, 3, 4), stored.shape[3] in (1, 3, 4)
        if first == last:
            raise UserError(
                f"data source npz: {file}: {name!r} has shape {stored.shape}: which side holds the channels? "
                "Say `layout: nchw` or `layout: nhwc`"
            )
        layout = "nchw" if first else "nhwc"
    return (stored if layout == "nchw" else stored.transpose(0, 3, 1, 2)), "image"


def _value_range(
    values: Array, kind: Kind, asked: Sequence[float] | None, file: Path, name: str
) -> tuple[float, float]:
    """The stored value that stands for 0, and the distance to the one that stands for 1."""
    if asked is not None:
        if len(asked) != 2 or not asked[0] < asked[1]:
            raise UserError(f"data source npz: value_range must be two rising numbers, found {list(asked)}")
        return float(asked[0]), float(asked[1]) - float(asked[0])
    if kind == "vector":
        return 0.0, 1.0
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype.name)
        return float(limits.min), float(limits.max) - float(limits.min)
    floats = values.astype(np.float32, copy=False)
    low, high = float(floats.min()), float(floats.max())
    if low < 0 or high > 1:
        raise UserError(
            f"data source npz: {file}: images {name!r} hold floats from {low:g} to {high:g}. "
            f"Say which values stand for 0 and 1, for instance `value_range: [{low:g}, {high:g}]`"
        )
    return 0.0, 1.0
