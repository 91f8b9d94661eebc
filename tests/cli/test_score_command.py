"""``medtune score``: what sources are, figures of every kind, and two systems against each other."""

import json
import random

import pytest

from medtune.cli.app import run


@pytest.fixture
def file_of(tmp_path):
    """Return a function that writes predictions and returns their path."""

    def write(name, rows):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def rows_of(predictions, gold="Positive", **facts):
    return [{"input": f"text {i}", "gold": gold, "prediction": p, **facts} for i, p in enumerate(predictions)]


def asked(capsys, *arguments):
    code = run(["score", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_source_that_cannot_be_told_is_asked_for_and_the_setting_helps(file_of, tmp_path, capsys):
    path = file_of("a.jsonl", rows_of(["aspirin"] * 4, gold="aspirin", source="drugs"))
    code, result = asked(capsys, path)
    assert (code, result["error"]["type"]) == (3, "UndecidedTaskError")
    setting = 'tasks = [{ source = "drugs", kind = "classification" }]'
    assert setting in result["error"]["message"]
    code, result = asked(capsys, path, "--set", setting)
    assert (code, result["tasks"]["classification"]["metrics"]["accuracy"]) == (0, 1)
    spec = tmp_path / "tasks.toml"
    spec.write_text(setting)
    assert asked(capsys, path, "--tasks", str(spec))[1]["contracts"][0]["kind"] == "classification"


def test_settings_that_change_no_score_are_refused(file_of, tmp_path, capsys):
    path = file_of("a.jsonl", rows_of(["yes"], gold="yes"))
    assert asked(capsys, path, "--set", "lora.r=3")[0] == 2
    empty = tmp_path / "spec.toml"
    empty.write_text("seed = 3\n")
    assert "no [[tasks]] table" in asked(capsys, path, "--tasks", str(empty))[1]["error"]["message"]


def test_a_declared_kind_goes_before_the_task_that_rows_name_and_that_is_said(file_of, capsys):
    rows = [
        {
            "input": f"Does @DRUG$ {i} cause @DISEASE$ ?",
            "gold": gold,
            "prediction": "yes",
            "source": "rel",
            "task": "relation",
        }
        for i, gold in enumerate(["yes", "no"] * 8)
    ]
    setting = 'tasks = [{ source = "rel", kind = "classification" }]'
    _code, result = asked(capsys, file_of("a.jsonl", rows), "--set", setting)
    assert list(result["tasks"]) == ["classification"]
    assert [w for w in result["warnings"] if w.startswith("16 rows of source 'rel' name the task 'relation'")]
    assert "positive_f1" in result["tasks"]["classification"]["metrics"]


def test_rows_that_name_their_task_are_told_as_others_are(file_of, capsys):
    sets = ["fever; cough", "fever", "cough; rash", "rash", "none"]
    rows = [
        {"input": f"note {i}", "gold": gold, "prediction": "rash; fever", "source": source, "task": task}
        for i, gold in enumerate(sets * 4)
        for source, task in (("sym", "classification"), ("asked", "qa"))
    ]
    path = file_of("a.jsonl", rows)
    _code, result = asked(capsys, path)
    found = {contract["source"]: (contract["kind"], contract["known"]) for contract in result["contracts"]}
    assert found["sym"][0] == "multi-label"
    assert found["asked"] == ("question", "its rows name the task 'qa'")
    unnamed = [{**row, "task": None} for row in rows if row["source"] == "sym"]
    _code, same = asked(capsys, file_of("b.jsonl", unnamed))
    assert same["sources"]["sym"]["classification"]["metrics"] == result["sources"]["sym"]["classification"]["metrics"]


def test_the_threshold_does_not_depend_on_the_order_of_rows(file_of, capsys):
    draw = random.Random(2)
    rows = []
    for i in range(400):
        sure = draw.random()
        said = "yes" if draw.random() < 0.75 + 0.4 * sure else "no"
        rows.append({"input": f"Is it {i} ?", "gold": "yes", "prediction": said, "confidence": sure})
    _code, one = asked(capsys, file_of("a.jsonl", rows), "--set", 'tasks=[{source="", kind="decision"}]')
    _code, other = asked(capsys, file_of("b.jsonl", rows[::-1]), "--set", 'tasks=[{source="", kind="decision"}]')
    assert one["trust"]["tasks"]["qa"]["abstention"]["threshold"] is not None
    assert one["trust"]["tasks"]["qa"]["abstention"] == other["trust"]["tasks"]["qa"]["abstention"]


def test_a_bound_on_answers_without_a_confidence_is_said_to_bound_nothing(file_of, capsys):
    rows = rows_of(["yes", "no"] * 6, gold="yes")
    assert asked(capsys, file_of("a.jsonl", rows), "--alpha", "0.1")[1]["warnings"][-1].startswith(
        "--alpha bounds nothing"
    )
    sure = file_of("b.jsonl", [{**row, "confidence": 0.5} for row in rows])
    assert asked(capsys, sure, "--alpha", "0.1")[1]["warnings"] == []


def test_a_document_has_one_name_however_lines_write_it(file_of, capsys):
    rows = rows_of(["yes", "no"] * 12, gold="yes")
    names = [1001, 1001.0, "1001", " 1001.0 "]
    several = [
        {**row, "document": names[i % 4] if i < 12 else f" p-{i % 12}" if i % 2 else f"P-{i % 12} "}
        for i, row in enumerate(rows)
    ]
    one = [{**row, "document": "1001" if i < 12 else f"p-{i % 12}"} for i, row in enumerate(rows)]
    found, wanted = (asked(capsys, file_of(f"{n}.jsonl", given))[1]["tasks"] for n, given in enumerate((several, one)))
    assert found == wanted
    assert asked(capsys, file_of("c.jsonl", [{**rows[0], "document": True}]))[0] == 3


def test_keys_that_nothing_reads_are_named(file_of, capsys):
    rows = [{**row, "doc_id": "d", "Mrs Miller": 1} for row in rows_of(["yes"] * 12, gold="yes")]
    [told] = asked(capsys, file_of("a.jsonl", rows))[1]["warnings"]
    assert "'doc_id' (12)" in told
    assert "under 'document'" in told
    assert "Miller" not in told
    setting = 'tasks=[{source="*", document="doc_id"}]'
    assert "doc_id" not in asked(capsys, file_of("a.jsonl", rows), "--set", setting)[1]["warnings"][0]


def test_a_source_has_one_name_however_its_accents_are_composed(file_of, capsys):
    rows = [
        {**row, "source": ("\u00e9t\u00e9", "e\u0301te\u0301")[i % 2]}
        for i, row in enumerate(rows_of(["yes"] * 12, gold="yes"))
    ]
    setting = 'tasks=[{source="e\u0301te\u0301", kind="decision"}]'
    result = asked(capsys, file_of("a.jsonl", rows), "--set", setting)[1]
    assert [*result["sources"]] == ["\u00e9t\u00e9"]
    assert [contract["source"] for contract in result["contracts"]] == ["\u00e9t\u00e9"]


def test_two_systems_are_paired_row_by_row_wherever_rows_stand(file_of, capsys):
    golds = ["yes", "no"] * 15
    mine = [{"input": f"q{i}", "gold": gold, "prediction": gold} for i, gold in enumerate(golds)]
    other = [{**row, "prediction": "yes"} for row in reversed(mine)]
    first, second = (
        file_of("mine.jsonl", [*mine, {**mine[0], "input": "mine only"}]),
        file_of("other.jsonl", other[:-2]),
    )
    code, result = asked(capsys, first, "--against", second)
    assert code == 0
    found = result["comparison"]["tasks"]["qa"]
    assert (found["rows"], found["base"], found["tuned"]) == (28, 0.5, 1.0)
    assert found["verdict"].startswith("better than other.jsonl")
    assert found["interval"][0] > 0.2
    assert result["unpaired"] == {"file": [1, 2, 31], "against": []}
    assert result["tasks"]["qa"]["rows"] == 31


def test_files_without_a_row_in_common_or_with_other_gold_answers_are_refused(file_of, capsys):
    first = file_of("a.jsonl", rows_of(["yes"] * 3, gold="yes"))
    assert (
        asked(capsys, first, "--against", file_of("b.jsonl", [{"input": "x", "gold": "yes", "prediction": "no"}]))[0]
        == 3
    )
    code, result = asked(capsys, first, "--against", file_of("c.jsonl", rows_of(["yes"] * 3, gold="no")))
    assert (code, "different gold answers" in result["error"]["message"]) == (3, True)


def test_too_few_rows_have_no_interval_and_undefined_figures_no_value(file_of, capsys):
    code, result = asked(capsys, file_of("a.jsonl", rows_of(["yes"] * 5, gold="yes")))
    score = result["tasks"]["qa"]
    assert (code, score["metrics"]["accuracy"], "accuracy" in score["intervals"]) == (0, 1, False)
    assert score["no_interval"]["accuracy"] == "too few rows: 5 of the 10 that an interval needs"
    assert score["undefined"] == []
    lines = [{"task": "ner", "input": "a b", "gold": "a : O\nb : O", "prediction": "a : O\nb : O"}] * 12
    score = asked(capsys, file_of("b.jsonl", lines))[1]["tasks"]["ner"]
    assert "span_f1_strict" in score["undefined"]
    assert score["primary"] == "span_f1_strict"


def test_documents_may_stand_under_another_key(file_of, capsys):
    rows = [{**row, "note": i // 4} for i, row in enumerate(rows_of(["Positive", "Negative"] * 30, source="s"))]
    rows = [{**row, "gold": "Positive" if i % 3 else "Negative"} for i, row in enumerate(rows)]
    path = file_of("a.jsonl", rows)
    plain = asked(capsys, path)[1]["tasks"]["classification"]["intervals"]["accuracy"]
    grouped = asked(capsys, path, "--set", 'tasks=[{source="s", document="note"}]')[1]
    assert grouped["tasks"]["classification"]["intervals"]["accuracy"] != plain
    assert asked(capsys, path, "--set", 'tasks=[{source="s", document="letter"}]')[0] == 3


def test_rows_that_share_a_text_without_a_document_are_warned_of(file_of, capsys):
    text = "a long clinical text that several questions are asked about, number {}"
    rows = [
        {"input": f"Question {i} ?\n\n{text.format(i // 3)}", "gold": "yes", "prediction": "yes"} for i in range(60)
    ]
    assert "name no document" in asked(capsys, file_of("a.jsonl", rows))[1]["warnings"][0]
    assert asked(capsys, file_of("b.jsonl", [{**row, "document": "d"} for row in rows]))[1]["warnings"] == []
    apart = [{**row, "input": f"Question ?\n\n{text.format(i)}"} for i, row in enumerate(rows)]
    assert asked(capsys, file_of("c.jsonl", apart))[1]["warnings"] == []


def test_hallmarks_of_documents_are_counted_by_their_union(file_of, capsys):
    labels = ["Inducing angiogenesis (A)", "Resisting cell death (CD)", "None"]
    rows = [
        {"task": "classification", "source": "hoc", "input": f"hallmarks ? {i}", "gold": labels[i % 3], "document": f"d{i // 3}",
         "prediction": labels[(i + i // 3) % 3]}
        for i in range(60)
    ]  # fmt: skip
    metrics = asked(capsys, file_of("a.jsonl", rows))[1]["tasks"]["classification"]["metrics"]
    assert (
        metrics["document_micro_f1"] == metrics["document_example_f1"] == 1
    )  # every document has both, in other sentences
    assert metrics["micro_f1"] < 0.6


def test_figures_over_rows_and_over_sources_both_have_their_name(file_of, capsys):
    rows = rows_of(["yes"] * 30, gold="yes", source="large") + rows_of(["no"] * 10, gold="yes", source="small")
    result = asked(capsys, file_of("a.jsonl", rows))[1]
    assert result["tasks"]["qa"]["metrics"]["accuracy"] == 0.75
    assert result["over_sources"]["qa"]["sources"] == result["over_sources"]["qa"]["of"]["accuracy"] == 2
    assert result["over_sources"]["qa"]["metrics"]["accuracy"] == 0.5
    run(["score", file_of("b.jsonl", rows)])
    shown = capsys.readouterr().out
    assert "micro over rows" in shown
    assert "rows can show" in shown
    by_source = shown.partition("By source")[2].split("\n")
    assert [line for line in by_source if "large" in line and "30" in line and "1.000" in line]
    assert [line for line in by_source if "small" in line and "10" in line and "0.000" in line]


def test_a_figure_says_of_how_many_rows_and_sources_it_is(file_of, capsys):
    texts = [f"The patient number {i} should rest at home and drink enough water." for i in range(12)]
    rows = [
        {"input": f"note {i}", "gold": text, "prediction": text, "source": "letters"} for i, text in enumerate(texts)
    ]
    rows += rows_of(["yes", "no"] * 10, gold="yes", source="asked")
    result = asked(capsys, file_of("a.jsonl", rows))[1]
    of = result["tasks"]["qa"]["rows_of"]
    assert (of["accuracy"], of["rouge_l"], result["tasks"]["qa"]["rows"]) == (20, 12, 32)
    assert result["over_sources"]["qa"]["of"]["accuracy"] == 1
    assert run(["score", file_of("b.jsonl", rows)]) == 0
    shown = capsys.readouterr().out
    assert "qa: 20 rows can show" in shown
    assert "1 of" in shown
    assert asked(capsys, file_of("c.jsonl", rows[12:]))[1]["tasks"]["qa"]["rows_of"] == {}


def test_both_files_have_a_column_on_the_rows_that_both_answered(file_of, capsys):
    mine = rows_of(["yes"] * 20 + ["no"] * 20, gold="yes")
    first, second = (
        file_of("mine.jsonl", mine),
        file_of("other.jsonl", [{**row, "prediction": "no"} for row in mine[:20]]),
    )
    result = asked(capsys, first, "--against", second)[1]
    assert result["tasks"]["qa"]["metrics"]["accuracy"] == 0.5
    compared, on_these = result["comparison"]["tasks"]["qa"], result["matched"]["tasks"]["qa"]
    assert compared["tuned"] == on_these["metrics"]["accuracy"] == 1
    assert run(["score", first, "--against", second]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " accuracy " in line]
    assert lines[0].split("\u2502")[2:5] == [
        cell.rjust(len(own))
        for cell, own in zip(("0.000 ", "1.000 ", "0.500 "), lines[0].split("\u2502")[2:5], strict=True)
    ]


def test_too_few_documents_are_called_so(file_of, capsys):
    rows = [{**row, "document": f"d{i % 4}"} for i, row in enumerate(rows_of(["yes", "no"] * 20, gold="yes"))]
    path = file_of("a.jsonl", rows)
    assert run(["score", path, "--against", path]) == 0
    shown = capsys.readouterr().out
    assert "too few documents" in " ".join(shown.split())
    assert "too few documents for an interval" in shown
    assert "too few rows" not in shown


def test_sources_that_are_neither_right_nor_wrong_have_no_line_of_trust(file_of, capsys):
    texts = [f"The patient number {i} should rest at home and drink enough water." for i in range(12)]
    rows = [
        {"input": f"note {i}", "gold": text, "prediction": text, "source": "letters", "confidence": 0.5}
        for i, text in enumerate(texts)
    ]
    rows += [{**row, "confidence": 0.7} for row in rows_of(["yes", "no"] * 20, gold="yes", source="asked")]
    result = asked(capsys, file_of("a.jsonl", rows))[1]["trust"]["sources"]["letters"]["qa"]
    assert (result["rows"], result["right"], result["ece"]) == (0, None, None)
    assert run(["score", file_of("b.jsonl", rows)]) == 0
    trust = capsys.readouterr().out.partition("When to trust")[2]
    assert "letters" not in trust
    assert "by label" not in trust
    assert "12 answers neither right nor wrong" in " ".join(trust.split())


def test_answers_with_a_confidence_are_judged_and_the_table_says_from_where_to_trust_them(file_of, capsys):
    rows = [
        {"input": f"q{i}", "gold": "yes", "prediction": "yes" if i > 40 else "no", "source": "s", "confidence": i / 400}
        for i in range(400)
    ]
    path = file_of("a.jsonl", rows)
    trust = asked(capsys, path)[1]["trust"]
    assert (trust["alpha"], trust["tasks"]["qa"]["rows"]) == (0.1, 400)
    assert asked(capsys, path, "--alpha", "0.05")[1]["trust"]["alpha"] == 0.05
    assert run(["score", path]) == 0
    told = capsys.readouterr().out
    assert "When to trust an answer" in told
    assert "trust from: of answers at least so sure, at most 10% are wrong, with 95 % chance" in told
    assert run(["score", file_of("few.jsonl", rows[:50])]) == 0
    assert "too few rows" in " ".join(capsys.readouterr().out.split())
    assert run(["score", file_of("none.jsonl", [{**row, "confidence": None} for row in rows])]) == 0
    assert "When to trust" not in capsys.readouterr().out


def test_an_alpha_that_is_no_share_is_refused(file_of, capsys):
    assert run(["score", file_of("a.jsonl", rows_of(["yes"], gold="yes")), "--alpha", "1.5"]) == 2
