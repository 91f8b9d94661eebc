"""Files of a kind that a plugin reads are rows like any others; what it gets wrong is told without the file's text."""

import json

import pytest
from chat_templates import TEMPLATES, make_tokenizer

from medtune import DataSpec, EvalSpec, MedTuner, RunSpec, TrainSpec, hookimpl
from medtune.data.prepare import prepare
from medtune.data.rows import read_rows
from medtune.data.sources.kinds import _KINDS, COMPRESSED, reading_with
from medtune.errors import DataError, PluginClashError, PluginError, StorageError
from medtune.plugins.host import create_host


class Pipes:
    """Question and answer, parted by a bar, a row a line."""

    name, suffixes = "pipes", (".hl7", ".pipe")

    def rows(self, path):
        for line in path.read_text().splitlines():
            if line == "stop":
                raise ValueError(f"secret {line}")
            if line == "gone":
                raise StorageError("the disk is gone")
            question, bar, answer = line.partition("|")
            yield {"question": question, "answer": answer} if bar else line


class Plugin:
    __hash__ = object.__hash__

    def __init__(self, *readers):
        self.readers = readers

    @hookimpl
    def provide_readers(self):
        return self.readers


def host_with(*readers):
    return create_host([Plugin(*(readers or (Pipes(),)))], autoload=False)


