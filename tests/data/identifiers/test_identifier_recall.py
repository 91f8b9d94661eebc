"""What rules find in synthetic notes that were written without knowing them, and what they flag in clean ones."""

import pytest

from clinical_notes import KINDS, LANGUAGES
from identifier_recall import measure
from medtune.evaluation.intervals import wilson


def test_a_small_sample_keeps_its_floor():
    found = measure(LANGUAGES, seeds=[0], count=12)
    assert found.there.total() > 600
    assert found.recall > 0.91
    assert found.false_alarms < 0.03


@pytest.mark.proof
def test_the_large_series_by_kind():
    found = measure(LANGUAGES, seeds=range(100, 105), count=60)
    for kind in KINDS:
        low, high = wilson(found.found[kind] / found.there[kind], found.there[kind])
        print(f"{kind:20} {found.there[kind]:6} {found.found[kind] / found.there[kind]:.3f} [{low:.3f}, {high:.3f}]")
    print(
        f"all {found.recall:.4f}; sentences flagged {found.false_alarms:.4f}; tokens {found.flagged_tokens / found.tokens:.4f}"
    )
    assert found.recall > 0.94
    assert found.false_alarms < 0.03
