"""The leak test on a GPU, where the fast path's own attention kernels run."""

from medtune import MedTuner


def test_samples_do_not_see_each_other_under_any_attention_of_the_gpu(figures):
    outcome = MedTuner.from_bundle("demo").inspect(1, leak_test=True).to_json()["leak_test"]
    assert list(outcome["attention"])[-2:] == ["fast path", "fast path, common prefixes once"]
    assert outcome["isolated"]
    figures(**{name: one["largest_change"] / one["control"] for name, one in outcome["attention"].items()})
