"""``exclude_sources = "public"`` stands for the sources under data-use agreements of data sets that medtune knows."""

import json

import pytest

from medtune import DataSpec, RunSpec
from medtune.data.examples import validation_pool
from medtune.data.quarantine import Quarantine
from medtune.errors import SpecError
from medtune.planning.terms import licences_of
from medtune.plugins.host import create_host


def test_public_leaves_out_the_sources_under_agreement():
    assert DataSpec(exclude_sources="public").excluded == ("i2b2-2010", "i2b2-2012", "MedNLI")
    assert DataSpec(exclude_sources="JNLPBA,public").excluded == ("JNLPBA", "i2b2-2010", "i2b2-2012", "MedNLI")
    assert DataSpec(exclude_sources="JNLPBA").excluded == ("JNLPBA",)


def test_public_is_refused_where_it_is_not_known_what_is():
    with pytest.raises(SpecError, match=r"'notes\.jsonl' are is not known.*name them"):
        DataSpec(source="notes.jsonl", exclude_sources="public")
    with pytest.raises(SpecError, match=r"'own\.jsonl'"):
        DataSpec(mix=[{"source": "own.jsonl"}], exclude_sources="public")


def test_the_terms_say_which_sources_under_agreement_are_in_use():
    def terms(**data):
        return " ".join(licences_of(RunSpec(data=DataSpec(**data)), []))

    assert "i2b2-2010, i2b2-2012, MedNLI come under data-use agreements" in terms()
    assert "rows of MedNLI come under" in terms(exclude_sources="i2b2-2010,i2b2-2012")
    assert "are left out" in terms(exclude_sources="public")
    assert "agreements" not in terms(source="notes.jsonl")


def test_public_goes_with_validation_rows_of_another_place(tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_text(
        "".join(
            json.dumps({"instruction": "Say it.", "input": f"Bed {i}.", "output": "Yes.", "source": source}) + "\n"
            for i, source in enumerate(["MedNLI", "JNLPBA"])
        )
    )
    spec = DataSpec(exclude_sources="public", validation=str(file))
    pool = validation_pool(spec, create_host(autoload=False), Quarantine(None, 1.0), 0)
    assert [example.source for example in pool] == ["JNLPBA"]
