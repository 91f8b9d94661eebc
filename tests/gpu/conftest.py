"""What GPU tests share: the skip, and a base of Starling's shape with random weights."""

import json
import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDED_GIB = 40


def pytest_collection_modifyitems(items):
    """Mark every test here as a GPU test, and skip it where there is none."""
    import torch

    missing = None if torch.cuda.is_available() else pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.gpu)
            if missing:
                item.add_marker(missing)


@pytest.fixture(autouse=True)
def no_state_left_behind():
    """Hold every test to leaving torch as it found it, so that the suite passes in one process and in any order."""
    import torch

    yield
    assert torch.get_default_dtype() == torch.float32
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.cuda.is_available() or torch.cuda.get_sync_debug_mode() == 0


@pytest.fixture(scope="session")
def starling(request, tmp_path_factory):
    """Folder with random bf16 weights of Starling-LM-7B's shape and a tokenizer; with all of its 32 layers 14.5 GB."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from medtune import ModelSpec
    from medtune.data.tokenizer import load_tokenizer, save_tokenizer
    from medtune.plugins.host import create_host

    if torch.cuda.get_device_properties(0).total_memory < NEEDED_GIB * 2**30:
        pytest.skip(f"needs a GPU of {NEEDED_GIB} GiB")
    host = create_host(autoload=False)
    given = os.environ.get("MEDTUNE_STARLING_TOKENIZER")  # a folder; else the demo's, which knows fewer ids
    tokenizer = load_tokenizer(ModelSpec(path=given or host.find("bundle", "demo").spec.model.path))
    dimensions = dict(host.find("bundle", "starling-medtuned").model_config)
    dimensions.pop("model_type")
    dimensions["num_hidden_layers"] = request.param
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    folder = tmp_path_factory.mktemp("starling")
    torch.manual_seed(0)
    with torch.device("cuda"):
        previous = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        model = MistralForCausalLM(MistralConfig(**dimensions, **ids, sliding_window=None, rms_norm_eps=1e-5))
        torch.set_default_dtype(previous)
    model.save_pretrained(folder, max_shard_size="5GB")
    save_tokenizer(tokenizer, folder)
    del model
    torch.cuda.empty_cache()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def medtuned_rows(tmp_path_factory):
    """Parquet file of 2,000 generated rows in MedTuned's columns."""
    import pyarrow as pa
    from pyarrow import parquet

    from demo_base.generator import generate_rows

    rows = list(generate_rows("train", 340, 0, source_names="medtuned"))[:2000]
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def graphed(monkeypatch):
    """Return a list that says of each pass of the fast path whether it was launched from a CUDA graph."""
    from medtune.accel.train.cuda_graphs import CudaGraphs

    passes, captured = [], CudaGraphs._captured_pass
    monkeypatch.setattr(
        CudaGraphs,
        "_captured_pass",
        lambda self, *given: (found := captured(self, *given), passes.append(found is not None))[0],
    )
    return passes


@pytest.fixture
def figures(request):
    """Print figures as one JSON line, so that a run's log carries them."""

    def show(**values):
        print("FIGURES", json.dumps({"test": request.node.name, **values}))

    return show
