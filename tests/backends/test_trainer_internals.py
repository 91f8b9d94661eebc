"""What medtune relies on inside the libraries is checked when the trainer is imported, and named in one file only."""

import ast
import re
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from transformers import Trainer
from trl.trainer.sft_trainer import SFTTrainer

import medtune
from medtune.backends import trainer_internals
from medtune.backends.resumable import ResumableSFTTrainer
from medtune.backends.sft_trainer import PackedSFTTrainer
from medtune.backends.trainer_internals import INTERNALS, TESTED, Internal, TrainerInternals, require_internals
from medtune.errors import UnsupportedVersionError

SOURCE = Path(medtune.__file__).parent
INTERNAL_FILE = "backends/trainer_internals.py"
ELSEWHERE = {
    "_asdict": "documented method of named tuples",
    "_replace": "as above",
    "_current_frames": "documented function of sys",
    "_commit_hash": "transformers keeps the commit of a base nowhere else",
    "_exit": "documented way to die at once",
    "_flash_attention_backward": "an operator of torch, called so that graphs can hold it",
    "_flash_attention_forward": "as above",
    "_foreach_copy_": "as above",
    "_efficient_attention_backward": "as _flash_attention_forward, for GPUs that flash attention leaves out",
    "_efficient_attention_forward": "as above",
    "_buffers": "torch puts modules back in no other way",
    "_hf_hook": "accelerate's mark of a module that it moves about",
    "_model_mapping": "transformers lists nowhere else which encoders have a head",
    "_modules": "as _buffers",
    "_n_gpu": "transformers' Trainer spreads over all GPUs otherwise, as it says itself",
    "_scaled_mm": "torch's only product in fp8",
}
"""Private names of libraries that are read outside of trainer_internals, and why."""


def members_of(owner):
    return {name: m for kind in reversed(owner.__mro__[:-1]) for name, m in vars(kind).items() if callable(m)}


def without(internal):
    """Return the member of a class that is as the owner, but lacks it."""
    names, members = {internal.name}, members_of(internal.owner)
    if internal.parameters is None:
        names = {name for name, member in members.items() if stores(internal.owner, name, member, internal.name)}
    kept = {name: m for name, m in members.items() if name not in names}
    return replace(internal, owner=type(internal.owner.__name__, (), kept))


def stores(owner, name, member, attribute):
    return attribute in trainer_internals._stored_names(type(owner.__name__, (), {name: member}))


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: f"{internal.owner.__name__}.{internal.name}")
def test_a_member_that_is_gone_is_named_with_the_installed_and_the_tested_releases(internal):
    assert internal.fault is None
    with pytest.raises(UnsupportedVersionError) as caught:
        require_internals([without(internal)])
    assert caught.value.exit_code == 2
    verb = "sets" if internal.parameters is None else "has"
    shown, (oldest, newest) = f"{internal.owner.__name__}.{internal.name}", TESTED[internal.library]
    releases = f"{oldest} to {newest}" if oldest != newest else oldest
    assert str(caught.value) == (
        f"{internal.library} {version(internal.library)} no longer {verb} {shown}; "
        f"medtune is tested with {releases}: install one of these"
    )


def test_a_method_with_other_parameters_is_named():
    class Changed(Trainer):
        def _clip_grad_norm(self, model, norm):
            """Take one more."""

    fault = Internal("transformers", Changed, "_clip_grad_norm", ("model",)).fault
    assert fault == "has Changed._clip_grad_norm with the parameters (model, norm), not (model)"


def test_a_method_that_the_loop_calls_no_more_is_named():
    class Loop:
        def _clip_grad_norm(self, model):
            """Wait in vain."""

        def train(self):
            """Do without."""

    internal = Internal("transformers", Loop, "_clip_grad_norm", ("model",))
    assert internal.fault == "no longer calls Loop._clip_grad_norm"
    assert replace(internal, is_replaced=False).fault is None


def test_an_optimizer_that_applies_what_it_was_told_to_leave_out_is_named(monkeypatch):
    monkeypatch.setattr(trainer_internals, "_fused_step_leaves_out", lambda: False)
    with pytest.raises(
        UnsupportedVersionError, match=r"torch .* applies a fused update of Adam although its found_inf"
    ):
        require_internals()


def test_the_check_runs_when_the_trainer_is_imported(monkeypatch):
    monkeypatch.delattr(Trainer, "_load_scaler")
    again = spec_from_file_location("internals_again", trainer_internals.__file__)
    module = module_from_spec(again)
    monkeypatch.setitem(sys.modules, "internals_again", module)
    with pytest.raises(UnsupportedVersionError, match=r"no longer has Trainer\._load_scaler"):
        again.loader.exec_module(module)


def requirements():
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    return project["dependencies"]


def test_the_tested_releases_are_the_bounds_of_the_requirements():
    for library, (oldest, newest) in TESTED.items():
        major, minor = newest.split(".")
        assert f"{library}>={oldest},<{major}.{int(minor) + 1}" in requirements()


def test_the_lowest_releases_that_make_tries_are_those_that_the_requirements_allow():
    lines = (SOURCE.parents[1] / "Makefile").read_text("utf-8").replace("\\\n", " ").splitlines()
    (floors,) = (line.removeprefix("FLOORS := ").split() for line in lines if line.startswith("FLOORS := "))
    lowest = dict(re.match(r"([\w-]+)>=([\d.]+)", r).groups() for r in requirements())
    tried = dict(floor.split("==") for floor in floors)
    assert {r.partition(">=")[0] for r in requirements() if ",<" in r} - {"torch"} <= tried.keys()
    for library, release in tried.items():
        assert release in {lowest[library], f"{lowest[library]}.0"}


def test_own_members_of_the_trainers_hide_none_of_the_libraries():
    taken = set(dir(SFTTrainer)) | trainer_internals._stored_names(SFTTrainer)
    meant = {internal.name for internal in INTERNALS} | {"state", "_initial_global_step", "data"}  # data: of parameters
    for kind in (TrainerInternals, ResumableSFTTrainer, PackedSFTTrainer):
        own = vars(kind).keys() | own_stored_names(kind)
        assert {n for n in own & taken if not n.startswith("__") and n != "_abc_impl"} <= meant


def own_stored_names(kind):
    return trainer_internals._stored_names(
        type(kind.__name__, (), {n: m for n, m in vars(kind).items() if callable(m)})
    )


def test_private_members_of_libraries_are_named_in_one_file_or_justified():
    trees = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}
    own = {name for tree in trees.values() for name in defined_in(tree)} - {i.name for i in INTERNALS}
    found = {n for file, tree in trees.items() if file != INTERNAL_FILE for n in private_names_of(tree)}
    assert found - own == ELSEWHERE.keys()


def defined_in(tree):
    """Yield the names that a module gives to functions, classes and attributes of self."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr


def private_names_of(tree):
    """Yield the private names that a module reads or overrides; those of self only where the trainer has them too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_self(node.value):
            yield node.attr
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "setattr", "hasattr", "delattr"}:
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield name.value
        name = node.name if isinstance(node, ast.FunctionDef) else getattr(node, "attr", "")
        if name in {i.name for i in INTERNALS} and is_private(name):
            yield name


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def is_self(node):
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}
