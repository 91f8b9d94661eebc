"""An export replaces an earlier export, and nothing else: neither where it is asked for, nor where a refused one is put."""

from types import SimpleNamespace

import pytest

from medtune.errors import SpecError
from medtune.workflow.exporting.export import EXPORT_FILE, _target
from medtune.workflow.exporting.verification import is_export


@pytest.mark.parametrize("name", ["out", "out-refused"])
def test_a_folder_that_is_no_export_is_not_replaced(tmp_path, name):
    asked = SimpleNamespace(out=tmp_path / "out", folder=None, to="merged")
    (tmp_path / name).mkdir()
    assert _target(asked) == tmp_path / "out"
    (tmp_path / name / "thesis.tex").write_text("my only copy")
    with pytest.raises(SpecError, match=f"{name}' holds something else than an export"):
        _target(asked)
    (tmp_path / name / EXPORT_FILE).write_text("{}")
    assert _target(asked) == tmp_path / "out"


@pytest.mark.parametrize("name", ["run.json", "record.jsonl", "signature.json"])
def test_what_is_left_of_a_run_is_no_export(tmp_path, name):
    (tmp_path / EXPORT_FILE).write_text("{}")
    assert is_export(tmp_path)
    (tmp_path / name).symlink_to(tmp_path / "gone") if name != "run.json" else (tmp_path / name).write_text("{}")
    assert not is_export(tmp_path)
