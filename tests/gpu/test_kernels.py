"""The fast path on a GPU: bf16 within the error of eager, CUDA graphs equal plain passes, no wait inside a step."""

import copy
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "accel"))
from tiny_models import build_model, draw_batch, draw_with_prefixes, gradients, joint_error, largest_error, plain_loss

from medtune.accel import train as kernels
from medtune.accel.steps.dropout import Dropout, keep_mask
from medtune.accel.train import recognize, steps
from medtune.accel.train.fp8_linear import Fp8Linear

FP8 = (8, 9)
WIDE = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
}


def of_kind(kind):
    """Return a function that stores the layers of a base as ``kind``."""

    def change(base):
        for layer in base.model.layers:
            for part in (layer.self_attn, layer.mlp):
                for name, linear in list(part.named_children()):
                    if type(linear) is torch.nn.Linear:
                        setattr(part, name, Fp8Linear(linear) if kind == "fp8" else four_bit(linear))
        return base

    return change if kind != "bf16" else lambda base: base


def four_bit(linear):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    new = bitsandbytes.nn.Linear4bit(
        linear.in_features, linear.out_features, bias=False, compute_dtype=linear.weight.dtype, quant_type="nf4"
    )
    new.weight = bitsandbytes.nn.Params4bit(
        linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True, module=new
    )
    return new.to("cuda")


def in_fp32(model):
    """Return a copy that holds the very same values in fp32, so that only the precision of the work differs."""
    exact = copy.deepcopy(model)
    for layer in exact.get_base_model().model.layers:
        for part in (layer.self_attn, layer.mlp):
            for module in part.children():
                if hasattr(module, "base_layer"):
                    old = module.base_layer
                    module.base_layer = torch.nn.Linear(old.in_features, old.out_features, bias=False, device="meta")
                    module.base_layer.weight = torch.nn.Parameter(dequantized(old), requires_grad=False)
    return exact.float()


def dequantized(linear):
    if isinstance(linear, Fp8Linear):
        return linear.dequantized(torch.float32)
    if type(linear).__name__ == "Linear4bit":
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(linear.weight.data, linear.weight.quant_state).float()
    return linear.weight.detach().float()


def enabled(model, **options):
    path = kernels.enable(model, **options)
    assert isinstance(path, kernels.FastPath), str(path)
    return path


def needs_fp8(kind):
    if kind == "fp8" and torch.cuda.get_device_capability() < FP8:
        pytest.skip("needs fp8 products")


@pytest.mark.parametrize("kind", ["bf16", "nf4", "fp8"])
@pytest.mark.parametrize("family", ["Mistral", "Qwen3"])
def test_gradients_in_bf16_stay_within_the_error_of_eager(kind, family):
    needs_fp8(kind)
    batch = draw_batch(rows=4, length=96)
    model = build_model(family, dtype=torch.bfloat16, prepare=of_kind(kind), **WIDE)
    fast_path = enabled(model, cuda_graphs=False)
    assert fast_path.steps == "triton"
    exact = in_fp32(model)
    loss, wanted = gradients(exact, plain_loss(exact, *batch))
    with torch.autocast("cuda", torch.bfloat16):
        _loss, eager = gradients(model, plain_loss(model, *batch))
    fast_loss, fast = gradients(model, fast_path.loss_sum(*batch))
    torch.testing.assert_close(fast_loss, loss, rtol=2e-2 if kind == "fp8" else 5e-3, atol=0)
    # the products of an fp8 base round their inputs too, which eager does not
    allowed = 0.25 if kind == "fp8" else 1.25 * largest_error(eager, wanted)
    assert largest_error(fast, wanted) < allowed


@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("family", ["Mistral", "Qwen3"])
def test_every_form_of_attention_gives_the_same_gradients(family, window, monkeypatch):
    from medtune.accel.train import attention

    batch = draw_batch(rows=4, length=96)
    sliding = {"sliding_window": window} if family == "Mistral" else {}
    model = build_model(family, dtype=torch.bfloat16, **sliding, **WIDE)
    path = enabled(model, cuda_graphs=False)
    results = []
    for form in ("padded", "flash", "triton"):
        monkeypatch.setattr(attention, "_form_of", lambda *_, form=form: form)
        results.append(gradients(model, path.loss_sum(*batch)))
    for loss, found in results[1:]:
        torch.testing.assert_close(loss, results[0][0], rtol=2e-3, atol=0)
        assert largest_error(found, results[0][1]) < 0.02


