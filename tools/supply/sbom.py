"""Writes the bill of materials: every locked release with its hashes and licence, as CycloneDX JSON, held to its schema."""

# The decorators of py-serializable hide from pyright what the classes are; mypy sees it.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from medtune.version import __version__
from supply.licences import EXCEPTIONS, UNKNOWN, licence_of
from supply.locks import ROOT, Locked, read_lock, read_locks

__all__ = ["make_sbom", "problem_of"]


def make_sbom() -> str:
    """Return the bill as JSON; raises ValueError where the schema does not take it."""
    bom = Bom()
    bom.metadata.component = Component(
        name="medtune",
        version=__version__,
        type=ComponentType.APPLICATION,
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
        bom_ref="medtune",
    )
    cuda = read_lock((ROOT / "requirements-cuda.lock").read_text("utf-8"))
    components = [*map(_component, read_locks()), *map(_of_cuda, cuda)]
    bom.components.update(components)
    bom.register_dependency(bom.metadata.component, components)
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    if problem := problem_of(text):
        raise ValueError(problem)
    return text


def problem_of(text: str) -> str:
    """Return what the schema has against a bill, empty where it takes it."""
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return "" if found is None else str(found.data)


def _component(locked: Locked, group: str = "") -> Component:
    licence = _licence(locked.name)
    url = PackageURL("pypi", None, locked.name, locked.version)
    hashes = [Property(name="medtune:sha256", value=each) for each in locked.hashes]
    marker = [Property(name="medtune:marker", value=locked.marker)] if locked.marker else []
    return Component(
        name=locked.name,
        version=locked.version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=f"{group}{url}",
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=locked.hashes[0])] if len(locked.hashes) == 1 else [],
        properties=[*hashes, *marker],
    )


def _of_cuda(locked: Locked) -> Component:
    """Return what only PyPI's build of torch needs."""
    component = _component(locked, "cuda:")
    component.properties.add(Property(name="medtune:needed-by", value="torch from PyPI, on Linux"))
    return component


def _licence(name: str) -> str:
    try:
        found = licence_of(name)
    except PackageNotFoundError:  # of another platform, or of CUDA
        return ""
    return "" if name in EXCEPTIONS or found == UNKNOWN else found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(make_sbom() + "\n", "utf-8")
