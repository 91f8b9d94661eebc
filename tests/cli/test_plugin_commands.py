"""medtune plugins list, check and new, and --plugin, from a shell's side."""

import hashlib
import json

import pytest

from medtune.cli.app import run
from medtune.plugins.host import BUILTIN_PLUGINS

FORMATTER = """
from medtune import Example, hookimpl


class Letters:
    name = "{name}"
    columns = frozenset({{"letter", "summary"}})

    def format(self, row):
        if not (isinstance(row["letter"], str) and isinstance(row["summary"], str) and row["summary"].strip()):
            raise ValueError
        turns = [{{"role": "user", "content": row["letter"]}}, {{"role": "assistant", "content": row["summary"]}}]
        {fault}
        return Example(turns, source="letters")


@hookimpl
def provide_formatters():
    return [Letters()]


@hookimpl
def step_logged(record):
    pass
"""


@pytest.fixture
def plugin(tmp_path):
    def write(name, fault="pass"):
        path = tmp_path / f"{name}.py"
        path.write_text(FORMATTER.format(name=name.replace("_", "-"), fault=fault))
        return path

    return write


def answered(capsys, *arguments):
    code = run([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_list_says_who_brought_what_with_which_hooks(capsys, plugin):
    file = plugin("cmd_letters_a")
    code, told = answered(capsys, "plugins", "list", "--plugin", file)
    assert code == 0
    assert told["plugins"]["formatter"]["cmd-letters-a"] == "cmd_letters_a"
    found = {each["plugin"]: each for each in told["registered"]}
    assert found.keys() >= {*BUILTIN_PLUGINS, "cmd_letters_a"}
    assert found["cmd_letters_a"] == {
        "plugin": "cmd_letters_a", "distribution": "", "version": "", "file": str(file),
        "hooks": ["provide_formatters", "step_logged"], "observes": True,
        "entry": f"{file.name}@sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}",
    }  # fmt: skip
    own = found["medtune.backends.peft"]
    assert (own["distribution"], own["hooks"], own["observes"]) == ("medtune", ["provide_adapters"], False)
    assert told["disabled"] == {}


def test_the_list_is_shown_without_json_too(capsys, plugin):
    assert run(["plugins", "list", "--plugin", str(plugin("cmd_letters_b"))]) == 0
    shown = capsys.readouterr().out
    assert "cmd_letters_b" in shown
    assert "provide_formatters, step_logged" in shown


def test_a_right_plugin_is_checked_with_exit_code_0(capsys, plugin):
    code, told = answered(capsys, "plugins", "check", plugin("cmd_letters_c"))
    assert (code, told["right"], told["failed"]) == (0, True, 0)
    assert told["passed"] > 40


def test_a_wrong_plugin_is_checked_with_exit_code_2_and_a_sentence(capsys, plugin):
    file = plugin("cmd_letters_d", "print('hello')")
    assert run(["plugins", "check", str(file), "--kind", "formatter"]) == 2
    told = capsys.readouterr()
    assert "calls-quiet" in told.out
    assert "1 failed" in told.out
    assert "failed: formatter 'cmd-letters-d', calls-quiet" in told.err
    assert "hello" not in told.out


def test_what_is_to_be_checked_must_be_there(capsys):
    code, told = answered(capsys, "plugins", "check", "medtune-nowhere")
    assert (code, told["error"]["type"]) == (2, "PluginError")


def test_a_spec_may_name_what_the_plugin_of_a_file_provides(capsys, plugin):
    file = plugin("cmd_letters_f")
    arguments = ["check", "--bundle", "demo", "--set", "data.formatter=cmd-letters-f"]
    code, told = answered(capsys, *arguments)
    assert (code, told["error"]["type"]) == (2, "UnknownNameError")
    assert answered(capsys, *arguments, "--plugin", file)[0] == 0


def test_rows_are_previewed_through_the_plugin_of_a_file(capsys, plugin, tmp_path):
    rows = "".join(json.dumps({"letter": f"Letter {i}.", "summary": f"Summary {i}."}) + "\n" for i in range(30))
    (tmp_path / "rows.jsonl").write_text(rows)
    settings = ["--set", f"data.source={tmp_path / 'rows.jsonl'}", "--set", "data.formatter=cmd-letters-e"]
    code, told = answered(capsys, "preview", "--bundle", "demo", *settings, "--plugin", plugin("cmd_letters_e"))
    assert code == 0
    assert {row["source"] for row in told["rows"]} == {"letters"}


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        (
            "cmd_broken_a",
            "import a_module_that_is_nowhere",
            "it imports 'a_module_that_is_nowhere', which is nowhere (ModuleNotFoundError); install",
        ),
        (
            "cmd_broken_b",
            "\nraise SystemExit(0)",
            "SystemExit at cmd_broken_b.py:2 while it was imported; mend that line",
        ),
        ("cmd_broken_c", "\n\ndef (:", "cmd_broken_c.py:3 is no Python that runs here (SyntaxError); mend that line"),
        ("json", "", "there is another module 'json'"),
        ("cmd-broken-d", "", "its name is no name of a module"),
    ],
)
def test_a_broken_file_ends_a_command_with_one_sentence(capsys, tmp_path, name, source, said):
    file = tmp_path / f"{name}.py"
    file.write_text(source)
    code = run(["check", "--bundle", "demo", "--plugin", str(file)])
    told = capsys.readouterr().err
    assert code == 2
    assert said in told
    assert len(told.strip().splitlines()) == 1


def test_checking_a_broken_file_says_what_is_wrong_with_it_and_does_not_send_to_the_check(capsys, tmp_path):
    (tmp_path / "cmd_broken_e.py").write_text("import medtune\nimport a_module_that_is_nowhere")
    assert run(["plugins", "check", str(tmp_path / "cmd_broken_e.py")]) == 2
    told = "".join(capsys.readouterr())
    assert "it imports 'a_module_that_is_nowhere'" in told
    assert "plugins check" not in told


def test_a_file_that_is_not_there_ends_a_command_with_one_sentence(capsys, tmp_path):
    assert run(["check", "--bundle", "demo", "--plugin", str(tmp_path / "nowhere.py")]) == 2
    assert "there is no such Python file" in capsys.readouterr().err


def test_a_new_package_must_have_a_name_a_kind_and_a_free_place(capsys, tmp_path):
    assert answered(capsys, "plugins", "new", "Acme Letters", "--kind", "formatter", "--to", tmp_path)[0] == 2
    told = answered(capsys, "plugins", "new", "acme", "--kind", "formater", "--to", tmp_path)[1]
    assert "did you mean 'formatter'?" in told["error"]["message"]
    code, told = answered(capsys, "plugins", "new", "acme-letters", "--kind", "formatter", "--to", tmp_path)
    assert (code, told) == (0, {"folder": str(tmp_path / "acme-letters"), "kind": "formatter"})
    assert (tmp_path / "acme-letters" / "pyproject.toml").is_file()
    assert answered(capsys, "plugins", "new", "acme-letters", "--kind", "task", "--to", tmp_path)[0] == 6
