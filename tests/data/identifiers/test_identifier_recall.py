"""What rules find in two sets of synthetic notes that were written without knowing them, and what they flag in clean ones."""

import pytest

import clinical_notes
import ward_notes
from clinical_notes import KINDS
from identifier_recall import measure, measure_ward
from medtune.evaluation.intervals import wilson


def test_a_small_sample_keeps_its_floor():
    found = measure(clinical_notes.LANGUAGES, seeds=[0], count=12)
    assert found.there.total() > 600
    assert found.recall > 0.93
    assert found.false_alarms < 0.03


def test_a_small_sample_of_the_held_half_keeps_its_floor():
    found = measure_ward(ward_notes.LANGUAGES, "held", seeds=[100], count=20)
    assert found.there.total() > 800
    assert found.recall > 0.93
    assert found.false_alarms < 0.03


@pytest.mark.proof
@pytest.mark.parametrize("notes", ["clinical", "ward"])
def test_the_large_series_by_kind(notes):
    if notes == "clinical":
        found = measure(clinical_notes.LANGUAGES, seeds=range(100, 105), count=60)
    else:
        found = measure_ward(ward_notes.LANGUAGES, "held", seeds=range(100, 104), count=75)
    for kind in KINDS:
        low, high = wilson(found.found[kind] / found.there[kind], found.there[kind])
        print(f"{kind:20} {found.there[kind]:6} {found.found[kind] / found.there[kind]:.3f} [{low:.3f}, {high:.3f}]")
    for genre in sorted(found.there_in):
        print(f"{genre:20} {found.there_in[genre]:6} {found.found_in[genre] / found.there_in[genre]:.3f}")
    print(
        f"all {found.recall:.4f}; sentences flagged {found.false_alarms:.4f}; tokens {found.flagged_tokens / found.tokens:.4f}"
    )
    assert found.recall > 0.95
    assert found.false_alarms < 0.03
