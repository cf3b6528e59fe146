import numpy as np
import pytest

from torchlite.vision.transforms import (
    TRANSFORMS,
    ColorJitter,
    Compose,
    Cutout,
    HorizontalFlip,
    Normalize,
    RandomCrop,
    ToFloat,
    ToInt64,
    sample_keys,
    uniforms,
)

IMAGES = np.random.default_rng(0).integers(1, 256, (200, 3, 8, 10), np.uint8)
KEYS = sample_keys(0, 0, np.arange(200))
ALL = [ToFloat(), HorizontalFlip(), RandomCrop((8, 10)), RandomCrop(5, padding=0), Cutout(3)]
PIPELINE = Compose([RandomCrop((8, 10), padding=2), HorizontalFlip(), Cutout(4), ToFloat(), Normalize(0.5, 0.2)])


def test_to_float_scales():
    out = ToFloat(scale=16)(np.array([[[[0, 4, 16]]]], np.uint8), KEYS[:1])
    assert out.dtype == np.float32 and out.tolist() == [[[[0.0, 0.25, 1.0]]]]


def test_normalize_by_scalars_and_by_channel():
    batch = np.ones((2, 2, 1, 1), np.float32) * np.array([1.0, 3.0], np.float32)[:, None, None]
    assert Normalize(1, 2)(batch, KEYS[:2])[0].ravel().tolist() == [0.0, 1.0]
    assert Normalize([0, 1], [1, 4])(batch, KEYS[:2])[1].ravel().tolist() == [1.0, 0.5]
    assert Normalize([0, 1], [1, 4])(batch, KEYS[:2]).dtype == np.float32


def test_flip_mirrors_the_chosen_images_only():
    flipped = HorizontalFlip()(IMAGES, KEYS)
    mirrored = (flipped == IMAGES[..., ::-1]).all(axis=(1, 2, 3))
    same = (flipped == IMAGES).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130
    np.testing.assert_array_equal(HorizontalFlip(p=1)(IMAGES, KEYS), IMAGES[..., ::-1])
    np.testing.assert_array_equal(HorizontalFlip(p=0)(IMAGES, KEYS), IMAGES)


def test_crop_takes_every_place_equally_often():
    rows, columns = np.meshgrid(np.arange(8), np.arange(10), indexing="ij")
    places = np.broadcast_to((rows * 10 + columns)[None, None], (2000, 1, 8, 10)).astype(np.uint8)
    out = RandomCrop((6, 7), padding=0)(places, sample_keys(1, 0, range(2000)))
    assert out.shape == (2000, 1, 6, 7) and out.flags.c_contiguous
    np.testing.assert_array_equal(out - out[:, :, :1, :1], places[:, :, :6, :7])
    corners, counts = np.unique(out[:, 0, 0, 0], return_counts=True)
    assert corners.tolist() == [row * 10 + column for row in range(3) for column in range(4)]
    assert counts.min() > 120 and counts.max() < 215


def test_crop_pads_with_fill():
    out = RandomCrop((12, 14), padding=2, fill=7)(IMAGES, KEYS)
    np.testing.assert_array_equal(out[:, :, 2:10, 2:12], IMAGES)
    assert (out[:, :, :2] == 7).all() and (out[..., 12:] == 7).all()
    assert (RandomCrop((8, 10), padding=4)(IMAGES, KEYS) == 0).any()


def test_cutout_covers_a_square_around_a_random_pixel():
    out = Cutout(3)(np.ones((2000, 2, 8, 10), np.float32), sample_keys(2, 0, range(2000)))
    covered = out == 0
    assert (covered[:, 0] == covered[:, 1]).all()
    rows, columns = covered[:, 0].any(axis=2).sum(axis=1), covered[:, 0].any(axis=1).sum(axis=1)
    assert (covered[:, 0].sum(axis=(1, 2)) == rows * columns).all()
    assert set(rows) == set(columns) == {2, 3}
    # A centre in the first or last row leaves two rows of the square.
    assert abs((rows == 2).mean() - 2 / 8) < 0.03 and abs((columns == 2).mean() - 2 / 10) < 0.03


def test_cutout_fill_keeps_the_dtype():
    out = Cutout(2, fill=9)(IMAGES, KEYS)
    assert out.dtype == np.uint8
    assert set(out[out != IMAGES]) <= {9}


