"""Tasks of lm-evaluation-harness run on a loaded model; where the harness is not installed one sentence says so."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from medtune.errors import SpecError
from medtune.evaluation.harness import run_harness
from medtune.testing.tiny import tiny_base

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
DOCUMENTED = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-evaluation-harness is installed")
def test_without_the_harness_one_sentence_says_what_to_install(tmp_path):
    with pytest.raises(SpecError, match=r"'lm_eval' is not installed: pip install 'medtune\[lm-eval\]'"):
        run_harness(tiny_base(tmp_path), ["medmcqa"])


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
