"""Rows as another program rendered them lie beside medtune's, and the first difference is named."""

import json

import pytest

from medtune import MedTuner
from medtune.cli.app import run
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import DataError
from medtune.workflow.taken_over.rendered import compare_rendered, told


@pytest.fixture(scope="module")
def tuner(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [
        {"instruction": f"Answer question {n}.", "input": f"text {n}", "output": f"answer number {n}"} for n in range(6)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return MedTuner.from_bundle("demo", data={"source": str(file), "validation": None})


@pytest.fixture(scope="module")
def tokenizer(tuner):
    return load_tokenizer(tuner.spec.model)


@pytest.fixture
def compare(tuner, tokenizer, tmp_path):
    """Return a function that compares a line, made of medtune's own row by a change."""
    row = tuner.preview(1)[0]
    ids = list(row.input_ids)
    labels = [each if on else -100 for each, on in zip(ids, row.supervised, strict=True)]

    def compared(change):
        line = {"input_ids": list(ids), "labels": list(labels)}
        file = tmp_path / "rendered.jsonl"
        file.write_text(json.dumps(change(line, tokenizer)) + "\n")
        return compare_rendered(file, tuner.spec, tuner.host, tokenizer)[0]

    return compared


def test_the_same_rows_are_the_same(compare):
    found = compare(lambda line, _tokenizer: line)
    assert found.row_id
    assert found.looked_at == ("text", "ids", "labels")
    assert not found.differences
    assert "the same text, ids, labels" in next(told([found]))


def test_padding_is_no_difference(compare):
    def padded(line, tokenizer):
        return {"input_ids": [*line["input_ids"], tokenizer.pad_token_id], "labels": [*line["labels"], -100]}

    assert not compare(padded).differences


def test_loss_on_the_prompt_is_named_by_the_first_token_that_carries_it(compare):
    found = compare(lambda line, _tokenizer: {**line, "labels": line["input_ids"]})
    assert found.differences.keys() == {"labels"}
    assert "from token 1," in found.differences["labels"]
    assert "theirs carries loss and medtune's does not" in found.differences["labels"]


def test_another_beginning_is_named_in_text_and_ids(compare):
    def doubled(line, _tokenizer):
        first = line["input_ids"][0]
        return {"input_ids": [first, *line["input_ids"]], "labels": [-100, *line["labels"]]}

    found = compare(doubled)
    assert found.differences.keys() == {"text", "ids"}  # the tokens with loss are the same ones
    assert "from token 2" in found.differences["ids"]


def test_another_template_is_named_in_the_text_alone_where_that_is_all_there_is(compare):
    found = compare(lambda line, tokenizer: {"text": "### " + tokenizer.decode(line["input_ids"])})
    assert found.looked_at == ("text",)
    assert found.differences["text"].startswith("from character 1,")


def test_a_row_that_is_not_there_is_said(compare):
    found = compare(lambda _line, _tokenizer: {"text": "another text"})
    assert not found.row_id
    assert "no training row has this answer" in next(told([found]))


@pytest.mark.parametrize("line", ["{}", "[1]", '{"text": "x", "labels": [1]}', '{"input_ids": ["a"]}', "no json"])
def test_a_line_of_another_shape_is_refused_with_its_place(tuner, tokenizer, tmp_path, line):
    file = tmp_path / "rendered.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(DataError, match="line 1"):
        compare_rendered(file, tuner.spec, tuner.host, tokenizer)


def test_the_command_prints_one_object(tuner, tmp_path, capsys):
    file = tmp_path / "rendered.jsonl"
    file.write_text('{"text": "answer number 3"}\n')
    sets = ["--set", f"data.source={tuner.spec.data.source}", "--set", "data.validation=null"]
    assert run(["preview", "--bundle", "demo", *sets, "--against", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differing"] == 1
    assert found["rows"][0]["differences"].keys() == {"text"}
