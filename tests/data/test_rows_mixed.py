"""Several sources are mixed by weight, named, and held out without a copy of a held-out row being trained on."""

import json
from collections import Counter

import pytest

from medtune import DataSpec
from medtune.data.examples import training_examples, training_fingerprint, validation_fingerprint, validation_pool
from medtune.data.formatters import MalformedRowError
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError
from medtune.plugins.contracts import Example
from medtune.plugins.host import create_host
from medtune.specfile import apply_overrides, validate_spec
from medtune.specs import SourceSpec


@pytest.fixture(scope="module")
def host():
    return create_host(autoload=False)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def tasks(count, **more):
    return [{"instruction": f"Do {i}.", "output": f"done {i}", **more} for i in range(count)]


def questions(count):
    return [{"question": f"What is {i}?", "answer": f"It is {i}."} for i in range(count)]


@pytest.fixture
def spec(tmp_path):
    """Two sources of different shape; the second weighs twice as much."""
    first = write(tmp_path / "tasks.jsonl", tasks(100))
    second = write(tmp_path / "ward" / "tasks.jsonl", questions(50))
    return DataSpec(source=first, mix=[SourceSpec(source=second, weight=2, name="ward")], validation_fraction=0.1)


def read(spec, host, part="all", **options):
    return list(training_examples(spec, host, Quarantine(None, 0.0), 0, part=part, **options))


def test_every_source_gets_its_own_formatter_name_and_ids(spec, host):
    examples = read(spec, host)
    assert Counter(e.source for e in examples) == {"tasks": 100, "ward": 50}
    assert len({e.row_id for e in examples}) == 150
    assert examples[-1].messages[0]["content"] == "What is 49?"


def test_a_weight_repeats_rows_and_never_those_held_out(spec, host):
    learned, held_out = read(spec, host, "learned"), read(spec, host, "held out")
    assert Counter(e.source for e in learned) == {"tasks": 90, "ward": 90}
    assert Counter(e.source for e in held_out) == {"tasks": 10, "ward": 5}
    texts = [{e.messages[0]["content"] for e in part} for part in (learned, held_out)]
    assert not texts[0] & texts[1]
    assert len({e.row_id for e in learned}) == 180


def test_half_a_weight_takes_half_the_rows(spec, host):
    lighter = spec.model_copy_with(weight=0.5)
    counts = Counter(e.source for e in read(lighter, host, "learned"))
    assert counts["ward"] == 90
    assert 30 <= counts["tasks"] <= 60


def test_rows_that_name_their_source_keep_it(spec, host, tmp_path):
    write(tmp_path / "tasks.jsonl", tasks(3, source="demo"))
    assert Counter(e.source for e in read(spec, host)) == {"demo": 3, "ward": 50}


def test_a_single_source_is_named_only_on_request(tmp_path, host):
    path = write(tmp_path / "tasks.jsonl", tasks(3))
    assert {e.source for e in read(DataSpec(source=path), host)} == {""}
    assert {e.source for e in read(DataSpec(source=path, name="ward"), host)} == {"ward"}


def test_sources_are_chosen_by_the_names_they_were_given(spec, host):
    assert {e.source for e in read(spec.model_copy_with(include_sources=("ward",)), host)} == {"ward"}
    assert {e.source for e in read(spec.model_copy_with(exclude_sources=("ward",)), host)} == {"tasks"}


def test_rows_in_python_stand_in_for_the_first_source(spec, host):
    examples = read(spec, host, rows=tasks(7))
    assert Counter(e.source for e in examples) == {"rows": 7, "ward": 50}


def test_malformed_rows_are_judged_over_all_sources_together(spec, host, tmp_path):
    write(tmp_path / "tasks.jsonl", [*tasks(3), {"instruction": "x", "output": None}])
    quarantine = Quarantine(None, 0.05)
    assert len(list(training_examples(spec, host, quarantine, 0))) == 53
    assert (quarantine.count, quarantine.rows) == (1, 54)
    with pytest.raises(DataError, match="1 of 54 rows"):
        list(training_examples(spec, host, Quarantine(None, 0.01), 0))


def test_a_source_without_rows_is_named(spec, host, tmp_path):
    write(tmp_path / "ward" / "tasks.jsonl", [])
    with pytest.raises(DataError, match=r"there is no row in '.*ward/tasks\.jsonl'"):
        read(spec, host)


def test_separate_validation_rows_leave_every_training_row(spec, host, tmp_path):
    apart = spec.model_copy_with(validation=write(tmp_path / "apart.jsonl", tasks(4)))
    assert Counter(e.source for e in read(apart, host, "learned")) == {"tasks": 100, "ward": 100}
    assert len(pool(apart, host)) == 4


def test_rows_in_python_are_held_out_although_the_spec_names_a_split(host):
    spec = DataSpec(validation_fraction=0.25)
    learned, held_out = read(spec, host, "learned", rows=tasks(40)), pool(spec, host, rows=tasks(40))
    assert (len(learned), len(held_out)) == (30, 10)
    assert not {e.row_id for e in learned} & {e.row_id for e in held_out}


def test_nothing_is_scored_when_nothing_is_held_out(spec, host):
    assert pool(spec.model_copy_with(validation_fraction=0), host) == []


