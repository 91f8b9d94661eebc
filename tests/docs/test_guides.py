"""The guides can be followed and read: their session runs top down, their tables are what medtune says, every error has an entry."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import medtune
import pictures
import reading_level
from medtune import MedTuner
from medtune.errors import MedtuneError

ROOT = Path(__file__).parents[2]
CONTINUED = re.compile(r"^```python continued\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[\w-]*)?\)")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_blocks_of_the_guides_are_one_session(tmp_path):
    pages = [page for page in reading_level.guides() if CONTINUED.search(page.read_text())]
    assert pages[0].name == "tour.md"
    assert len(pages) > 4
    session = tmp_path / "session.py"
    session.write_text(
        "\n".join(f"# {page.name}\n{text}" for page in pages for text in CONTINUED.findall(page.read_text()))
    )
    environment = {**os.environ, "MEDTUNE_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, session.name], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "finished runs/first/adapter" in done.stdout.replace(f"{tmp_path}/", "")


def errors_of_medtune():
    """Return the root of the errors, and each class of medtune's own below it."""
    for module in pkgutil.iter_modules(importlib.import_module("medtune.errors").__path__, "medtune.errors."):
        importlib.import_module(module.name)
    for file in (ROOT / "src" / "medtune").rglob("*.py"):
        if re.search(r"^class \w+\(\w*(?:Error|DataError)\):", file.read_text(), re.MULTILINE):
            importlib.import_module(
                ".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
            )

    def below(kind):
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    return [kind for kind in dict.fromkeys(below(MedtuneError)) if kind.__module__.startswith("medtune.")]


def test_every_error_has_one_entry_with_its_exit_code():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    entries = dict(re.findall(r"^### (\w+Error)\n\nExit code (\d+)[.,]", page, re.MULTILINE))
    kinds = errors_of_medtune()
    assert len(kinds) > 45
    assert entries == {kind.__name__: str(kind.exit_code) for kind in kinds}
    assert page.count("\n### ") == len(entries)


def test_an_error_has_the_address_of_its_entry_and_that_of_a_plugin_its_nearest():
    home = PROJECT["urls"]["Documentation"]
    assert MedtuneError("so").docs == f"{home}/en/latest/troubleshooting.html#medtuneerror"
    theirs = type("DoseError", (medtune.errors.DataError,), {"__module__": "doses"})("no dose")
    assert theirs.docs.rpartition("#")[2] == "dataerror"


@pytest.mark.parametrize("page", reading_level.guides(), ids=lambda page: page.name)
def test_a_guide_is_plain_english(page):
    sentences = reading_level.sentences_of(page.read_text())
    assert reading_level.reading_ease(sentences) >= reading_level.GOAL
    too_long = [each for each in sentences if len(each.split()) > 40]
    assert too_long == []


def test_the_reading_level_tells_easy_from_hard_and_looks_at_prose_only():
    easy = reading_level.sentences_of(
        "# A title\n\nThe cat sat on the mat. It was `warm`.\n\n```text\nnot prose\n```\n"
    )
    assert easy == ["The cat sat on the mat.", "It was it."]
    hard = "Considerable interoperability necessitates comprehensive organisational documentation."
    assert reading_level.reading_ease([hard]) < 0
    assert reading_level.reading_ease(easy) > 90


def test_a_page_of_a_task_or_of_reference_says_first_what_one_gets():
    toctrees = re.findall(r":caption: ([^\n]+)\n\n(.*?)\n```", (ROOT / "docs" / "index.md").read_text(), re.DOTALL)
    names = {caption: text.split() for caption, text in toctrees}
    for name in (*names["Guides"], *names["More tasks"], *names["Reference"]):
        page = ROOT / "docs" / f"{name}.md"
        first = page.read_text().split("\n\n")[1]
        assert re.match(r"(?:What y|Y)ou get: ", first), page.name


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_links_to_files_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lead = [target for target in LINK.findall(text) if "://" not in target]
    assert [target for target in lead if not (page.parent / target).exists()] == []


def test_the_table_of_gpus_is_what_the_plan_says():
    page = (ROOT / "docs" / "plan-and-rent.md").read_text()
    rows = re.findall(
        r"^\| `([\w-]+)` \| (\w+) \| ([\d.]+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE
    )
    assert len(rows) == 6
    for name, path, peak, speed, hours, at_best in rows:
        plan = MedTuner.from_defaults().plan(name)
        best = MedTuner.from_defaults(quant={"scheme": "auto"}).plan(name)
        said = (plan.path, f"{plan.peak_gib:.1f}", f"{plan.tokens_per_second:,.0f}")
        assert said == (path, peak, speed)
        assert (f"{plan.seconds / 3600:.1f}", f"{best.seconds / 3600:.1f}") == (hours, at_best)


def test_every_extra_that_a_user_needs_is_on_the_page_on_installing():
    page = (ROOT / "docs" / "install.md").read_text()
    listed = set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE))
    assert listed == PROJECT["optional-dependencies"].keys() - {"dev", "docs", "proof"}


def test_the_pictures_are_those_of_the_measured_tables():
    drawn = ROOT / "docs" / "pictures"
    memory = (ROOT / "docs" / "measurements" / "memory.md").read_text()
    assert (drawn / "memory.svg").read_text() == pictures.memory_picture(memory)
    assert (drawn / "speed.svg").read_text() == pictures.speed_picture((ROOT / "docs" / "speed.md").read_text())
    assert pictures.memory_picture(memory).count("<circle") == 34
    for name, (title, *stations) in pictures.WAYS.items():
        assert (drawn / f"{name}.svg").read_text() == pictures.way_picture(title, *stations)


def test_the_readme_has_the_figures_of_the_demo_that_its_picture_shows():
    row = re.search(r"^\| the demo,.*$", (ROOT / "README.md").read_text(), re.MULTILINE)[0]
    shown = re.findall(r"0\.00 → ([\d.]+)", (ROOT / "docs" / "pictures" / "scores.svg").read_text())
    assert " / ".join(shown) in row
    assert len(shown) == 5


def test_a_picture_of_scores_shows_figures_and_intervals():
    def scored(value, bounds):
        task = {"primary": "accuracy", "rows": 30, "metrics": {"accuracy": value}, "intervals": {"accuracy": bounds}}
        return {"tasks": {"nli": task}}

    drawn = pictures.scores_picture(scored(0.25, [0.1, 0.4]), scored(1.0, None))
    assert "inference" in drawn
    assert "0.25 → 1.00" in drawn
    assert drawn.count("<rect class=") == 2  # the paper, and the one interval
    assert "update 20" in pictures.loss_picture([{"step": 10, "loss": 2.5}, {"step": 20, "loss": 0.5}])
