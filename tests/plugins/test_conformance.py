"""The kit from outside: what it takes, what it tells, and how it is used in another repository's tests."""

import pytest
from bad_plugins import of_rows
from bad_plugins.making import providing

from medtune.errors import PluginError, PluginFileError, SpecError
from medtune.testing.conformance import all_checks, check_plugin, conformance_tests

SOURCE = '''
"""Letters."""
from medtune import Example, hookimpl


class Letters:
    name = "file-letters"
    columns = ("letter", "summary")

    def format(self, row):
        if not (isinstance(row["letter"], str) and isinstance(row["summary"], str) and row["summary"].strip()):
            raise ValueError
        turns = [{"role": "user", "content": row["letter"]}, {"role": "assistant", "content": row["summary"]}]
        return Example(turns)


@hookimpl
def provide_formatters():
    return [Letters()]
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / f"letters_{abs(hash(str(tmp_path)))}.py"
    path.write_text(SOURCE)
    return path


def test_a_file_is_checked_whole_and_found_right(file):
    told = []
    report = check_plugin(file, on_finding=told.append)
    assert report.is_right, [str(each) for each in report.failed]
    assert told == list(report.findings)
    assert report.count("not tried") == 0
    assert {each.check for each in report.findings} >= {
        "load-light",
        "hooks-known",
        "formatter-round-trip",
        "calls-redact",
    }


def test_a_report_is_json_with_a_sentence_on_each_finding(file):
    values = check_plugin(str(file), kinds=["plugin"]).to_json()
    assert values["right"] is True
    assert values["failed"] == 0
    assert values["passed"] == len(values["findings"])
    assert all(each["wants"].endswith(".") for each in values["findings"])


def test_what_is_nowhere_is_refused_by_name(tmp_path):
    with pytest.raises(PluginError, match="'medtune-nowhere' is no installed distribution"):
        check_plugin("medtune-nowhere")
    with pytest.raises(PluginFileError, match="there is no such Python file"):
        check_plugin(tmp_path / "nowhere.py")


def test_an_unknown_kind_or_check_is_refused_by_name():
    with pytest.raises(SpecError, match="no kind 'formater' is checked"):
        check_plugin(providing("formatter"), kinds=["formater"])
    with pytest.raises(SpecError, match="no check is named 'load-lite'"):
        check_plugin(providing("formatter"), without=["load-lite"])


def test_a_check_that_is_left_out_is_not_told(file):
    names = {each.check for each in check_plugin(file, without=["load-light"], kinds=["plugin"]).findings}
    assert names == {each.name for each in all_checks() if "plugin" in each.kinds} - {"load-light"}


def cases(test):
    return {parameter.id: parameter for parameter in test.pytestmark[0].args[1]}


def test_a_repository_gets_a_case_for_each_check_and_thing(file):
    test = conformance_tests(file)
    found = cases(test)
    assert f"{file.stem}-load-light" in found
    assert "file-letters-formatter-keeps-row" in found
    assert len(found) == len(check_plugin(file).findings)
    test(*found["file-letters-formatter-keeps-row"].values)


def test_a_case_fails_with_what_was_wanted_and_what_was_found():
    wrong = type("Wrong", (of_rows.Right,), {"columns": "letter"})()
    test = conformance_tests(providing("formatter", wrong), kinds=["formatter"])
    with pytest.raises(pytest.fail.Exception, match=r"formatter-columns: columns is a str \(wanted: columns and "):
        test(*cases(test)["letters-formatter-columns"].values)


def test_a_case_that_cannot_be_tried_is_skipped_with_the_reason():
    thing = type("Alone", (), {"name": "alone", "format": lambda self, row: row["only-mine"]})()
    test = conformance_tests(providing("formatter", thing))
    with pytest.raises(pytest.skip.Exception, match="give the formatter `samples`"):
        test(*cases(test)["alone-formatter-keeps-row"].values)


def test_a_known_failure_must_go_on_failing():
    expected = {"formatter-columns": "to be repaired"}
    found = cases(conformance_tests(providing("formatter", of_rows.Right()), expected_failed_checks=expected))
    marks = found["letters-formatter-columns"].marks
    assert [(mark.name, mark.kwargs) for mark in marks] == [("xfail", {"reason": "to be repaired", "strict": True})]
    assert list(found["letters-formatter-example"].marks) == []


def test_a_known_failure_of_an_unknown_check_is_refused():
    with pytest.raises(SpecError, match="no check is named 'formatter-colums'"):
        conformance_tests(providing("formatter", of_rows.Right()), expected_failed_checks={"formatter-colums": "why"})