def pool(spec, host, **options):
    return list(validation_pool(spec, host, Quarantine(None, 1.0), 0, **options))


def test_a_split_of_a_folder_is_the_validation_set(tmp_path, host):
    write(tmp_path / "train.jsonl", tasks(5))
    write(tmp_path / "dev.jsonl", questions(3))
    spec = DataSpec(source=str(tmp_path), validation="validation")
    assert (len(read(spec, host, "learned")), len(pool(spec, host))) == (5, 3)


def test_a_folder_or_glob_of_its_own_is_the_validation_set(tmp_path, host):
    source = write(tmp_path / "rows.jsonl", tasks(5))
    write(tmp_path / "apart" / "one.jsonl", tasks(2))
    write(tmp_path / "apart" / "two.jsonl", tasks(1))
    for place in (f"{tmp_path}/apart", f"{tmp_path}/apart/*.jsonl"):
        assert len(pool(DataSpec(source=source, validation=place), host)) == 3


def test_a_file_has_no_split_to_validate_on(tmp_path, host):
    spec = DataSpec(source=write(tmp_path / "rows.jsonl", tasks(5)), validation="validation")
    with pytest.raises(DataError, match=r"rows\.jsonl' has no split 'validation'"):
        pool(spec, host)


def test_a_folder_without_the_split_never_gives_its_training_rows_for_it(tmp_path, host):
    write(tmp_path / "train.jsonl", tasks(5))
    with pytest.raises(DataError, match=r"has no split 'validation' \(it has 'train'\)"):
        pool(DataSpec(source=str(tmp_path), validation="validation"), host)
    write(tmp_path / "plain" / "rows.jsonl", tasks(5))
    with pytest.raises(DataError, match="not named by one"):
        pool(DataSpec(source=f"{tmp_path}/plain", validation="validation"), host)


def test_the_fingerprint_follows_every_source_and_its_name(spec, tmp_path):
    prints = [training_fingerprint(spec)]
    write(tmp_path / "ward" / "tasks.jsonl", questions(51))
    prints.append(training_fingerprint(spec))
    prints.append(training_fingerprint(spec.model_copy_with(mix=())))
    assert len(set(prints)) == 3
    assert validation_fingerprint(spec) == ""
    apart = spec.model_copy_with(validation=spec.source)
    assert validation_fingerprint(apart)


def test_a_mix_is_written_in_a_spec_or_on_the_command_line():
    override = 'data.mix=[{source="notes.jsonl", weight=0.5}, {source="org/set", subset="en"}]'
    spec = validate_spec(apply_overrides({"data": {"source": "rows.jsonl"}}, [override]))
    assert [(m.source, m.weight, m.subset) for m in spec.data.mix] == [("notes.jsonl", 0.5, None), ("org/set", 1, "en")]


def test_another_source_drops_what_belonged_to_the_old_one():
    below = {"data": {"source": "org/set", "subset": "en", "split": "all"}}
    data = validate_spec(apply_overrides(below, ["data.source=rows.jsonl"])).data
    assert (data.subset, data.split, data.revision, data.validation) == (None, "train", None, None)


class Own:
    name = "own"

    def __init__(self, result):
        self.result = result

    def format(self, row):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


GOOD = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SECRET = "Mrs Patient"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (MalformedRowError("the letter has no date"), "the letter has no date"),
        (ValueError(SECRET), "the formatter raised ValueError"),
        (KeyError(SECRET), "the formatter raised KeyError"),
        (None, "the formatter returned a NoneType, not an Example"),
        (Example([]), "does not end with an answer"),
        (Example(GOOD[:1]), "does not end with an answer"),
        (Example([GOOD[0], {"role": "assistant", "content": " "}]), "the answer is empty"),
        (Example([{"role": "doctor", "content": "q"}, GOOD[1]]), "a role other than system, user and assistant"),
        (Example([{"role": "user", "content": None}, GOOD[1]]), "a message has no text"),
        (Example([{"role": "user", "content": "half \ud83d"}, GOOD[1]]), "a lone surrogate"),
    ],
)
def test_what_a_user_s_formatter_does_wrong_is_said_without_the_row_s_text(result, reason):
    class Plugin:
        def provide_formatters(self):
            return [Own(result)]

    from medtune import hookimpl

    Plugin.provide_formatters = hookimpl(Plugin.provide_formatters)
    host = create_host([Plugin()], autoload=False)
    quarantine = Quarantine(None, 1.0)
    assert list(training_examples(DataSpec(formatter="own"), host, quarantine, 0, rows=[{"a": SECRET}])) == []
    assert [r for r in quarantine.reasons if reason in r]
    assert not [r for r in quarantine.reasons if SECRET in r]


def test_a_formatter_may_give_its_own_ids_and_documents():
    class Plugin:
        def provide_formatters(self):
            return [Own(Example(GOOD, source="s", row_id="own-1", document="d"))]

    from medtune import hookimpl

    Plugin.provide_formatters = hookimpl(Plugin.provide_formatters)
    host = create_host([Plugin()], autoload=False)
    found = list(training_examples(DataSpec(formatter="own"), host, Quarantine(None, 0.0), 0, rows=[{"a": 1}]))
    assert found == [Example(GOOD, source="s", row_id="own-1", document="d")]
