"""A run says by which plugins, distributions and code it was made, and its card what the backends say of themselves."""

import hashlib
import json
from importlib.metadata import version

import pytest
from guarded_things import plugin_of
from installed_plugins import FORMATTER, install

from medtune import MedTuner, hookimpl
from medtune.backends.peft import PeftAdapter
from medtune.errors import DisabledPluginError, PluginError, UnknownNameError
from medtune.plugins.host import create_host
from medtune.plugins.provenance import missing_of, plugins_in_use
from medtune.workflow.run import Run

ROWS = [{"q": f"question {n} ?", "a": f"answer {n}"} for n in range(12)]


class OwnAdapter(PeftAdapter):
    name = "own"

    def describe(self):
        return {"kind": "Prefix", "library": "ownlib", "version": "7", "layers": 3}


class Plugin:
    __hash__ = object.__hash__

    def __init__(self, adapter):
        self.adapter = adapter

    @hookimpl
    def provide_adapters(self):
        return [self.adapter]


def trained(tmp_path, host, **parts):
    tuner = MedTuner.from_bundle(
        "demo", plugins=host, data=ROWS, formatter="one", train={"max_steps": 1}, eval={"enabled": False},
        output_dir=str(tmp_path / "run"), **parts,
    )  # fmt: skip
    return tuner.train(quiet=True)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "first", FORMATTER.format(name="one"))
    return tmp_path


def test_a_run_keeps_who_brought_its_plugins_and_which_code_they_are(site):
    run = trained(site, ["first==1.0", Plugin(OwnAdapter())], lora={"backend": "own"})
    kept = {each["name"]: each for each in json.loads((run.path / "run.json").read_text())["plan"]["plugins"]}
    first = kept["first"]
    files = {"plugin_first.py": hashlib.sha256((site / "plugin_first.py").read_bytes()).hexdigest()}
    assert first["sha256"] == hashlib.sha256(json.dumps(files).encode()).hexdigest()
    assert (first["distribution"], first["version"], first["provides"]) == ("first", "1.0", {"formatter": ["one"]})
    assert kept["Plugin"]["provides"] == {"adapter": ["own"]}
    assert kept["medtune.backends.trl"]["describes"]["trainer"] == {"library": "trl", "version": version("trl")}
    assert kept["medtune.backends.bitsandbytes"]["distribution"] == "medtune"
    assert all(len(each["sha256"]) == 64 for each in kept.values())

    card = (run.adapter_dir / "README.md").read_text()
    assert "# Prefix adapter for" in card
    assert "library_name: ownlib\n" in card
    assert (
        "| adapter | own, kind Prefix, library ownlib, version 7, layers 3; of an object handed over in Python" in card
    )
    assert f"| formatter | one; of first 1.0 (code {first['sha256'][:12]}) |" in card
    assert "peft" not in card
    assert "LoRA" not in card
    report = (run.path / "report.html").read_text()
    assert "first 1.0, code " + first["sha256"][:16] in report
    assert "adapter: Prefix ownlib 7" in report

    (site / "first-1.0.dist-info" / "METADATA").write_text("Name: first\nVersion: 2.0\n")
    opened = Run.open(run.path, plugins=[Plugin(OwnAdapter())])
    assert not any(checked.problem for checked in opened.verify())
    with pytest.raises(
        DisabledPluginError, match=r"'first==1.0' is named and cannot be used: version 2\.0 is installed"
    ):
        opened.generate([{"role": "user", "content": "Well ?"}])


def test_an_adapter_that_says_nothing_of_itself_is_called_an_adapter(site):
    class Silent(OwnAdapter):
        describe = None

    host = create_host([Plugin(Silent())], allowed=["first"])
    run = trained(site, host, lora={"backend": "own"})
    card = (run.adapter_dir / "README.md").read_text()
    assert "# Adapter for" in card
    assert "library_name" not in card
    assert "LoRA" not in card


def test_medtune_s_own_adapter_is_named_with_peft_s_release():
    plan = MedTuner.from_bundle("demo", plugins=create_host(autoload=False)).plan()
    assert plan.description("adapter") == {"library": "peft", "version": version("peft"), "kind": "LoRA"}
    assert [each["name"] for each in plan.plugins] == sorted(each["name"] for each in plan.plugins)
    assert {kind for each in plan.plugins for kind in each["provides"]} == {
        "quantizer",
        "adapter",
        "trainer",
        "generator",
    }


@pytest.mark.parametrize("said", [None, "peft", {"a": object()}, {"a": float("nan")}])
def test_a_description_that_is_no_json_is_refused_by_name(said):
    class Odd(OwnAdapter):
        def describe(self):
            return said

    host = create_host([Plugin(Odd())], autoload=False)
    with pytest.raises(PluginError, match="adapter 'own' must describe itself by a mapping of JSON values"):
        plugins_in_use(host, {"adapter": "own"})


def test_what_a_run_was_made_with_and_is_not_there_is_said_with_how_it_is_given_again(tmp_path):
    class Letters:
        name = "letters-of-file"

        def format(self, row):
            return row

    module = plugin_of("letters_file", provide_formatters=lambda: [Letters()])
    module.__file__ = str(tmp_path / "letters_file.py")
    recorded = plugins_in_use(create_host([module], autoload=False), {})
    bare = create_host(autoload=False)
    opened = bare.without(missing_of(bare, recorded))
    with pytest.raises(
        UnknownNameError,
        match=r"no formatter named 'letters-of-file'.*plugin 'letters_file', which may have it, is not used: the run was "
        r"made with it, and it was given from the file 'letters_file\.py': give it again, by --plugin letters_file\.py",
    ) as refused:
        opened.find("formatter", "letters-of-file")
    assert str(tmp_path) not in str(refused.value)
    assert bare.disabled == {}
    assert missing_of(create_host([module], autoload=False), recorded) == {}
    of_package = [{"name": "a", "distribution": "acme", "version": "2", "provides": {"task": ["b"]}}, "no mapping"]
    assert missing_of(bare, of_package) == {
        "a": "the run was made with it, and 'acme' brought it, version 2: install that"
    }
