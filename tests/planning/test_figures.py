"""Data sheets name their documents, and a figure measured on a GPU takes the place of what is estimated for it."""

from dataclasses import replace

import pytest

from medtune import MedTuner
from medtune.machine.gpus import gpu_of, known_gpus, machine_with, sheet_of
from medtune.machine.hardware import Accelerator
from medtune.planning.figures import Figure, measured_speed
from medtune.planning.memory import Setting, Shape
from medtune.planning.speed import estimate_speed
from medtune.specs import QuantSpec, RunSpec

SHAPE = Shape(4096, 32, 32, 8, 128, 14336, 32002, tied=False)
T4 = machine_with("t4").accelerator


def setting(scheme="nf4", **changes):
    return Setting(RunSpec(quant=QuantSpec(scheme=scheme)), "fp16", "none", "fast", 4, supervised=0.45, **changes)


def estimated(shape=SHAPE, **changes):
    return estimate_speed(shape, setting(**changes), gpu_of(T4))


def measured(shape=SHAPE, figures=(), **changes):
    return measured_speed(shape, setting(**changes), estimated(shape, **changes), T4, figures)


@pytest.mark.parametrize("name", known_gpus())
def test_every_data_sheet_names_its_document_and_is_whole(name):
    gpu = known_gpus()[name]
    document, address = gpu.source.split(": https://")
    assert "NVIDIA" in document
    assert address.startswith(("www.nvidia.com/", "images.nvidia.com/"))
    assert min(gpu.memory_gib, gpu.tflops, gpu.bandwidth_gbs, gpu.link_gbs, gpu.shared_kib) > 0
    assert (gpu.fp8_tflops > 0) == gpu.has_fp8
    assert sheet_of(Accelerator(gpu.name, gpu.memory_gib, gpu.capability)) == name


def test_cards_of_one_capability_have_equally_much_shared_memory():
    assert len({(gpu.capability, gpu.shared_kib) for gpu in known_gpus().values()}) == len(
        {gpu.capability for gpu in known_gpus().values()}
    )


def test_a_figure_of_the_same_setting_is_what_was_measured():
    figure = Figure(T4, SHAPE, setting(), 700.0)
    found = measured(figures=[figure])
    assert found.tokens_per_second == pytest.approx(700)
    assert found.basis.startswith("measured on Tesla T4: 700 tokens a second")
    assert estimated().basis in found.basis


def test_another_setting_of_the_same_kind_is_scaled_by_it():
    figure = Figure(T4, SHAPE, setting(), 0.5 * estimated().tokens_per_second)
    found = measured(replace(SHAPE, num_hidden_layers=16), [figure], common=0.2)
    wanted = estimated(replace(SHAPE, num_hidden_layers=16), common=0.2)
    assert found.tokens_per_second == pytest.approx(0.5 * wanted.tokens_per_second)


@pytest.mark.parametrize(
    "other",
    [
        Figure(machine_with("l4").accelerator, SHAPE, setting(), 700.0),
        Figure(T4, SHAPE, setting("none"), 700.0),
        Figure(T4, SHAPE, replace(setting(), path="plain"), 700.0),
        Figure(T4, replace(SHAPE, hidden_size=1024), setting(), 700.0),
        Figure(Accelerator("Unknown", 14.6, (7, 5)), SHAPE, setting(), 700.0),
    ],
    ids=["another card", "another storage", "another path", "a far smaller base", "an unknown card"],
)
def test_what_is_not_alike_says_nothing(other):
    assert measured(figures=[other]) == estimated()


def test_of_several_figures_the_nearest_counts():
    far = Figure(T4, replace(SHAPE, hidden_size=3072), setting(), 1.0)
    near = Figure(T4, SHAPE, setting(), 700.0)
    assert measured(figures=[far, near]).tokens_per_second == pytest.approx(700)


def test_a_plan_for_a_card_that_was_measured_says_so():
    assert MedTuner.from_defaults().plan("h200").speed_basis.startswith("measured on NVIDIA H200")
    assert "measured" not in MedTuner.from_defaults().plan("t4").speed_basis
