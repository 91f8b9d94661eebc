"""What medtune is installed with is pinned, hashed, licensed, free of known faults, and written down."""

import ast
import json
import re
import tomllib
from dataclasses import replace
from importlib.metadata import version

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply.advisories import floors, read_advisories
from supply.licences import EXCEPTIONS, PAGE, licence_of, page, refusals
from supply.locks import ROOT, read_lock, read_locks
from supply.sbom import make_sbom, problem_of

LOCKS = read_locks()
PYPROJECT = (ROOT / "pyproject.toml").read_text()
ONE = "a==1 \\\n    --hash=sha256:" + "0" * 64 + "\n"


def test_every_file_that_is_installed_is_known_by_its_hash():
    cuda = read_lock((ROOT / "requirements-cuda.lock").read_text())
    assert len(LOCKS) > 130
    assert len({each.name for each in LOCKS}) == len(LOCKS)
    assert all(each.hashes for each in (*LOCKS, *cuda))
    assert [each.name for each in LOCKS][-1] == "torch"
    assert re.search(r"--require-hashes --no-deps", (ROOT / "Makefile").read_text())


@pytest.mark.parametrize("text", ["a>=1\n", "a\n", ONE + "b~=2\n", ONE + "<<<<\n"])
def test_a_line_that_pins_nothing_is_no_lock(text):
    assert read_lock(ONE)[0].hashes == ("0" * 64,)
    with pytest.raises(ValueError, match=r".+"):
        read_lock(text)


def test_both_builds_of_torch_are_one_release_and_what_is_installed_is_locked():
    locked = {each.name: each for each in LOCKS}
    assert len(locked["torch"].hashes) > 20
    for name, each in locked.items():
        if not each.marker or Marker(each.marker).evaluate():
            assert version(name).partition("+")[0] == each.version, name


def test_the_locks_meet_what_the_project_asks_for():
    locked = {each.name: each.version for each in LOCKS}
    project = tomllib.loads(PYPROJECT)["project"]
    extras = project["optional-dependencies"]
    for line in (*project["dependencies"], *extras["dev"], *extras["docs"]):
        wanted = Requirement(line)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), line


def test_no_known_fault_is_installed_and_none_is_allowed():
    advisories = read_advisories()
    assert [*advisories.of_locks(LOCKS)] == []
    assert [*advisories.against(floors(PYPROJECT), accept_unreached=True)] == []
    for name in ("jinja2", "filelock", "pyarrow", "transformers", "torch", "accelerate", "starlette"):
        assert name in dict(floors(PYPROJECT))  # else nothing was compared


def test_an_advisory_refuses_older_releases_by_name_and_number():
    advisories = read_advisories()
    for entry in advisories.entries:
        older = [replace(LOCKS[0], name=entry["package"], version="0.0.1")]
        assert any(entry["ids"][0] in sentence for sentence in advisories.of_locks(older))
        assert [*advisories.against([(entry["package"], "999")], accept_unreached=False)] == []
    old = PYPROJECT.replace("jinja2>=3.1.6", "jinja2>=3.1.5")
    told = [*advisories.against(floors(old), accept_unreached=True)]
    assert told == ["jinja2 3.1.5 is below 3.1.6: the sandbox is left through the filter attr (CVE-2025-27516)"]


def test_what_an_advisory_is_accepted_for_is_never_called():
    assert [entry["unreached"] for entry in read_advisories().entries if "unreached" in entry] == [
        "medtune never calls torch.jit"
    ]
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            assert not (isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.jit"), file
            assert not (isinstance(node, ast.Import | ast.ImportFrom) and "torch.jit" in ast.unparse(node)), file


def test_every_licence_is_known_and_allowed_and_the_page_says_so():
    names = [each.name for each in LOCKS if not each.marker or Marker(each.marker).evaluate()]
    assert refusals({name: licence_of(name) for name in names}) == []
    assert set(names) >= EXCEPTIONS.keys()
    if len(names) == len(LOCKS):
        assert PAGE.read_text() == page(names), "python -m supply.licences writes it anew"


@pytest.mark.parametrize(
    ("licence", "is_refused"),
    [
        ("MIT", False),
        ("Apache-2.0 WITH LLVM-exception AND MIT", False),
        ("GPL-3.0-only OR MIT", False),
        ("GPL-3.0-only", True),
        ("MIT AND AGPL-3.0-or-later", True),
        ("(MIT OR GPL-2.0-only) AND GPL-3.0-only", True),
        ("CC-BY-NC-4.0", True),
        ("BSD", True),
        ("unknown", True),
        ("", True),
    ],
)
def test_a_licence_that_would_reach_medtune_is_refused(licence, is_refused):
    assert bool(refusals({"theirs": licence})) == is_refused
    assert refusals({"docutils": licence}) == []


def test_the_bill_of_materials_names_every_release_by_its_files_and_fits_its_schema():
    bill = json.loads(make_sbom())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    found = {each["bom-ref"]: each for each in bill["components"]}
    for each in LOCKS:
        component = found[f"pkg:pypi/{each.name}@{each.version}"]
        told = {prop["value"] for prop in component["properties"] if prop["name"] == "medtune:sha256"}
        assert told >= set(each.hashes)
        assert component.get("licenses") or each.name in EXCEPTIONS or each.marker
    assert any(ref.startswith("cuda:") for ref in found)
    assert problem_of(json.dumps(bill)) == ""
    del bill["components"][0]["name"]
    assert "'name' is a required property" in problem_of(json.dumps(bill))
