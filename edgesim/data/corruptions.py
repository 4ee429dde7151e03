"""The arithmetic of feature drift: batched corruptions with explicit parameters, no random state.

Every operation is a fixed sequence of elementwise additions, multiplications and look-ups (reductions run in
a written-out order, never through BLAS), so the bits of a sample do not depend on the samples beside it. Images
are float32 (sample, channel, height, width) on a scale from 0 to 1, vectors float32 (sample, feature).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from edgesim.data.facts import Kind
from edgesim.data.noise import normals, uniforms
from edgesim.seeds import stream_seed

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Setting:
    """What an operation may depend on besides the features: its parameters, and which samples they are."""

    amount: float
    per_feature: bool
    seed: int  # of the operation itself: a sensor's bias
    noise_seed: int  # of this operation's place in its chain: the samples' noise
    indices: npt.NDArray[np.int64]  # (sample,) numbers in the data set
    kind: Kind


def brightness(x: Float32Array, setting: Setting) -> Float32Array:
    """Add to the value of hue-saturation-value, hue and saturation kept: what CIFAR-10-C does."""
    value = x.max(axis=1, keepdims=True)
    wanted = _in_range(value + np.float32(setting.amount))
    ratio = wanted / np.where(value > 0, value, 1)
    brightened: Float32Array = np.where(value > 0, np.minimum(x * ratio, np.float32(1)), wanted)
    return brightened


def contrast(x: Float32Array, setting: Setting) -> Float32Array:
    """Move every pixel towards (or away from) its own image's mean, channel by channel."""
    mean = _mean_over_pixels(x)
    return _in_range((x - mean) * np.float32(setting.amount) + mean)


def blur(x: Float32Array, setting: Setting) -> Float32Array:
    """Gaussian blur, cut off at four standard deviations, edges repeated: scikit-image's ``gaussian``."""
    sigma = setting.amount
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return x
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    taps = [np.float32(weight / sum(weights)) for weight in weights]
    for axis in (2, 3):
        width = x.shape[axis]
        padded = np.pad(x, [(radius, radius) if a == axis else (0, 0) for a in range(4)], mode="edge")
        blurred = np.zeros_like(x)
        for offset, tap in enumerate(taps):
            blurred += tap * _cut(padded, axis, offset, offset + width)
        x = blurred
    return _in_range(x)


def noise(x: Float32Array, setting: Setting) -> Float32Array:
    """Add Gaussian noise that belongs to the sample: the same sample always gets the same noise."""
    size = math.prod(x.shape[1:])
    drawn = normals(setting.noise_seed, setting.indices, size).reshape(x.shape)
    noisy = x + np.float32(setting.amount) * drawn
    return _in_range(noisy) if setting.kind == "image" else noisy


def rotation(x: Float32Array, setting: Setting) -> Float32Array:
    """Rotate counter-clockwise about the centre, bilinear, 0 from outside."""
    height, width = x.shape[2:]
    angle = math.radians(setting.amount)
    down = np.arange(height)[:, None] - (height - 1) / 2  # (height, 1)
    right = np.arange(width)[None, :] - (width - 1) / 2  # (1, width)
    source_row = right * math.sin(angle) + down * math.cos(angle) + (height - 1) / 2
    source_column = right * math.cos(angle) - down * math.sin(angle) + (width - 1) / 2
    row, column = np.floor(source_row), np.floor(source_column)
    flat = x.reshape(*x.shape[:2], height * width)
    turned = np.zeros_like(x)
    for row_step in (0, 1):
        for column_step in (0, 1):
            r, c = row + row_step, column + column_step  # one of the four neighbours of each source point
            weight = (1 - np.abs(source_row - r)) * (1 - np.abs(source_column - c))
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            place = np.where(inside, r * width + c, 0).astype(np.intp)
            turned += np.where(inside, weight, 0).astype(np.float32) * flat[:, :, place]
    return _in_range(turned)


def pixelate(x: Float32Array, setting: Setting) -> Float32Array:
    """Shrink by averaging whole pixels and grow back by repeating them: Pillow's box filter, both ways."""
    for axis in (2, 3):
        length = x.shape[axis]
        coarse = max(1, int(length * setting.amount))
        scale = length / coarse
        means = []
        for cell in range(coarse):
            first, end = (
                int(cell * scale + 0.5),
                max(int(cell * scale + 0.5) + 1, int((cell + 1) * scale + 0.5)),
            )
            total = _cut(x, axis, first, first + 1).copy()
            for place in range(first + 1, end):
                total += _cut(x, axis, place, place + 1)
            means.append(total / np.float32(end - first))
        cells = np.concatenate(means, axis=axis)
        x = np.take(cells, [int((place + 0.5) * coarse / length) for place in range(length)], axis=axis)
    return x