@pytest.mark.parametrize("transform", [*ALL, PIPELINE], ids=repr)
def test_a_sample_does_not_depend_on_its_batch(transform):
    whole = transform(IMAGES, KEYS)
    order = np.random.default_rng(1).permutation(200)
    np.testing.assert_array_equal(transform(IMAGES[order], KEYS[order]), whole[order])
    parts = [transform(IMAGES[start : start + 7], KEYS[start : start + 7]) for start in range(0, 200, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("transform", [*ALL, PIPELINE], ids=repr)
def test_the_batch_is_left_as_it_is(transform):
    batch = IMAGES.copy()
    out = transform(batch, KEYS)
    out[:] = 0
    np.testing.assert_array_equal(batch, IMAGES)


@pytest.mark.parametrize("transform", [*ALL, PIPELINE], ids=repr)
def test_infer_says_what_comes_out(transform):
    out = transform(IMAGES, KEYS)
    assert transform.infer((3, 8, 10), "uint8") == (out.shape[1:], str(out.dtype))


@pytest.mark.parametrize("transform", [*ALL, PIPELINE], ids=repr)
def test_an_empty_batch_stays_empty(transform):
    assert transform(IMAGES[:0], KEYS[:0]).shape == (0, *transform.infer((3, 8, 10), "uint8")[0])


@pytest.mark.parametrize(
    "transform, shape, dtype, message",
    [
        (Normalize(0, 1), (1, 8, 8), "uint8", "needs floats, got uint8; put to_float"),
        (Normalize([0, 0], [1, 1]), (3, 8, 8), "float32", r"2 means for images of 3 channel\(s\)"),
        (
            RandomCrop(32, padding=4),
            (1, 8, 8),
            "uint8",
            "32x32 does not fit into images of 8x8 with a padding of 4",
        ),
        (
            HorizontalFlip(),
            (64,),
            "uint8",
            r"needs images \(channels, height, width\), got samples of shape \(64,\)",
        ),
    ],
)
def test_infer_refuses_what_cannot_work(transform, shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        transform.infer(shape, dtype)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ToFloat(0),
        lambda: Normalize([0, 0], [1]),
        lambda: Normalize(0, 0),
        lambda: HorizontalFlip(1.5),
        lambda: RandomCrop(0),
        lambda: RandomCrop(4, padding=-1),
        lambda: Cutout(0),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ValueError, match=r"must|means"):
        make()


def test_keys_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"keys must be \(N,\) of uint64, got \(4,\) of int64"):
        HorizontalFlip()(IMAGES[:4], np.arange(4))


def test_keys_differ_by_seed_epoch_and_index_and_are_reproducible():
    keys = [sample_keys(seed, epoch, range(100)) for seed in range(3) for epoch in range(3)]
    assert len(np.unique(np.concatenate(keys))) == 900
    np.testing.assert_array_equal(sample_keys(2, 1, [5, 3]), sample_keys(2, 1, range(100))[[5, 3]])
    assert sample_keys(-1, 0, [0]).dtype == np.uint64


def test_uniforms_are_uniform_and_independent():
    draws = uniforms(sample_keys(0, 0, range(20_000)), 4)
    assert draws.min() >= 0 and draws.max() < 1
    assert np.abs(draws.mean(axis=0) - 1 / 2).max() < 0.01
    assert np.abs(draws.var(axis=0) - 1 / 12).max() < 0.005
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.03
    neighbours = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    assert abs(neighbours) < 0.03


def test_the_same_transform_twice_in_a_row_draws_twice():
    twice = Compose([HorizontalFlip(), HorizontalFlip()])(IMAGES, KEYS)
    assert 70 < (twice != IMAGES).any(axis=(1, 2, 3)).sum() < 130


def test_splitmix64_is_the_published_one():
    # The first outputs of the reference implementation for the state 1234567.
    words = uniforms(np.array([1234567], np.uint64), 3)[0] * 2**53
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert words.astype(np.uint64).tolist() == [word >> 11 for word in expected]


def test_tokens_are_whole_numbers():
    out = ToInt64()(np.array([[[[0, 4, 16]]]], np.uint8), KEYS[:1])
    assert out.dtype == np.int64 and out.tolist() == [[[[0, 4, 16]]]]
    assert ToInt64().infer((1, 8, 8), "uint8") == ((1, 8, 8), "int64")
    with pytest.raises(ValueError, match="whole numbers"):
        ToInt64().infer((1, 8, 8), "float32")


def test_the_configurations_names():
    assert {name: kind.__name__ for name, kind in TRANSFORMS.items()} == {
        "to_float": "ToFloat",
        "to_int64": "ToInt64",
        "normalize": "Normalize",
        "hflip": "HorizontalFlip",
        "random_crop": "RandomCrop",
        "color_jitter": "ColorJitter",
        "cutout": "Cutout",
    }


def test_colours_change_by_the_sample_and_stay_in_their_range():
    batch = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8)).astype(np.uint8)
    keys = sample_keys(0, 0, np.arange(4))
    jitter = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)
    out = jitter(batch, keys)
    assert out.dtype == np.uint8 and out.shape == batch.shape and not np.array_equal(out, batch)
    assert np.array_equal(jitter(batch[2:3], keys[2:3]), out[2:3]), "whatever the batch"
    assert np.array_equal(ColorJitter()(batch, keys), batch)
    floats = jitter((batch / 255).astype(np.float32), keys)
    assert floats.dtype == np.float32 and floats.min() >= 0 and floats.max() <= 1
    np.testing.assert_allclose(floats, out / 255, atol=0.5 / 255 + 1e-6)


def test_brightness_alone_multiplies_and_greys_have_no_saturation():
    batch = np.full((2, 1, 4, 4), 0.5, np.float32)
    keys = sample_keys(0, 0, np.arange(2))
    factors = ColorJitter(brightness=0.2)(batch, keys)[:, 0, 0, 0] / 0.5
    assert np.all(np.abs(factors - 1) <= 0.2) and factors[0] != factors[1]
    assert np.array_equal(ColorJitter(saturation=1.0)(batch, keys), batch)


def test_statistics_by_name():
    named, given = Normalize("imagenet"), Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (named.mean, named.std) == (given.mean, given.std)
    for arguments in (("imagenet", 1.0), (0.5,)):
        with pytest.raises(ValueError, match="give mean and std, or the name"):
            Normalize(*arguments)
