"""Samples come back as they were written, from disk and from memory."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtune import Example
from medtune.data.pack import best_fit
from medtune.data.samples import Sample, SampleWriter, open_samples
from medtune.errors import StorageError

SAMPLE = st.tuples(
    st.lists(st.integers(0, 40_000), min_size=2, max_size=30),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["", "NCBI-disease", "Befunde\n"]),
)


def written(samples, folder, vocabulary=40_001, chunk=3):
    """Write samples in chunks, the second half of each supervised; return the facts, and the writer."""
    writer = SampleWriter(vocabulary, folder)
    for start in range(0, len(samples), chunk):
        part = samples[start : start + chunk]
        writer.add(
            [
                Sample(Example((), source, None, name), np.array(ids, dtype=np.int32), [(len(ids) // 2, len(ids))])
                for ids, name, source in part
            ]
        )
    facts = writer.finish(best_fit(writer.lengths, 64, 0))
    return facts, writer


def contents(store):
    """Return sample number -> ids, supervision, row id and source."""
    found = {}
    for index in range(len(store)):
        row, start = store[index], 0
        for length, sample in zip(row.lengths, row.samples, strict=True):
            assert sample not in found
            ids, mask = (list(part[start : start + length]) for part in (row.input_ids, row.supervised))
            found[sample] = (ids, mask, store.row_id(sample), store.source(sample))
            start += length
        assert start == len(row.input_ids) <= 64
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(samples=st.lists(SAMPLE, min_size=1, max_size=20))
def test_packing_loses_duplicates_and_changes_nothing(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("samples")
    facts, writer = written(samples, folder)
    writer.close()
    on_disk = open_samples(folder, facts)
    in_memory_facts, kept = written(samples, None)
    in_memory = kept.in_memory(in_memory_facts)
    expected = {
        number: (ids, [0] * (len(ids) // 2) + [1] * (len(ids) - len(ids) // 2), name, source)
        for number, (ids, name, source) in enumerate(samples)
    }
    assert contents(on_disk) == contents(in_memory) == expected
    assert on_disk.fingerprint == in_memory.fingerprint
    assert on_disk.tokens == sum(len(ids) for ids, _name, _source in samples)


def test_the_fingerprint_tells_sets_apart_that_differ_in_one_thing(tmp_path):
    samples = [([5, 6, 7], "a", "x"), ([8, 9], "b", "y")]
    others = [
        [([5, 6, 8], "a", "x"), ([8, 9], "b", "y")],
        [([5, 6, 7], "c", "x"), ([8, 9], "b", "y")],
        [([5, 6, 7], "a", "z"), ([8, 9], "b", "y")],
        [([5, 6], "a", "x"), ([7, 8, 9], "b", "y")],
    ]
    prints = {written(s, None)[0]["fingerprint"] for s in (samples, samples, *others)}
    assert len(prints) == 5


@pytest.mark.parametrize(("vocabulary", "bytes_per_id"), [(65_536, 2), (65_537, 4)])
def test_ids_take_two_bytes_where_they_fit(tmp_path, vocabulary, bytes_per_id):
    facts, writer = written([([1, 2, 3], "a", "")], tmp_path, vocabulary)
    writer.close()
    assert facts["sizes"]["ids"] == (tmp_path / "ids.bin").stat().st_size == 3 * bytes_per_id


@pytest.mark.parametrize("name", ["ids", "row_ids", "bounds"])
def test_a_file_that_was_cut_short_or_lost_is_noticed(tmp_path, name):
    facts, writer = written([([1, 2, 3], "ab", "")], tmp_path)
    writer.close()
    file = tmp_path / f"{name}.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert open_samples(tmp_path, facts) is None
    file.unlink()
    assert open_samples(tmp_path, facts) is None
    file.write_bytes(whole)
    assert open_samples(tmp_path, facts) is not None


def test_a_folder_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path):
    writer = SampleWriter(10, tmp_path / "gone" / "deeper")
    with pytest.raises(StorageError, match="set MEDTUNE_CACHE to another folder"):
        writer.add([Sample(Example(()), np.array([1, 2], dtype=np.int32), [(1, 2)])])
