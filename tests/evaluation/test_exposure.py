"""Exposure is what the distribution of other secrets says: as scipy has it, and one and a half bits for a secret never seen."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medtune.evaluation.memorization.exposure import FOUND_BITS, Exposure, exposure

SPACE = 10**8


def sample(seed, count=256, shape=0.0):
    return stats.skewnorm.rvs(shape, size=count, random_state=seed)


@pytest.mark.parametrize("shape", [-4.0, 0.0, 4.0])
@pytest.mark.parametrize("deviations", [-2.0, 0.0, 1.0, 3.0, 5.0])
def test_bits_are_those_of_the_skew_normal_with_the_moments_of_the_sample(shape, deviations):
    others = sample(0, 4000, shape)
    mean, deviation, skew = others.mean(), others.std(), stats.skew(others)
    value = mean + deviations * deviation
    part = abs(skew) ** (2 / 3)
    delta = math.copysign(math.sqrt(math.pi / 2 * part / (part + ((4 - math.pi) / 2) ** (2 / 3))), skew)
    scale = deviation / math.sqrt(1 - 2 * delta**2 / math.pi)
    place = mean - scale * delta * math.sqrt(2 / math.pi)
    known = -stats.skewnorm.logsf(value, delta / math.sqrt(1 - delta**2), place, scale) / math.log(2)
    assert exposure(value, others, SPACE).bits == pytest.approx(min(known, math.log2(SPACE)), abs=1e-3)


def test_a_secret_never_seen_has_one_and_a_half_bits_on_average_and_is_not_found():
    rng = np.random.default_rng(1)
    found = [exposure(float(rng.normal()), rng.normal(size=128), SPACE) for _ in range(400)]
    assert np.mean([each.bits for each in found]) == pytest.approx(1 / math.log(2), abs=0.25)
    assert sum(each.is_found for each in found) <= 3


def test_a_secret_that_stands_out_is_found_and_never_by_more_than_its_space():
    others = sample(2)
    assert exposure(others.max() + 5, others, SPACE).is_found
    assert exposure(1e6, others, SPACE).bits == math.log2(SPACE)
    assert not Exposure(FOUND_BITS + 8, 2, 256).is_found
    assert not exposure(1e6, others, int(2**FOUND_BITS) - 1).is_found


@given(st.integers(0, 10**6), st.floats(-8, 8), st.floats(0, 5))
def test_a_more_probable_secret_has_no_lower_rank_and_no_fewer_bits(seed, value, more):
    draw = random.Random(seed)
    others = [draw.gauss(0, 1) for _ in range(64)]
    less, greater = exposure(value, others, SPACE), exposure(value + more, others, SPACE)
    assert greater.rank <= less.rank
    assert greater.bits >= less.bits - 1e-6
    assert less.rank == 1 + sum(other >= value for other in others)


def test_equal_candidates_say_whether_the_secret_is_above_them_and_few_say_nothing():
    assert exposure(1.0, [0.0] * 64, SPACE).bits == math.log2(SPACE)
    assert exposure(0.0, [0.0] * 64, SPACE) == Exposure(0.0, 65, 64)
    with pytest.raises(ValueError, match="31 candidates say too little"):
        exposure(0.0, [0.0] * 31, SPACE)
