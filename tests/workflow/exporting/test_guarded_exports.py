"""A plugin's exporter writes into its own folder, or there is no export."""

import shutil
from types import ModuleType, SimpleNamespace

import pytest

from medtune import hookimpl
from medtune.errors import PluginContractError, PluginFailedError
from medtune.plugins.contracts import Exported
from medtune.workflow.run import Run

CANARY = "PATIENT-4711-HAS-A-FEVER"


def copied(source, target, options):
    for file in source.adapter_dir.glob("adapter_*"):
        shutil.copyfile(file, target / file.name)
    return Exported(target, "", "fp32")


def over_the_record(source, target, options):
    (source.run_dir / "note.txt").write_text("here")
    return copied(source, target, options)


def over_the_card(source, target, options):
    (source.adapter_dir / "README.md").write_text("another card")
    return copied(source, target, options)


def failing(source, target, options):
    raise ValueError(CANARY)


def test_only_what_keeps_to_its_folder_is_exported(trained, tmp_path, monkeypatch):
    shutil.copytree(trained().path, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    card = (tmp_path / "run" / "adapter" / "README.md").read_text()

    def exported(export):
        plugin = ModuleType("sick")
        plugin.provide_exporters = hookimpl(
            lambda: [SimpleNamespace(name="ill", export=export)], specname="provide_exporters"
        )
        return Run.open("run", plugins=[plugin]).export("ill", prove=False)

    with pytest.raises(
        PluginContractError, match=r"plugin 'sick': exporter 'ill'\.export changed 'note\.txt' of the run"
    ):
        exported(over_the_record)
    with pytest.raises(PluginContractError, match=r"exporter 'ill'\.export changed 'adapter/README\.md' of the run"):
        exported(over_the_card)
    assert (tmp_path / "run" / "adapter" / "README.md").read_text() == card
    with pytest.raises(
        PluginFailedError, match=r"plugin 'sick' failed in exporter 'ill'\.export: ValueError"
    ) as caught:
        exported(failing)
    assert CANARY not in str(caught.value)
    assert list((tmp_path / "run" / "export").iterdir()) == []
    found = exported(copied)
    assert found.state == "unproved"
    assert (found.path / "adapter_model.safetensors").is_file()
