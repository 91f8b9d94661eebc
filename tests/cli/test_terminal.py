"""What data, files and plugins are called cannot steer a terminal, nor turn text around."""

import ast
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

import medtune
from medtune.cli.app import run
from medtune.errors.visible import html_text, visible
from medtune.workflow.narration import Narrator
from medtune.workflow.terminal import terminal

SOURCE = Path(medtune.__file__).parent
HOSTILE = {
    "markup": "[red]x[/red][link=https://a.example]y[/link]",
    "a closing tag": "[/bold]x[/]",
    "an emoji code": ":warning:x",
    "a title": "x\x1b]0;owned\x07",
    "colours": "x\x1b[31;1my\x9b32mz",
    "a line over this one": "x\rmedtune: all is well\x1b[2K",
    "an override": "x\u202egnp.exe\u202c\u2066y\u2069",
    "tags": "x\U000e0041\U000e007f",
    "half a character": "x\ud83c",
    "ends of lines": "x\u2028y\u2029z\x85",
}


def is_harmless(shown):
    return not any(c in shown for c in "\x1b\x07\x9b\r\x85\u202e\u2066\u2028\u2029\U000e0041\ud83c")


def shown_by(show):
    console = terminal()
    console.file, console._color_system = io.StringIO(), None
    show(console)
    return console.file.getvalue()


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_are_shown_as_they_are_wherever_they_stand(kind):
    name = HOSTILE[kind]
    table = Table(title=name, caption=name)
    table.add_column(name, footer=name)
    table.add_column("rows", width=400)
    table.show_footer = True
    table.add_row(name, name)

    def show(console):
        console.width = 1000
        console.print(table)
        console.print(f"source {name}", soft_wrap=True)

    shown = shown_by(show)
    assert shown.count(visible(name)) == 7
    assert is_harmless(shown)


@pytest.mark.parametrize("kind", HOSTILE)
def test_stages_and_html_are_no_way_around(kind, capsys):
    narrator = Narrator()
    narrator.stage(f"reading {HOSTILE[kind]}")
    said = capsys.readouterr().err
    assert f"medtune reading {visible(HOSTILE[kind])}" in said
    assert is_harmless(said)
    assert is_harmless(html_text(f"<b>{HOSTILE[kind]}"))
    assert "<" not in html_text(f"<b>{HOSTILE[kind]}")


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind != "half a character"])
def test_scores_of_hostile_names_are_printed_and_steer_nothing(kind, tmp_path, capsys):
    name = HOSTILE[kind]
    rows = [
        {
            "task": "classification",
            "source": f"{name}{i % 2}",
            "input": "a\nb",
            "gold": f"{name} A",
            "prediction": f"{name} B",
        }
        for i in range(8)
    ]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(["score", str(tmp_path / "given.jsonl")]) == 0
    shown = capsys.readouterr()
    assert is_harmless(shown.out + shown.err)
    assert run(["score", str(tmp_path / "given.jsonl"), "--json"]) == 0
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed)["sources"]


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind != "half a character"])
def test_errors_name_hostile_files_in_one_line(kind, tmp_path, capsys):
    file = tmp_path / f"{HOSTILE[kind]}\nmedtune: done".replace("/", "|")
    assert run(["check", str(file)]) != 0
    said = capsys.readouterr().err
    assert is_harmless(said)
    assert said.count("\n") == 1


@given(st.text())
def test_ordinary_text_stays_as_it_is_and_nothing_steers(text):
    assert is_harmless(visible(text))
    assert visible(visible(text)) == visible(text)
    plain = "".join(c for c in text if c.isprintable() or c in "\n\t" or c in "\u200c\u200d")
    if not set(plain) & set("\u061c\u200e\u200f"):
        assert visible(plain) == plain


def test_everything_that_is_printed_goes_through_the_terminal():
    allowed = {
        ("cli/plugins.py", "print"),  # moves the cursor itself
        ("cli/result_stream.py", "print"),  # JSON in ASCII
        ("serving/client.py", "print"),  # the answer, made visible
        ("workflow/chat.py", "print"),  # the same
        ("workflow/terminal.py", "print"),
        ("workflow/terminal.py", "Console"),
    }
    found = {
        (file.relative_to(SOURCE).as_posix(), called)
        for room in ("cli", "workflow", "serving")
        for file in (SOURCE / room).rglob("*.py")
        if "exporting/readers" not in file.as_posix()  # programs of their own
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call | ast.ClassDef)
        for called in ([ast.unparse(node.func)] if isinstance(node, ast.Call) else map(ast.unparse, node.bases))
        if called in {"print", "typer.echo", "Console", "traceback.print_exc", "sys.stdout.write", "sys.stderr.write"}
    }
    assert found <= allowed, found - allowed


def test_pages_escape_in_one_way():
    wrong = [
        file.relative_to(SOURCE).as_posix()
        for file in SOURCE.rglob("*.py")
        if re.search(r"^(import html|from html import (?!unescape$).*)$", file.read_text(), re.MULTILINE)
    ]
    assert wrong == ["errors/visible.py"]
