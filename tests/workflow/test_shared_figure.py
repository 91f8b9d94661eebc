"""A bench can be sent in as a figure: what was measured and on what, nothing of who measured it, and a plan takes it up."""

import getpass
import json
import socket

import pytest

from medtune import ModelSpec, QuantSpec, RunSpec, TrainSpec
from medtune.errors import WriteFailedError
from medtune.planning.figures import Figure, known_figures
from medtune.plugins.host import create_host
from medtune.workflow.bench import bench
from medtune.workflow.shared_figure import share_figure

TINY = {
    "model_type": "mistral",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 300,
    "_name_or_path": "/home/dr-mayer/secret-base",
}
SETTINGS = {
    "scheme",
    "compute_dtype",
    "recompute",
    "dequantized_weights",
    "micro_batch_rows",
    "gradient_accumulation_steps",
    "max_length",
    "r",
    "dropout",
    "supervised",
    "sample_tokens",
    "path",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secret-base")
    (folder / "config.json").write_text(json.dumps(TINY))
    spec = RunSpec(
        model=ModelSpec(path=str(folder)),
        quant=QuantSpec(scheme="none"),
        train=TrainSpec(max_length=64, gradient_accumulation_steps=2),
        output_dir="/home/dr-mayer/run",
    )
    return bench(spec, create_host(autoload=False), steps=3)


def test_a_figure_holds_what_was_measured_and_nothing_else(report, tmp_path):
    figure = json.loads(json.dumps(share_figure(report, tmp_path / "figure.json")))
    text = (tmp_path / "figure.json").read_text("utf-8")
    assert json.loads(text) == figure
    assert set(figure) == {"format", "card", "versions", "shape", "settings", "steps", "measured"}
    assert set(figure["card"]) == {"name", "memory_gib", "capability"}
    assert set(figure["shape"]) == set(TINY) - {"_name_or_path"}
    assert set(figure["settings"]) == SETTINGS
    assert figure["settings"]["path"] == "fast"
    assert figure["measured"]["tokens_per_second"] == report.measured["tokens_per_second"]
    assert {"medtune", "torch"} <= set(figure["versions"])
    for private in (socket.gethostname(), "mayer", "secret", str(tmp_path), f'"{getpass.getuser()}"'):
        assert private not in text


def test_a_figure_is_read_again_as_those_that_come_with_medtune(report, tmp_path):
    figure = Figure.of(share_figure(report, tmp_path / "figure.json"))
    assert figure.shape.hidden_size == 64
    assert (figure.setting.path, figure.setting.spec.train.max_length) == ("fast", 64)
    assert figure.tokens_per_second == report.measured["tokens_per_second"]
    with pytest.raises(ValueError, match="another format"):
        Figure.of({**share_figure(report, tmp_path / "figure.json"), "format": 99})


def test_a_figure_that_cannot_be_written_is_refused_by_its_file(report, tmp_path):
    with pytest.raises(WriteFailedError, match="nowhere"):
        share_figure(report, tmp_path / "nowhere" / "figure.json")


def test_figures_that_come_with_medtune_are_near_what_is_estimated():
    assert len(known_figures()) > 10
    assert all(0.9 < figure.share < 1.1 for figure in known_figures())