def test_the_gradients_of_a_pass_are_the_same_every_time():
    batch = draw_batch(rows=4, length=96)
    model = build_model("Mistral", dtype=torch.bfloat16, lora={"lora_dropout": 0.1}, **WIDE)
    path = enabled(model)
    results = []
    for _round in range(4):
        torch.manual_seed(2)
        results.append(gradients(model, path.loss_sum(*batch)))
    for loss, found in results[1:]:
        assert torch.equal(loss, results[0][0])
        assert all(torch.equal(found[name], gradient) for name, gradient in results[0][1].items())


def test_dropout_is_the_same_by_the_fast_path_by_own_layers_and_on_a_cpu():
    from medtune.accel.triton.dropout import drop

    batch = draw_batch(rows=4, length=96)
    model = build_model("Mistral", lora={"lora_dropout": 0.3}, **WIDE)
    path, results = enabled(model, cuda_graphs=False), []
    for way in (path, None):
        with kernels.UpdateMasks(model, way, 3) as masks:
            masks.begin(2)
            results.append(gradients(model, path.loss_sum(*batch) if way else plain_loss(model, *batch)))
    (loss, fast), (other, plain) = results
    torch.testing.assert_close(loss, other, rtol=1e-4, atol=0)
    assert largest_error(fast, plain) < 1e-2  # products in TF32
    x, keys = torch.randn(2, 50, 4096, device="cuda", dtype=torch.bfloat16), torch.arange(100, dtype=torch.int32)
    for member in range(3):
        on_cpu, here = (Dropout(0.3, each, 3, (7, 2**31 - 1)) for each in (keys, keys.cuda()))
        mask = keep_mask(on_cpu, member, (100, 4096), keys.device).view(x.shape).cuda()
        assert torch.equal(drop(x, here, member), torch.where(mask, (x.float() * here.factor).bfloat16(), 0))


