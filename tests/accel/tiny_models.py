"""Tiny random peft models of every family, batches, and the plain computation that the fast path must equal."""

import torch

from medtune.machine.libraries import quiet_libraries

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


def config_of(family, **changes):
    import transformers

    sizes = {**SIZES, **({"head_dim": 24} if family == "Qwen3" else {}), **changes}
    return getattr(transformers, f"{family}Config")(**sizes, attn_implementation="sdpa")


def build_model(family="Mistral", dtype=torch.float32, lora=None, prepare=lambda base: base, **changes):
    """Return a peft model whose adapters already move its output."""
    import transformers
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    base = getattr(transformers, f"{family}ForCausalLM")(config_of(family, **changes))
    for name, parameter in base.named_parameters():
        if "norm" in name or "bias" in name:
            parameter.data += 0.3 * torch.randn_like(parameter)
    base = prepare(base.to(DEVICE, dtype))
    settings = {"r": 8, "lora_alpha": 12, "target_modules": list(SEVEN), "lora_dropout": 0.0, **(lora or {})}
    with quiet_libraries():
        model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float() + 0.05 * torch.randn_like(parameter, dtype=torch.float32)
    return model.train()


def draw_batch(rows=3, length=40, samples=3, seed=0, vocabulary=300):
    """Return ids, positions and labels of packed rows with padding, answers at the ends of samples."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (rows, length), generator=draw)
    positions, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row in range(rows):
        start = 0
        for _ in range(samples):
            size = int(torch.randint(4, length // samples, (), generator=draw))
            positions[row, start : start + size] = torch.arange(size)
            answer = start + size // 2
            labels[row, answer : start + size] = ids[row, answer : start + size]
            start += size
        positions[row, start:] = torch.arange(length - start)
    return ids.to(DEVICE), positions.to(DEVICE), labels.to(DEVICE)


def draw_with_prefixes(rows=3, seed=0, vocabulary=300):
    """Return a batch as ``draw_batch`` does, of samples that begin with one of two texts of 18 and 21 tokens."""
    draw = torch.Generator().manual_seed(seed)
    texts = [torch.randint(3, vocabulary, (size,), generator=draw) for size in (18, 21)]
    ids, positions, labels = draw_batch(rows, 160, 4, seed, vocabulary)
    labels[:] = -100
    for row in range(rows):
        for number, start in enumerate(range(0, 160, 40)):
            text, size = texts[(row + number) % 2], int(torch.randint(25, 40, (), generator=draw))
            ids[row, start : start + len(text)] = text
            positions[row, start : start + 40] = torch.arange(40)
            labels[row, start + 23 : start + size] = ids[row, start + 23 : start + size]
    return ids, positions, labels


def plain_loss(model, ids, positions, labels):
    """Return the summed loss as transformers and peft compute it."""
    logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")


def gradients(model, loss):
    """Return the loss, and the gradient of every trained parameter by name; leaves none behind."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad(set_to_none=True)
    return loss.detach(), found


def joint_error(found, wanted):
    """Return the relative error of all gradients taken as one."""
    apart = sum(float((found[n].double() - w.double()).norm()) ** 2 for n, w in wanted.items())
    return (apart / sum(float(w.double().norm()) ** 2 for w in wanted.values())) ** 0.5


def largest_error(found, wanted):
    """Return the largest relative error of any parameter's gradient, by norm."""
    assert found.keys() == wanted.keys()
    return max(float((found[n].double() - w.double()).norm() / w.double().norm()) for n, w in wanted.items())
