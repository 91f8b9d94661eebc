"""An exporter that writes elsewhere than it was told, or leaves links, is refused by name."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from guarded_things import OF_PLUGIN, guarded_of

from medtune.errors import PluginContractError
from medtune.plugins.contracts import Exported, ExportSource


@pytest.fixture
def source(tmp_path):
    (tmp_path / "run" / "adapter").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    return ExportSource(tmp_path / "run", tmp_path / "run" / "adapter", tmp_path, None, (1,), {})


@pytest.fixture(params=["inside the run", "elsewhere"])
def target(tmp_path, request):
    place = tmp_path / ("run/export" if request.param == "inside the run" else "out") / ".exporting-ill"
    place.mkdir(parents=True)
    return place


def exported(target, **parts):
    (target / "weights.bin").write_bytes(b"1")
    return Exported(**{"path": target, "reader": "", "precision": "fp32", **parts})


def beside(source, target, options):
    (target.parent / "notes.txt").write_text("here")
    return exported(target)


def into_the_run(source, target, options):
    (source.adapter_dir / "more.bin").write_bytes(b"1")
    return exported(target)


def over_the_record(source, target, options):
    (source.run_dir / "run.json").write_text('{"state": "finished"}')
    return exported(target)


def linked(source, target, options):
    (target / "host").symlink_to("/etc/hostname")
    return exported(target)


def gone(source, target, options):
    target.rmdir()
    return Exported(target, "", "fp32")


def told(**parts):
    return lambda source, target, options: exported(target, **parts)


EXPORTS = {
    "a file beside the target": (beside, "wrote 'notes.txt' beside its target"),
    "a file in the adapter": (into_the_run, "changed 'adapter/more.bin' of the run"),
    "another record": (over_the_record, "changed 'run.json' of the run"),
    "a link": (linked, "left a link, 'host'"),
    "the target is gone": (gone, "left no folder"),
    "a path instead": (lambda source, target, options: target, "returned an PosixPath"),
    "another path": (lambda source, target, options: exported(target, path=source.run_dir), "another path"),
    "facts that are no JSON": (told(facts={"a": object()}), "no JSON values"),
    "a reader that is none": (told(reader=None), "no text"),
    "proved by itself": (told(state="proved"), "called its artifact proved"),
    "a file elsewhere to be removed": (told(load={"only_for_proof": ["../../run.json"]}), "outside of its target"),
}


@pytest.mark.parametrize("fault", EXPORTS)
def test_an_exporter_that_breaks_its_contract_is_refused_by_name(fault, source, target):
    export, said = EXPORTS[fault]
    with pytest.raises(PluginContractError, match=said) as caught:
        guarded_of("exporter", export=export).export(source, target, {})
    assert str(caught.value).startswith(f"{OF_PLUGIN}: exporter 'ill'.export ")


def test_an_exporter_that_keeps_to_its_folder_is_taken_though_others_export_meanwhile(source, target):
    def export(source, target, options):
        (target / "deep").mkdir()
        other = target.parent / "other"
        other.mkdir()
        (other / "export.json").write_text("{}")
        (target.parent / ".exporting-third").mkdir()
        return exported(target, facts={"a": 1}, load={"only_for_proof": ["weights.bin"]})

    assert guarded_of("exporter", export=export).export(source, target, {}).path == target


def test_a_run_by_a_relative_path_is_no_fault_of_an_exporter_and_its_record_is_a_copy(source, target, monkeypatch):
    def export(source, target, options):
        source.record["state"].append("changed")
        return exported(target)

    monkeypatch.chdir(source.run_dir.parent)
    record = {"state": ["finished"]}
    relative = replace(source, run_dir=Path("run"), adapter_dir=Path("run/adapter"), record=record)
    assert guarded_of("exporter", export=export).export(relative, target, {}).path == target
    assert record == {"state": ["finished"]}
    with pytest.raises(PluginContractError, match=r"changed 'run\.json' of the run"):
        guarded_of("exporter", export=over_the_record).export(relative, target, {})


def test_what_others_write_into_a_shared_folder_is_no_fault_of_the_exporter(source, tmp_path):
    place = tmp_path / "shared" / ".exporting-ill"
    place.mkdir(parents=True)
    place.parent.chmod(0o1777)
    assert guarded_of("exporter", export=beside).export(source, place, {}).path == place


@pytest.mark.parametrize("facts", [None, {"a": object()}, ["a"]], ids=["nothing", "an object", "a list"])
def test_what_was_published_is_told_in_json_values(facts):
    thing = SimpleNamespace(publish=lambda *_: facts)
    with pytest.raises(PluginContractError, match=r"exporter 'ill'\.publish returned no JSON"):
        guarded_of("exporter", publish=thing.publish).publish(None, None, {})
