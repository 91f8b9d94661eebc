"""The sample rows that the package carries are what the generator gives, and the demo bundle uses them."""

import gzip
import json
from importlib.resources import files

import pytest

from demo_base.write_rows import TRAINING_ROWS, sample_rows
from medtune.plugins.host import create_host


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_carried_rows_are_the_generator_s(split):
    carried = gzip.decompress(files("medtune.demo").joinpath(f"rows/{split}.jsonl.gz").read_bytes()).decode()
    assert [json.loads(line) for line in carried.splitlines()] == sample_rows(split)


def test_the_demo_bundle_trains_and_scores_on_the_carried_rows():
    data = create_host(autoload=False).find("bundle", "demo").spec.data
    assert data.source.endswith("rows/train.jsonl.gz")
    assert data.validation.endswith("rows/test.jsonl.gz")
    assert set(TRAINING_ROWS) == {row["source"] for row in sample_rows("test")}