def jpeg(x: Float32Array, setting: Setting) -> Float32Array:
    """What JPEG loses: 8 x 8 cosine coefficients of every channel, rounded to the luminance table's steps."""
    quality = setting.amount
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality  # the Independent JPEG Group's rule
    steps = np.clip(np.floor((_LUMINANCE * scale + 50) / 100), 1, 255).astype(np.float32)
    count, channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (0, -height % 8), (0, -width % 8)), mode="edge")
    rows, columns = padded.shape[2] // 8, padded.shape[3] // 8
    blocks = padded.reshape(count, channels, rows, 8, columns, 8) * np.float32(255) - np.float32(128)
    blocks = _along(_along(blocks, _COSINES, 3), _COSINES, 5)
    grid = steps[:, None, :]  # (8, 1, 8)
    blocks = np.rint(blocks / grid) * grid
    blocks = _along(_along(blocks, _COSINES.T, 3), _COSINES.T, 5)
    restored = (np.rint(blocks) + np.float32(128)) / np.float32(255)
    return _in_range(restored.reshape(padded.shape)[:, :, :height, :width])


def scale(x: Float32Array, setting: Setting) -> Float32Array:
    """Multiply every feature; ``per_feature``: by amount ** u, u uniform in [-1, 1), drawn once a feature."""
    if not setting.per_feature:
        return x * np.float32(setting.amount)
    exponents = uniforms(stream_seed(setting.seed, "scale"), x.shape[1])
    factors = np.array([setting.amount**exponent for exponent in exponents.tolist()], dtype=np.float32)
    return x * factors


def offset(x: Float32Array, setting: Setting) -> Float32Array:
    """Add to every feature; ``per_feature``: amount * u, u uniform in [-1, 1), drawn once a feature."""
    if not setting.per_feature:
        return x + np.float32(setting.amount)
    drawn = uniforms(stream_seed(setting.seed, "offset"), x.shape[1])
    return x + (setting.amount * drawn).astype(np.float32)


#: The operations by the names of ``edgesim.data.facts.TRANSFORMS``.
OPERATIONS: Mapping[str, Callable[[Float32Array, Setting], Float32Array]] = MappingProxyType(
    {
        "brightness": brightness,
        "contrast": contrast,
        "blur": blur,
        "noise": noise,
        "rotation": rotation,
        "pixelate": pixelate,
        "jpeg": jpeg,
        "scale": scale,
        "offset": offset,
    }
)

# ITU-T T.81 (JPEG), table K.1: quantisation steps for luminance at quality 50
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
# the orthonormal discrete cosine transform, (frequency, place)
_COSINES = np.array(
    [
        [
            math.sqrt((1 if frequency == 0 else 2) / 8) * math.cos(math.pi * (2 * place + 1) * frequency / 16)
            for place in range(8)
        ]
        for frequency in range(8)
    ],
    dtype=np.float32,
)


def _in_range(x: Float32Array) -> Float32Array:
    return np.minimum(np.maximum(x, np.float32(0)), np.float32(1))


def _cut(x: Float32Array, axis: int, first: int, end: int) -> Float32Array:
    return x[(slice(None),) * axis + (slice(first, end),)]


def _mean_over_pixels(x: Float32Array) -> Float32Array:
    """Mean over height and width, (sample, channel, 1, 1), added up in double, in a written-out order."""
    rows = np.zeros((*x.shape[:2], x.shape[3]))
    for row in range(x.shape[2]):
        rows += x[:, :, row, :]
    total = np.zeros(x.shape[:2])
    for column in range(x.shape[3]):
        total += rows[:, :, column]
    mean: Float32Array = (total / (x.shape[2] * x.shape[3])).astype(np.float32)
    return mean[:, :, None, None]


def _along(blocks: Float32Array, matrix: Float32Array, axis: int) -> Float32Array:
    """Multiply the 8 places of one axis by a matrix (out, in), without BLAS."""
    parts = []
    for out in range(8):
        total = matrix[out, 0] * _cut(blocks, axis, 0, 1)
        for place in range(1, 8):
            total = total + matrix[out, place] * _cut(blocks, axis, place, place + 1)
        parts.append(total)
    return np.concatenate(parts, axis=axis)
