"""What drift does to samples, and the views that carry it: exact, repeatable, one sample at a time."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.data import Dataset, Transform, View, load_dataset
from edgesim.data.facts import TRANSFORMS
from edgesim.data.noise import hashed_words, normals, uniforms
from edgesim.errors import UserError

DIGITS = load_dataset("digits")
COLOUR = load_dataset("synthetic", samples=60, shape=(3, 11, 9))
VECTORS = load_dataset("synthetic", samples=60, shape=(13,))


def smooth_images() -> Dataset:
    """Ten 3 x 40 x 40 images of a wave a channel, longer than the image."""
    random = np.random.default_rng(0)
    down, right = np.mgrid[0:40, 0:40] / 40
    waves = [
        np.sin(
            2 * np.pi * (random.uniform(-0.7, 0.7) * down + random.uniform(-0.7, 0.7) * right) + random.uniform(0, 6)
        )
        for _ in range(30)
    ]
    pixels = np.array(waves).reshape(10, 3, 40, 40) * 80 + 128
    return Dataset("smooth", pixels.astype(np.uint8), np.zeros(10, np.int64), 1, "image", unit=255.0)


SMOOTH = smooth_images()


def apply(transform: Transform, x: np.ndarray, kind: str = "image", seed: int = 0) -> np.ndarray:
    return transform.apply(x.astype(np.float32), np.arange(len(x)), kind, seed)


def picture(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)[None, None]


@st.composite
def transforms(draw, kind="image"):
    names = sorted(name for name, facts in TRANSFORMS.items() if kind in facts.kinds)
    chain = Transform.identity
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        each = draw(st.booleans()) if name in ("scale", "offset") else False
        severity = draw(st.floats(0, 5))
        chain = chain.then(Transform.feature(name, severity=severity, per_feature=each, seed=draw(st.integers(0, 3))))
    return chain.then(Transform.swap_labels(draw(st.sampled_from([(), ((0, 1),), ((0, 1), (2, 9))]))))


# one sample at a time


FITTING = [
    pytest.param(name, data, id=f"{name}-{data.name}")
    for name, facts in sorted(TRANSFORMS.items())
    for data in (DIGITS, SMOOTH, VECTORS)
    if data.kind in facts.kinds
]


@pytest.mark.parametrize(("name", "data"), FITTING)
def test_the_bits_of_a_sample_do_not_depend_on_its_companions(name, data):
    transform = Transform.feature(name, severity=4)
    whole = View(data, np.arange(10), (transform,), seed=7).materialise()[0]
    for size in (1, 2, 7):
        parts = [View(data, np.arange(10)[i : i + size], (transform,), seed=7) for i in range(0, 10, size)]
        assert np.concatenate([part.materialise()[0] for part in parts]).tobytes() == whole.tobytes()


@settings(max_examples=40, deadline=None)
@given(chain=transforms(), chosen=st.lists(st.integers(0, 59), min_size=1, max_size=8), seed=st.integers(0, 2**62))
def test_a_sample_in_any_view_is_what_it_is_alone(chain, chosen, seed):
    together = View(COLOUR, np.array(chosen), (chain,), seed=seed).materialise()
    for place, index in enumerate(chosen):
        alone = View(COLOUR, np.array([index]), (chain,), seed=seed).materialise()
        assert alone[0].tobytes() == together[0][place].tobytes()
        assert alone[1][0] == together[1][place]


@settings(max_examples=40, deadline=None)
@given(chain=transforms())
def test_images_stay_between_zero_and_one(chain):
    x, _ = View(COLOUR, np.arange(10), (chain,)).materialise()
    assert x.dtype == np.float32
    assert x.shape == (10, 3, 11, 9)
    assert 0 <= x.min() <= x.max() <= 1


@pytest.mark.parametrize("name", sorted(set(TRANSFORMS) - {"jpeg"}))
def test_the_neutral_amount_changes_nothing(name):
    facts = TRANSFORMS[name]
    data = VECTORS if "image" not in facts.kinds else COLOUR
    plain = View(data, np.arange(20)).materialise()[0]
    same = View(data, np.arange(20), (Transform.feature(name, amount=facts.neutral),)).materialise()[0]
    np.testing.assert_allclose(same, plain, atol=1e-6)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_a_higher_severity_moves_samples_further(name):
    data = SMOOTH if "image" in TRANSFORMS[name].kinds else VECTORS
    plain, _ = View(data, np.arange(10)).materialise()
    drifted = [View(data, np.arange(10), (Transform.feature(name, severity=s),)) for s in range(1, 6)]
    moved = [float(np.abs(view.materialise()[0] - plain).mean()) for view in drifted]
    assert moved[0] > 0
    assert moved == sorted(moved)


# each operation does what it says


def test_brightness_keeps_hue_and_saturation_and_clips_at_white():
    red = np.array([0.8, 0.4, 0.0], np.float32).reshape(1, 3, 1, 1)
    brighter = apply(Transform.feature("brightness", amount=0.1), red).ravel()
    np.testing.assert_allclose(brighter, [0.9, 0.45, 0.0], atol=1e-6)
    white = apply(Transform.feature("brightness", amount=0.9), red).ravel()
    np.testing.assert_allclose(white, [1.0, 0.5, 0.0], atol=1e-6)
    black = apply(Transform.feature("brightness", amount=0.3), np.zeros((1, 3, 1, 1))).ravel()
    np.testing.assert_allclose(black, [0.3, 0.3, 0.3], atol=1e-6)
    dark = apply(Transform.feature("brightness", amount=-0.5), red).ravel()
    np.testing.assert_allclose(dark, [0.3, 0.15, 0.0], atol=1e-6)


def test_contrast_keeps_each_images_mean():
    half = apply(Transform.feature("contrast", amount=0.5), picture((0.0, 0.2), (0.4, 0.6)))
    np.testing.assert_allclose(half, picture((0.15, 0.25), (0.35, 0.45)), atol=1e-6)


def test_blur_keeps_flat_areas_and_spreads_a_point_as_a_gaussian():
    flat = np.full((1, 1, 7, 7), 0.4)
    np.testing.assert_allclose(apply(Transform.feature("blur", amount=1.5), flat), flat, atol=1e-6)
    point = np.zeros((1, 1, 21, 21))
    point[0, 0, 10, 10] = 1
    spread = apply(Transform.feature("blur", amount=2.0), point)[0, 0]
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert spread[10, 12] / spread[10, 10] == pytest.approx(math.exp(-0.5), rel=1e-5)
    assert spread[12, 12] == pytest.approx(spread[8, 8], rel=1e-5)


def test_blur_is_scipys_gaussian_filter():
    from scipy.ndimage import gaussian_filter

    x = DIGITS.features(np.arange(5))
    expected = gaussian_filter(x.astype(np.float64), sigma=(0, 0, 0.7, 0.7), mode="nearest", truncate=4.0)
    np.testing.assert_allclose(apply(Transform.feature("blur", severity=3), x), expected, atol=1e-6)


@pytest.mark.parametrize("quarter_turns", [-1, 1, 2, 3, 4])
def test_rotation_by_quarter_turns_is_exact_and_counter_clockwise(quarter_turns):
    x = DIGITS.features(np.arange(5))
    turned = apply(Transform.feature("rotation", amount=90.0 * quarter_turns), x)
    np.testing.assert_allclose(turned, np.rot90(x, quarter_turns, axes=(2, 3)), atol=1e-5)


def test_rotation_is_scipys_bilinear_rotation():
    from scipy.ndimage import rotate

    x = np.pad(COLOUR.features(np.arange(5)), ((0, 0), (0, 0), (3, 3), (3, 3)))  # away from the border's rule
    expected = rotate(x.astype(np.float64), 25, axes=(3, 2), reshape=False, order=1, mode="grid-constant")
    turned = apply(Transform.feature("rotation", amount=25), x)
    np.testing.assert_allclose(turned, expected, atol=1e-5)


def test_pixelate_repeats_the_means_of_whole_pixels():
    coarse = apply(Transform.feature("pixelate", amount=0.5), picture((0.0, 0.2, 1, 1), (0.2, 0.4, 1, 1)))
    np.testing.assert_allclose(coarse, picture((0.2, 0.2, 1, 1), (0.2, 0.2, 1, 1)), atol=1e-6)


def test_pixelate_is_pillows_box_filter():
    from PIL import Image

    for amount in (0.9, 0.65, 0.3):
        x = np.rint(COLOUR.features(np.arange(1)) * 255)[0, 0]  # (11, 9)
        picture_of_x = Image.fromarray(x.astype(np.float32))
        small = picture_of_x.resize((int(9 * amount), int(11 * amount)), Image.Resampling.BOX)
        expected = np.asarray(small.resize((9, 11), Image.Resampling.BOX))
        found = apply(Transform.feature("pixelate", amount=amount), x[None, None] / 255) * 255
        np.testing.assert_allclose(found[0, 0], expected, atol=1e-2)


def test_jpeg_like_quantisation_is_close_to_what_jpeg_does_to_grey_images():
    from io import BytesIO

    from PIL import Image

    pixels = SMOOTH.x[0, 0, :, :35]  # not a multiple of the 8 x 8 blocks
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=40)
    expected = np.asarray(Image.open(buffer)) / 255
    found = apply(Transform.feature("jpeg", amount=40), pixels[None, None] / 255)[0, 0]
    assert np.abs(found - expected).mean() < 0.5 / 255  # libjpeg works in integers
    assert np.abs(found - pixels / 255).mean() > 1 / 255


def test_vectors_are_scaled_and_shifted_as_a_whole_or_a_feature_at_a_time():
    x = np.array([[1.0, -2.0], [0.5, 4.0]])
    np.testing.assert_allclose(apply(Transform.feature("scale", amount=2), x, "vector"), 2 * x)
    np.testing.assert_allclose(apply(Transform.feature("offset", amount=0.5), x, "vector"), x + 0.5)
    ones = np.ones((3, 400))
    bias = apply(Transform.feature("offset", amount=0.5, per_feature=True, seed=1), ones, "vector") - 1
    assert (bias[0] == bias[1]).all()
    assert -0.5 <= bias.min() < -0.4 < 0.4 < bias.max() < 0.5
    gain = apply(Transform.feature("scale", amount=2, per_feature=True, seed=1), ones, "vector")
    assert 0.5 <= gain.min() < 0.55 < 1.8 < gain.max() < 2
    other = apply(Transform.feature("offset", amount=0.5, per_feature=True, seed=2), ones, "vector") - 1
    assert (bias != other).any()


# noise by address


def test_noise_is_standard_normal_and_independent_between_samples_and_features():
    drawn = normals(3, np.arange(400), 501)
    assert drawn.shape == (400, 501)
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(1, abs=0.01)
    assert (drawn**4).mean() == pytest.approx(3, abs=0.1)
    assert abs((drawn[1:] * drawn[:-1]).mean()) < 0.01
    assert abs((drawn[:, 1:] * drawn[:, :-1]).mean()) < 0.01


@settings(max_examples=50)
@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.integers(1, 9))
def test_a_draw_belongs_to_its_address(seed, indices, words):
    together = hashed_words(seed, np.array(indices), 9)
    for place, index in enumerate(indices):
        assert hashed_words(seed, np.array([index]), words)[0].tolist() == together[place, :words].tolist()


def test_different_seeds_draw_differently():
    assert (normals(1, np.arange(5), 8) != normals(2, np.arange(5), 8)).any()
    assert (uniforms(1, 8) != uniforms(2, 8)).any()


def test_two_noises_in_a_chain_do_not_add_up_to_one():
    noise = Transform.feature("noise", amount=1.0)
    x = np.zeros((50, 100), np.float32)
    assert apply(noise.then(noise), x, "vector").std() == pytest.approx(math.sqrt(2), rel=0.05)


# chains and labels


@settings(max_examples=60)
@given(transforms(), transforms())
def test_transforms_are_equal_exactly_when_their_keys_are(one, other):
    assert (one == other) == (one.key == other.key)
    assert hash(one.then(other)) == hash(one.then(other))
    assert one.then(Transform.identity) == one == Transform.identity.then(one)


def test_swapped_labels_compose_and_cancel():
    swap = Transform.swap_labels([(0, 1)])
    assert swap.relabel(np.array([0, 1, 2])).tolist() == [1, 0, 2]
    assert swap.then(swap) == Transform.identity
    thrice = swap.then(Transform.swap_labels([(1, 2)]))  # first 0 <-> 1, then 1 <-> 2
    assert thrice.relabel(np.array([0, 1, 2])).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Transform.feature("fog", severity=1), "unknown"),
        (lambda: Transform.feature("blur"), "either a severity"),
        (lambda: Transform.feature("blur", severity=1, amount=1), "either a severity"),
        (lambda: Transform.feature("blur", severity=6), "severity 6"),
        (lambda: Transform.feature("blur", amount=-1), "between 0 and 32"),
        (lambda: Transform.feature("noise", amount=math.inf), "amount inf"),
        (lambda: Transform.feature("noise", severity=1, per_feature=True), "per_feature"),
        (lambda: Transform.feature("scale", severity=1).check("image", 10), "does not fit image data"),
        (lambda: Transform.feature("blur", severity=1).check("vector", 10), "noise, offset, scale"),
        (lambda: Transform.swap_labels([(1, 1)]), "different labels"),
        (lambda: Transform.swap_labels([(1, 2), (2, 3)]), "named once"),
        (lambda: Transform.swap_labels([(1, 12)]).check("image", 10), "label 12"),
    ],
)
def test_a_transform_that_cannot_be_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


# views


def test_a_view_gives_float_features_and_integer_labels_and_leaves_the_data_alone():
    before = DIGITS.x.tobytes()
    x, y = View(DIGITS, np.array([5, 5, 9]), (Transform.feature("noise", severity=5),)).materialise()
    assert (x.dtype, x.shape, y.dtype, y.tolist()) == (np.float32, (3, 1, 8, 8), np.int64, [5, 5, 9])
    assert x[0].tobytes() == x[1].tobytes()
    assert DIGITS.x.tobytes() == before


@settings(max_examples=60, deadline=None)
@given(
    st.lists(transforms(), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 2)), max_size=8),
    st.integers(0, 1),
)
def test_each_sample_of_a_mixed_view_takes_its_own_transform(chains, chosen, seed):
    indices = np.array([index for index, _ in chosen], dtype=np.int64)
    which = np.array([number % len(chains) for _, number in chosen], dtype=np.int64)
    mixed = View(COLOUR, indices, tuple(chains), which, seed)
    x, y = mixed.materialise()
    assert len(mixed) == len(x) == len(y)
    assert mixed.labels().tolist() == y.tolist()
    for place, number in enumerate(which.tolist()):
        alone = View(COLOUR, indices[place : place + 1], (chains[number],), seed=seed).materialise()
        assert x[place].tobytes() == alone[0][0].tobytes()
        assert y[place] == alone[1][0]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_keys_differ_exactly_where_content_differs(data):
    def view() -> tuple[View, object]:
        rows = data.draw(st.lists(st.tuples(st.integers(0, 2), transforms()), max_size=3))
        seed = data.draw(st.integers(0, 1))
        decoys = (Transform.feature("blur", amount=9.0),) * data.draw(st.integers(0, 1))
        kinds = (*decoys, *(chain for _, chain in rows))
        made = View(
            COLOUR,
            np.array([index for index, _ in rows], dtype=np.int64),
            kinds or (Transform.identity,),
            np.arange(len(rows)) + len(decoys),
            seed,
        )
        noisy = any(chain.noisy for _, chain in rows)
        return made, ([(index, chain.key) for index, chain in rows], seed if noisy else None)

    one, meaning = view()
    other, other_meaning = view()
    assert (one.key == other.key) == (meaning == other_meaning)


def test_equal_pixels_of_another_data_set_make_another_key():
    renamed = Dataset("copy", DIGITS.x, DIGITS.y, 10, "image", unit=16.0)
    darker = Dataset("copy", DIGITS.x, DIGITS.y, 10, "image", unit=255.0)
    keys = [View(data, np.arange(3)).key for data in (DIGITS, renamed, darker)]
    assert keys[0] == keys[1] != keys[2]


def test_joined_views_hold_the_samples_of_each_in_order():
    noise = Transform.feature("noise", severity=2)
    one = View(DIGITS, np.array([1, 2]), (noise,), seed=5)
    two = View(DIGITS, np.array([3, 1]), (Transform.swap_labels([(1, 3)]), noise), np.array([0, 1]), seed=5)
    joined = View.concat([one, two])
    assert joined.indices.tolist() == [1, 2, 3, 1]
    assert len(joined.transforms) == 2
    for number, parts in enumerate(zip(one.materialise(), two.materialise(), strict=True)):
        assert joined.materialise()[number].tobytes() == np.concatenate(parts).tobytes()
    assert View.concat([one]) is one


def test_views_without_noise_join_whatever_their_seeds():
    plain = View(DIGITS, np.array([1]))
    noisy = View(DIGITS, np.array([2]), (Transform.feature("noise", severity=1),), seed=9)
    joined = View.concat([plain, noisy])
    assert joined.materialise()[0][1].tobytes() == noisy.materialise()[0][0].tobytes()
    with pytest.raises(ValueError, match="one seed"):
        View.concat([noisy, View(DIGITS, np.array([2]), noisy.transforms, seed=8)])
    with pytest.raises(ValueError, match="one data set"):
        View.concat([plain, View(COLOUR, np.array([1]))])
    with pytest.raises(ValueError, match="at least one"):
        View.concat([])


def test_a_part_of_a_view_is_a_view():
    mixed = View(
        DIGITS, np.array([4, 5, 6]), (Transform.identity, Transform.feature("noise", severity=3)), np.array([0, 1, 1])
    )
    part = mixed.take(np.array([2, 0]))
    assert part.materialise()[0].tobytes() == mixed.materialise()[0][[2, 0]].tobytes()


def test_a_deferred_view_is_worked_out_once_and_only_when_asked():
    asked = []

    def resolve():
        asked.append(1)
        return np.array([1, 2]), (Transform.identity,), None

    view = View.deferred(DIGITS, 2, resolve)
    assert len(view) == 2
    assert asked == []
    assert view.key == View(DIGITS, np.array([1, 2])).key
    view.materialise()
    assert asked == [1]


def test_a_view_survives_a_process_boundary():
    view = View(DIGITS, np.array([4, 5]), (Transform.feature("blur", severity=1),), seed=3)
    again = pickle.loads(pickle.dumps(view))
    assert again.key == view.key
    assert again.materialise()[0].tobytes() == view.materialise()[0].tobytes()
    with pytest.raises(ValueError, match="read-only"):
        again.indices[0] = 7


def test_indices_of_a_view_cannot_be_changed_from_outside():
    mine = np.array([1, 2])
    view = View(DIGITS, mine)
    mine[0] = 9
    assert view.indices.tolist() == [1, 2]
