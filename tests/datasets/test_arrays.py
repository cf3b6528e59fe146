import numpy as np

from torchlite.datasets import Arrays, fingerprint

BASE = Arrays(np.arange(6, dtype=np.int32).reshape(2, 3), np.array([0, 1]))


def test_equal_arrays_in_another_layout_have_one_fingerprint():
    fortran = Arrays(np.asfortranarray(BASE.inputs), BASE.targets)
    big_endian = Arrays(BASE.inputs.astype(">i4"), BASE.targets)
    assert fingerprint(BASE) == fingerprint(fortran) == fingerprint(big_endian)


def test_contents_shape_dtype_and_place_matter():
    others = [
        Arrays(BASE.inputs + np.int32(1), BASE.targets),
        Arrays(BASE.inputs.reshape(3, 2), BASE.targets),
        Arrays(BASE.inputs.astype(np.int64), BASE.targets),
        Arrays(BASE.inputs, BASE.targets[::-1]),
        Arrays(BASE.targets, BASE.inputs),
    ]
    assert len({fingerprint(arrays) for arrays in [BASE, *others]}) == 6


def test_the_fingerprint_is_stable_between_releases():
    assert fingerprint(BASE) == "ae94dbc79211302941bf30e800fdf36d9135f171cfe9be766512b90ceed5a416"


def test_empty_arrays_have_a_fingerprint():
    assert len(fingerprint(Arrays(np.zeros((0, 2)), np.zeros(0)))) == 64