def test_dropping_by_own_layers_takes_no_longer_than_torch_s_dropout():
    from medtune.accel.triton.dropout import drop

    rows = 32_768  # enough for the device, not its host, to be what is timed
    x = torch.randn(rows, 4096, device="cuda", dtype=torch.bfloat16)
    dropout = Dropout(0.05, torch.arange(rows, dtype=torch.int32, device="cuda"), 1, (7,))

    def milliseconds(run):
        times = []
        for _ in range(30):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end))
        return sorted(times)[len(times) // 2]

    own = milliseconds(lambda: drop(x, dropout, 0))
    theirs = milliseconds(lambda: torch.nn.functional.dropout(x, 0.05))
    print(f"dropout of {rows:,} x 4,096 in bf16: {own:.3f} ms, torch's {theirs:.3f} ms")
    assert own < 1.3 * theirs


def test_triton_in_bf16_stays_within_the_error_of_the_reference(monkeypatch):
    batch = draw_batch(rows=4, length=96)
    model = build_model("Mistral", dtype=torch.bfloat16, lora={"lora_dropout": 0.1}, **WIDE)
    results = []
    for which, chosen in (
        (model, steps.triton_steps()),
        (model, steps.reference_steps()),
        (in_fp32(model), steps.reference_steps()),
    ):
        monkeypatch.setattr(recognize, "choose_steps", lambda *_, chosen=chosen: chosen)
        path = enabled(which, cuda_graphs=False)
        torch.manual_seed(4)
        results.append(gradients(which, path.loss_sum(*batch)))
    (loss, found), (reference_loss, by_reference), (_loss, wanted) = results
    torch.testing.assert_close(loss, reference_loss, rtol=2e-3, atol=0)
    assert largest_error(found, wanted) < 1.25 * largest_error(by_reference, wanted)


@pytest.mark.parametrize("kind", ["bf16", "nf4", "fp8"])
@pytest.mark.parametrize("recompute", ["none", "selective", "all", "offload"])
def test_passes_in_cuda_graphs_equal_plain_ones(kind, recompute):
    needs_fp8(kind)
    model = build_model("Mistral", dtype=torch.bfloat16, prepare=of_kind(kind), lora={"lora_dropout": 0.1}, **WIDE)
    plain = enabled(model, cuda_graphs=False)
    # sizes alternate, and the third and later rounds launch what the second captured
    batches = [draw_batch(rows=rows, length=96, seed=seed) for seed, rows in enumerate((4, 2, 4, 4, 2))]
    wanted = []
    for batch in batches:
        torch.manual_seed(7)
        wanted.append(gradients(model, plain.loss_sum(*batch)))
    graphed = enabled(model, recompute=recompute)
    for _round in range(3):
        for batch, (loss, parts) in zip(batches, wanted, strict=True):
            torch.manual_seed(7)
            found_loss, found = gradients(model, graphed.loss_sum(*batch))
            torch.testing.assert_close(found_loss, loss, rtol=1e-3, atol=0)
            # what is computed again may round to the next bf16 value, and fp8 makes more of that; its own error is 0.1
            assert largest_error(found, parts) < (0.03 if kind == "fp8" else 0.01)
    assert graphed.failure is None
    graphed.disable()


def test_weights_that_stay_dequantized_give_the_same_losses_to_the_bit():
    batch = draw_batch(rows=4, length=96)
    model = build_model("Mistral", dtype=torch.bfloat16, prepare=of_kind("nf4"), **WIDE)
    found = []
    for keeps in (False, True):
        path = enabled(model, keep_dequantized=keeps)
        for _ in range(3):  # run as it is, captured, launched again
            loss, parts = gradients(model, path.loss_sum(*batch))
        found.append((loss, parts))
        assert path.failure is None
        path.disable()
        loss, _parts = gradients(model, path.loss_sum(*batch))
        assert torch.equal(loss, found[0][0])
        path.disable()
    assert torch.equal(found[0][0], found[1][0])
    assert largest_error(found[1][1], found[0][1]) < 1e-3  # flash kernels add up in any order


def test_larger_batches_run_in_the_memory_that_the_first_capture_took():
    model = build_model("Mistral", dtype=torch.bfloat16, **WIDE)
    path = enabled(model, most_tokens=64 * 96)

    def held():
        segments = torch.cuda.memory_snapshot()
        return sum(one["total_size"] for one in segments if tuple(one["segment_pool_id"]) != (0, 0))

    taken = []
    for rows in (8, 8, 16, 32, 64, 48):
        path.loss_sum(*draw_batch(rows=rows, length=96, samples=1)).backward()
        taken.append(held())
    assert path.failure is None
    assert 0 < taken[1] <= taken[-1] <= 1.3 * taken[1]
    path.disable()


def test_a_cuda_graph_sees_updated_adapters():
    batch = draw_batch(rows=4, length=96)
    model = build_model("Mistral", dtype=torch.bfloat16, **WIDE)
    path = enabled(model)
    for _ in range(3):
        before = path.loss_sum(*batch)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.5)
    after = path.loss_sum(*batch)
    with torch.no_grad():
        torch.testing.assert_close(after.detach(), path.loss_sum(*batch), rtol=1e-3, atol=0)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("family", ["Mistral", "Qwen2", "Qwen3"])
def test_shared_prefixes_give_the_gradients_of_whole_samples_in_cuda_graphs_too(family):
    exact, batch = build_model(family, **WIDE), draw_with_prefixes()
    _loss, wanted = gradients(exact, plain_loss(exact, *batch))
    model = build_model(family, dtype=torch.bfloat16, **WIDE)
    path, errors = enabled(model, share=True), {}
    for name, laid in (("whole", kernels.lay_out(*batch)), ("shared", path.lay_out(*batch))):
        for repeat in ("first", "captured", "launched again"):
            _loss, found = gradients(model, path.loss_of(laid))
            errors[name, repeat] = joint_error(found, wanted)
    assert max(errors.values()) < 1.25 * errors["whole", "first"], errors


def test_a_step_never_waits_for_the_device():
    model = build_model("Mistral", dtype=torch.bfloat16, **WIDE)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    packed = kernels.lay_out(*draw_batch(rows=4, length=96)).pin_memory()
    path = enabled(model)

    def step():
        (path.loss_of(packed) / 100).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step()
    with waits_are_errors():
        step()


def test_a_wait_for_the_device_would_be_noticed():
    with waits_are_errors(), pytest.raises(RuntimeError, match="synchronizing"):
        torch.ones(1, device="cuda").item()


@contextmanager
def waits_are_errors():
    """Have torch raise where the host waits for the device; it warns that this is a prototype."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Synchronization debug mode")
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