def written(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def rows_of(source, **options):
    with reading_with(host_with()):
        return list(read_rows(source, **options))


def test_a_file_of_a_plugin_s_kind_is_read_with_ids_and_places(tmp_path):
    source = written(tmp_path / "notes.HL7", "a ?|b", "c ?|d")
    found = rows_of(source)
    assert [row.values for row in found] == [{"question": "a ?", "answer": "b"}, {"question": "c ?", "answer": "d"}]
    assert [(row.row_id, row.place) for row in found] == [
        ("notes.HL7-1", f"{source}:1"),
        ("notes.HL7-2", f"{source}:2"),
    ]


def test_files_of_a_plugin_s_kind_lie_in_folders_beside_others(tmp_path):
    written(tmp_path / "a.hl7", "a|b")
    written(tmp_path / "b.jsonl", json.dumps({"question": "c", "answer": "d"}))
    written(tmp_path / "c.odd", "e|f")
    assert [row.values["question"] for row in rows_of(str(tmp_path))] == ["a", "c"]
    assert [row.values["question"] for row in read_rows(str(tmp_path))] == ["c"]


def test_outside_of_its_host_a_plugin_s_kind_is_unknown_and_inside_it_is_listed(tmp_path):
    source = written(tmp_path / "notes.hl7", "a|b")
    with pytest.raises(DataError, match="of no known kind"):
        list(read_rows(source))
    other = written(tmp_path / "notes.odd", "a|b")
    with pytest.raises(DataError, match=r"of no known kind.* and \.hl7 by reader 'pipes'"):
        rows_of(other)


def test_what_is_no_mapping_is_refused_by_name_without_its_text(tmp_path):
    with pytest.raises(PluginError, match=r"reader 'pipes'.rows yielded a str that is no row") as caught:
        rows_of(written(tmp_path / "notes.hl7", "a|b", "a patient's text"))
    assert "patient" not in str(caught.value)


def test_a_reader_that_fails_is_named_without_what_it_says(tmp_path):
    with pytest.raises(
        PluginError, match=r"failed in reader 'pipes'.rows: ValueError at test_plugin_readers"
    ) as caught:
        rows_of(written(tmp_path / "notes.hl7", "a|b", "stop"))
    assert "secret" not in str(caught.value)
    with pytest.raises(StorageError, match="the disk is gone"):
        rows_of(written(tmp_path / "notes.hl7", "gone"))


@pytest.mark.parametrize(
    ("suffixes", "said"),
    [
        (".hl7", r"has the text '\.hl7' as suffixes; it takes a list of suffixes"),
        ((), "has no suffix; it takes a list"),
        ([7], "has the suffix of type int; a suffix is one lower-case"),
        ([".jsonl"], r"has the suffix '\.jsonl', which medtune reads itself"),
    ],
)
def test_suffixes_that_are_no_list_of_free_ones_are_refused_with_what_they_are(suffixes, said):
    reader = type("Odd", (Pipes,), {"suffixes": suffixes})()
    with pytest.raises(PluginError, match=f"reader 'pipes' of plugin 'Plugin' {said}"), reading_with(host_with(reader)):
        pass


class Reusing(Pipes):
    """Fills one dict, and one list in it, again for each row."""

    def rows(self, path):
        row = {"notes": []}
        for number, line in enumerate(path.read_text().splitlines()):
            row["question"], _bar, row["answer"] = line.partition("|")
            row["notes"][:] = [number]
            yield row


def test_a_reader_that_uses_one_dict_for_all_rows_gives_each_row(tmp_path):
    source = written(tmp_path / "notes.hl7", *(f"{n} ?|{n}" for n in range(3)))
    with reading_with(host_with(Reusing())):
        found = list(read_rows(source))
    assert [(row.values["answer"], row.values["notes"]) for row in found] == [("0", [0]), ("1", [1]), ("2", [2])]


def test_rows_handed_over_in_one_dict_are_each_their_own():
    def rows():
        row = {}
        for number in range(3):
            row["n"] = number
            yield row

    assert [row.values["n"] for row in list(read_rows(rows()))] == [0, 1, 2]


@pytest.mark.parametrize("change", ["in the first rows", "late", "fewer", "more"])
def test_a_reader_that_gives_other_rows_of_a_file_when_it_reads_it_again_is_refused(tmp_path, change):
    class Changing(Pipes):
        times = 0

        def rows(self, path):
            self.times += 1
            found = list(super().rows(path))
            place = {"in the first rows": 2, "late": 99}.get(change)
            if place is not None:
                found[place]["answer"] = str(self.times)
            wanted = {"fewer": 100 - self.times, "more": 98 + self.times}.get(change, 100)
            yield from found[:wanted]

    source = written(tmp_path / "notes.hl7", *(f"{n} ?|{n}" for n in range(100)))
    with reading_with(host_with(Changing())):
        list(read_rows(source))
        with pytest.raises(PluginError, match=r"reader 'pipes'.rows gave other rows of a file than when"):
            list(read_rows(source))


def test_a_file_that_changed_is_another_file_to_a_reader(tmp_path):
    path = tmp_path / "notes.hl7"
    with reading_with(host_with()):
        for lines in (["a|b", "c|d"], ["a|b"], ["e|f"]):
            path.unlink(missing_ok=True)
            written(path, *lines)
            assert len(list(read_rows(str(path)))) == len(lines)


@pytest.mark.parametrize("suffix", [*_KINDS, *COMPRESSED, "hl7", ".HL7", ".odd.gz"])
def test_a_reader_cannot_take_over_what_medtune_reads(suffix):
    class Taking(Pipes):
        suffixes = (suffix,)

    with (
        pytest.raises(PluginError, match=f"reader 'pipes' of plugin 'Plugin' has the suffix '{suffix}'"),
        reading_with(host_with(Taking())),
    ):
        pass


def test_two_readers_cannot_have_one_suffix():
    class Other(Pipes):
        name = "other"

    with (
        pytest.raises(PluginClashError, match=r"reader of '\.hl7' is registered by 'other' and by 'pipes'"),
        reading_with(host_with(Pipes(), Other())),
    ):
        pass


def test_a_tuner_reads_with_the_readers_of_its_plugins(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    source = written(tmp_path / "notes.hl7", *(f"question {n} ?|answer {n}" for n in range(30)))
    tuner = MedTuner.from_bundle("demo", plugins=host_with(), data={"source": source, "formatter": "question_answer"})
    assert tuner.preview(1)[0].row_id.startswith("notes.hl7-")
    assert tuner.plan().size_is_measured
    with pytest.raises(DataError, match="of no known kind"):
        MedTuner(tuner.spec, plugins=create_host(autoload=False)).preview(1)


def test_rows_of_another_reader_are_not_served_from_the_cache(tmp_path, monkeypatch):
    class Louder(Pipes):
        def rows(self, path):
            for row in super().rows(path):
                yield {**row, "question": row["question"].upper()}

    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    source = written(tmp_path / "notes.hl7", *(f"question {n} ?|answer {n}" for n in range(30)))
    data = DataSpec(source=source, formatter="question_answer", validation_fraction=0.2, accept_loss=True)
    spec = RunSpec(data=data, train=TrainSpec(max_length=256), eval=EvalSpec(rows_per_source=4))
    tokenizer = make_tokenizer(TEMPLATES["starling"])
    found = []
    for reader in (Pipes(), Pipes(), Louder(), Pipes()):
        host = host_with(reader)
        with reading_with(host):
            found.append(prepare(spec, host, tokenizer).report.from_cache)
    assert found == [False, True, False, True]
