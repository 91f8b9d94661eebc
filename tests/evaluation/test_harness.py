"""Tasks of lm-evaluation-harness run on a loaded model; where the harness is not installed one sentence says so."""

import json
import logging
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from medtune.errors import HubUnreachableError, SpecError
from medtune.evaluation.harness import run_harness
from medtune.testing.tiny import tiny_base

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
DOCUMENTED = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-evaluation-harness is installed")
def test_without_the_harness_one_sentence_says_what_to_install(tmp_path):
    with pytest.raises(SpecError, match=r"'lm_eval' is not installed: pip install 'medtune\[lm-eval\]'"):
        run_harness(tiny_base(tmp_path), ["medmcqa"])


@pytest.fixture
def harness(monkeypatch):
    """Put a harness of the same calls in the place of lm-evaluation-harness, which CI does not install."""
    asked = SimpleNamespace(calls=[], answers={}, levels=[])

    def simple_evaluate(model, **options):
        asked.calls.append((model, options))
        asked.levels.append(logging.getLogger("lm_eval").level)
        if isinstance(asked.answers, Exception):
            raise asked.answers
        return asked.answers

    names = ("lm_eval", "lm_eval.evaluator", "lm_eval.models", "lm_eval.models.huggingface", "lm_eval.tasks")
    modules = {name: ModuleType(name) for name in names}
    modules["lm_eval.evaluator"].simple_evaluate = simple_evaluate
    modules["lm_eval.models.huggingface"].HFLM = lambda **options: options
    modules["lm_eval.tasks"].TaskManager = lambda include_path: SimpleNamespace(
        all_tasks=["medmcqa", "medqa_4options", "own"], folder=include_path
    )
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return asked


LOADED = SimpleNamespace(model="model", tokenizer="tokenizer")


def test_the_harness_is_asked_for_figures_alone_and_keeps_quiet(harness):
    harness.answers = {
        "results": {"own": {"acc,none": 0.5, "acc_stderr,none": "N/A", "f1,none": float("nan"), "sample_len": 7}},
        "n-samples": {"own": {"original": 9, "effective": 4}},
    }
    before = logging.getLogger("lm_eval").level
    assert run_harness(LOADED, ["own"], limit=4, chat=True, folder="tasks") == {"own": {"acc": 0.5, "rows": 4.0}}
    [(model, options)] = harness.calls
    assert model == {"pretrained": "model", "tokenizer": "tokenizer", "batch_size": 8}
    assert options.pop("task_manager").folder == "tasks"
    kept = {"log_samples": False, "bootstrap_iters": 0}
    assert options == {"tasks": ["own"], "limit": 4, "apply_chat_template": True, **kept}
    assert harness.levels == [logging.ERROR]
    assert logging.getLogger("lm_eval").level == before


def test_questions_are_counted_by_the_harness_where_it_does_not_say_how_many_it_asked(harness):
    harness.answers = {"results": {"own": {"acc,none": 1, "sample_len": 7}}}
    assert run_harness(LOADED, ["own"]) == {"own": {"acc": 1.0, "rows": 7.0}}
    assert harness.calls[0][1]["limit"] is None
    assert harness.calls[0][1]["apply_chat_template"] is False


def test_a_hub_that_cannot_be_reached_is_told_with_what_helps(harness):
    harness.answers = ConnectionError()
    with pytest.raises(HubUnreachableError, match=r"the data of.*medmcqa, own.*a filled hub cache \(HF_HOME\)"):
        run_harness(LOADED, ["medmcqa", "own"])


def test_a_mistyped_task_is_answered_with_its_neighbours(harness):
    with pytest.raises(SpecError, match="has no task 'medmcq'; near it are medmcqa"):
        run_harness(LOADED, ["own", "medmcq"])
    with pytest.raises(SpecError, match="has no task 'zzz'; near it are none"):
        run_harness(LOADED, ["zzz"])
    assert harness.calls == []


@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs the extra lm-eval")
def test_a_task_of_local_rows_gives_its_figures_and_a_mistyped_one_its_neighbours(tmp_path, caplog):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"question": f"is {i} even", "answer": i % 2}) + "\n" for i in range(4)))
    task = DOCUMENTED.replace("discharge_questions", "colours").replace("/data/questions.jsonl", str(rows))
    (tmp_path / "colours.yaml").write_text(task)
    loaded = tiny_base(tmp_path / "base")
    figures = run_harness(loaded, ["colours"], folder=str(tmp_path))["colours"]
    assert figures["rows"] == 4
    assert 0 <= figures["acc"] <= 1
    assert run_harness(loaded, ["colours"], limit=2, folder=str(tmp_path))["colours"]["rows"] == 2
    assert run_harness(loaded, ["colours"], chat=True, folder=str(tmp_path))["colours"]["rows"] == 4
    assert [record.name for record in caplog.records if record.name.startswith("lm_eval")] == []
    with pytest.raises(SpecError, match=r"has no task 'medmcq'; near it are medmcqa, [^m]"):
        run_harness(loaded, ["medmcq"])
