"""Why intervals come from the jackknife: how often those of the bootstrap hold the truth, on the same draws."""

import os
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats
from test_intervals import DRAWS, SHARES, coverage, right_documents, share_of

RESAMPLES = 999


def resampled(counts, figures, rng):
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES).astype(float)
    found = figures(weights @ counts)["figure"]
    return np.sort(found[~np.isnan(found)])


def percentile(counts, figures, rng):
    return tuple(np.quantile(resampled(counts, figures, rng), [0.025, 0.975]))


def bca(counts, figures, rng):
    """Efron's (1987) interval, corrected for bias and for a variance that changes with the figure."""
    found, point = resampled(counts, figures, rng), float(figures(counts.sum(axis=0))["figure"])
    below = ((found < point).sum() + (found == point).sum() / 2) / len(found)
    if not 0 < below < 1 or found[0] == found[-1]:
        return found[0], found[-1]
    left_out = figures(counts.sum(axis=0) - counts)["figure"]
    gaps = np.nanmean(left_out) - left_out[~np.isnan(left_out)]
    curvature = (gaps**3).sum() / max(6 * (gaps**2).sum() ** 1.5, 1e-300)
    normal = NormalDist()
    bias = normal.inv_cdf(below)
    moved = [bias + normal.inv_cdf(share) for share in (0.025, 0.975)]
    shares = [normal.cdf(bias + each / (1 - curvature * each)) for each in moved]
    return tuple(np.quantile(found, shares))


def test_the_bootstrap_that_is_compared_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(3):
        counts = right_documents(rng, 40, 0.8)
        own = bca(counts, share_of, np.random.default_rng(1))

        def share(right, rows, axis):
            return right.sum(axis=axis) / rows.sum(axis=axis)

        theirs = stats.bootstrap(
            (counts[:, 0], counts[:, 1]), share, paired=True, vectorized=True, method="BCa", n_resamples=4999, rng=2
        ).confidence_interval
        assert own == pytest.approx(tuple(theirs), abs=0.02)


@pytest.mark.proof
@pytest.mark.parametrize("name", DRAWS)
def test_the_jackknife_holds_the_truth_more_often_than_the_bootstrap(name):
    """Percentile and BCa fail where few rows vary; from 200 rows on all three agree."""
    trials, cells = int(os.environ.get("MEDTUNE_TRIALS", "1000")), []
    for p in SHARES:
        for n in (10, 20, 50, 200):
            ways = [coverage(name, n, p, trials, interval_of=way)[0] for way in (None, bca, percentile)]
            cells.append(ways)
            print(name, p, n, *(f"{100 * way:.1f}" for way in ways), sep=" | ")
    worst = np.nanmin(np.array(cells), axis=0)
    assert worst[0] > worst[1]
    assert worst[0] > worst[2]
