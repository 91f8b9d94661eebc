"""A run whose record or contract was changed by hand is refused in one sentence, whatever was changed, and never with a traceback."""

import copy
import json
import shutil

import pytest

from medtune import MedTuner
from medtune.cli.app import run
from medtune.data.contract import CONTRACT_FILE, check_contract
from medtune.data.encode import Encoder
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import MedtuneError, UnsafeAdapterError
from medtune.runs.folder import RunFolder
from medtune.specs import ModelSpec
from medtune.workflow.run import Run

GONE = object()
OTHERS = (GONE, None, 7, -0.5, "x", [], [3], {}, {"a": 1}, True)
QUICK = {"train": {"max_steps": 1, "max_length": 192, "num_train_epochs": None}, "eval": {"enabled": False}}


@pytest.fixture(scope="module")
def finished(base, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    data = {"source": "rows", "validation_fraction": 0.2}
    spec = MedTuner.from_defaults(
        model=str(base), data=data, quant={"scheme": "none"}, lora={"r": 4}, output_dir=str(folder), **QUICK
    ).spec
    MedTuner(spec, rows=rows).train()
    return folder


def places(value, above=()):
    """Yield the place of everything in a JSON value."""
    if above:
        yield above
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*above, key))


def changes(whole, depth=99):
    """Yield copies of a JSON object in which one thing is gone or another."""
    for number, place in enumerate(places(whole)):
        others = OTHERS if len(place) <= 1 else (GONE, OTHERS[1 + number % (len(OTHERS) - 1)])
        for other in others if len(place) <= depth else ():
            edited = copy.deepcopy(whole)
            holder = edited
            for key in place[:-1]:
                holder = holder[key]
            if other is GONE:
                del holder[place[-1]]
            elif holder[place[-1]] == other and type(holder[place[-1]]) is type(other):
                continue
            else:
                holder[place[-1]] = other
            yield place, edited


def test_a_record_that_was_changed_anywhere_is_refused(finished, tmp_path, capsys):
    folder = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    record, count = json.loads(folder.record_path.read_text()), 0
    for place, edited in changes(record):
        folder.record_path.write_text(json.dumps(edited))
        if place == ("sha256",) and "sha256" not in edited:
            continue  # as earlier releases wrote it
        with pytest.raises(MedtuneError, match=r"is damaged: file 'run\.json'") as refused:
            Run.open(folder.path)
        assert refused.value.exit_code == 4
        count += 1
    assert count > 300
    for command in (["report"], ["verify"], ["chat", "-m", "x"], ["evaluate"]):
        assert run([command[0], str(folder.path), *command[1:]]) == 4
        assert "Traceback" not in capsys.readouterr().err


def test_a_record_without_a_seal_ends_in_no_raw_error_either(finished, tmp_path):
    folder = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    record = json.loads(folder.record_path.read_text())
    del record["sha256"]
    folder.record_path.write_text(json.dumps(record))
    assert Run.open(folder.path).report().is_file()
    for _place, edited in changes(record, depth=1):
        folder.record_path.write_text(json.dumps(edited))
        try:
            opened = Run.open(folder.path)
            _ = opened.spec, opened.metrics
            opened.report()
        except MedtuneError as error:
            assert error.exit_code in {2, 4, 6}
            assert "\n" not in str(error)


def test_a_spec_that_cannot_be_read_is_one_sentence_without_its_values(finished, tmp_path):
    folder = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    folder.update(spec={**folder.read()["spec"], "lora": {"r": "private"}})
    with pytest.raises(MedtuneError, match="holds no spec that can be read") as refused:
        _ = Run.open(folder.path).spec
    assert "private" not in str(refused.value)


def test_a_contract_that_was_changed_anywhere_is_refused(finished, base, tmp_path):
    encoder = Encoder(load_tokenizer(ModelSpec(path=str(base))))
    whole = json.loads((finished / "adapter" / CONTRACT_FILE).read_text())
    shutil.copytree(finished / "adapter", tmp_path / "adapter")
    assert check_contract(tmp_path / "adapter", encoder) == []
    for place, edited in changes(whole, depth=2):
        (tmp_path / "adapter" / CONTRACT_FILE).write_text(json.dumps(edited))
        if place == ("tokenizer_sha256",) or edited.get("format") == 1 or edited == whole:
            continue  # another release of the libraries gives another; earlier releases wrote less
        if place == ("day",) and edited.get("day") is None:
            continue  # as in a template that writes no day
        with pytest.raises(UnsafeAdapterError):
            check_contract(tmp_path / "adapter", encoder)
