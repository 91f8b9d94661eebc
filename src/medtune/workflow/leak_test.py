"""The leak test of a run: its packed rows through its model, or a tiny one of its family, in every way it is trained."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from medtune.data.base.folder import weights_are_here
from medtune.data.leaks import LeakFigures, logits_of, measure_leaks, pair_row, shared_rows
from medtune.errors import DataError
from medtune.machine.libraries import quiet_libraries
from medtune.planning.base_config import model_config
from medtune.planning.make_plan import make_plan
from medtune.plugins.contracts import Adapter, Loaded, PackedRow, PackedRows, Quantizer
from medtune.plugins.host import PluginHost
from medtune.plugins.plan import Plan
from medtune.specs import ModelSpec, RunSpec

if TYPE_CHECKING:
    from medtune.accel.train import FastPath

__all__ = ["IsolationReport", "prove_isolation"]

ATTENTIONS = tuple(
    name for name in get_args(ModelSpec.model_fields["attn_implementation"].annotation) if name != "auto"
)
"""Every attention that a spec can choose."""
_FAST, _SHARING = "fast path", "fast path, common prefixes once"
_FALLBACK = (
    "samples that share a row see each other under attention {}, so training takes each by itself (route 'unpacked'): the same "
    "rows and steps, only slower; train.packing=false says so outright"
)
_REMEDIES = {_FAST: "train.fast_path=off", _SHARING: "train.share_prefixes=false"}
_IGNORED = -100

_TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
_SIZED = ("layer_types", "quantization_config", "auto_map", "architectures", "dtype", "torch_dtype", "model_type")
"""Fields that belong to the large model, or to the call."""


@dataclass(frozen=True, slots=True)
class IsolationReport:
    """Outcome of a leak test.

    Attributes:
        model: what was asked: the run's own model, or a tiny random one of its family.
        rows: packed rows in which samples were changed; 0 when no row holds two samples.
        fallback: what training does since the model itself lets samples see each other; empty where it does not.
        attention: what computes attention -> what changing samples did: transformers' implementations, the fast path, and
            the fast path that computes common prefixes once, the last two where they apply.
    """

    model: str
    rows: int
    attention: Mapping[str, LeakFigures]
    fallback: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; ``isolated`` says that no sample saw another, ``fallback`` what training does otherwise."""
        figures = {name: {**asdict(f), "isolated": f.isolated} for name, f in self.attention.items()}
        isolated = all(f.isolated for f in self.attention.values())
        return {
            "isolated": isolated,
            "model": self.model,
            "rows": self.rows,
            "attention": figures,
            "fallback": self.fallback,
        }


@quiet_libraries()
def prove_isolation(spec: RunSpec, host: PluginHost, tokenizer: Any, prepared: PackedRows) -> IsolationReport:
    """Change samples of packed rows and show whether another sample's logits change, under every attention.

    A model whose samples see each other is no error: training finds the same, and takes its samples one by one.

    Where the fast path applies, the losses that it trains on must not change either; where it computes common prefixes
    once, two samples that have one are changed in what is their own.

    The run's own model answers where its weights are local and fit here (unless in int8, which lets every token of a
    batch round every other); else a tiny random model of its family, whose attention masks the same code makes.
    Nothing is downloaded.

    Args:
        spec: the run.
        host: finds the quantizer, which loads the model.
        tokenizer: of the run.
        prepared: the packed training rows.

    Raises:
        DataError: a sample changes another's losses on the fast path, or no tiny model of the family can be made.
    """
    if not (rows := shared_rows(prepared)):
        return IsolationReport("none", 0, {})
    plan = make_plan(spec, host)
    loaded, name = _model(spec, plan, host, tokenizer)
    figures: dict[str, LeakFigures] = {}
    measure = partial(measure_leaks, vocabulary=len(tokenizer), pad_id=tokenizer.pad_token_id)
    from medtune.data.base.architecture import attention_for

    has_all = attention_for(loaded.model.config) != "eager"
    for attention in ATTENTIONS if has_all else ("eager",):
        loaded.model.set_attn_implementation(attention)
        figures[attention] = measure(logits_of(loaded.model), rows)
    if leaky := [attention for attention, found in figures.items() if not found.isolated]:
        return IsolationReport(name, len(rows), figures, _FALLBACK.format(" and ".join(leaky)))
    if plan.path == "fast":
        figures |= _fast_figures(_adapted(loaded, spec, host), spec, rows, prepared, measure)
    return IsolationReport(name, len(rows), figures)


def _fast_figures(
    adapted: Loaded, spec: RunSpec, rows: list[PackedRow], prepared: PackedRows, measure: Callable[..., LeakFigures]
) -> dict[str, LeakFigures]:
    """Return what was measured of each way in which the fast path would run.

    Raises:
        DataError: a sample changes another's losses.
    """
    figures: dict[str, LeakFigures] = {}
    for way in _fast_ways(spec, rows, prepared):
        path = _fast_path(adapted, share=way.name == _SHARING)
        if path is not None:
            figures[way.name] = measure(partial(_losses, path), way.rows, kept=way.kept)
            path.disable()
            _require_isolated(way.name, figures[way.name], way.rows, prepared)
    return figures


@dataclass(frozen=True, slots=True)
class _Way:
    """A way in which the fast path may run: its name, the rows to change, and how many first tokens of a sample stay."""

    name: str
    rows: list[PackedRow]
    kept: int = 0


def _fast_ways(spec: RunSpec, rows: list[PackedRow], prepared: PackedRows) -> list[_Way]:
    # every token carries loss here, so that all of a sample is looked at
    ways = [_Way(_FAST, [replace(row, supervised=[1] * len(row.input_ids)) for row in rows])]
    pair = pair_row(prepared) if spec.train.share_prefixes else None
    if pair is not None:
        # what they have in common stays what it is, and so does its end
        ways.append(_Way(_SHARING, [pair.row], pair.common + 1))
    return ways


def _adapted(loaded: Loaded, spec: RunSpec, host: PluginHost) -> Loaded:
    """Return the model with an adapter that changes what it says."""
    import torch

    adapter: Adapter = host.find("adapter", spec.lora.backend)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        adapted = adapter.attach(loaded, spec.lora.model_copy_with(init="default"))
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.02)
    adapted.model.eval()  # no dropout
    return adapted


def _fast_path(adapted: Loaded, *, share: bool) -> "FastPath | None":
    from medtune.accel.train import FastPath, enable

    found = enable(adapted.model, cuda_graphs=False, share=share)
    return found if isinstance(found, FastPath) and found.shares >= share else None


def _losses(path: "FastPath", arrays: Mapping[str, Any]) -> Any:
    """Return the loss of each token as it is trained on, fp32 [rows, width, 1], 0 where there is none."""
    import torch

    ids, positions, labels = (torch.from_numpy(arrays[name]) for name in ("input_ids", "position_ids", "labels"))
    path.loss_sum(ids, positions, labels)
    losses = torch.zeros(labels.shape)
    losses[:, 1:][labels[:, 1:] != _IGNORED] = path.token_losses.float().cpu()
    return losses[..., None]


def _require_isolated(way: str, figures: LeakFigures, rows: list[PackedRow], prepared: PackedRows) -> None:
    if figures.isolated:
        return
    members = ", ".join(f"'{prepared.row_id(sample)}'" for sample in rows[0].samples[:3])
    raise DataError(
        f"samples that share a row see each other under attention '{way}': changing one moves what the model says of another "
        f"by {figures.largest_change:.2g} ({figures.control:.2g} without isolation), for example among rows {members}; set {_REMEDIES[way]}"
    )


def _model(spec: RunSpec, plan: Plan, host: PluginHost, tokenizer: Any) -> tuple[Loaded, str]:
    # int8 rounds the outliers of all tokens of a batch together, so every change moves every logit a little.
    if plan.scheme != "int8" and weights_are_here(spec.model) and plan.fits:
        quant = plan.settle(spec).quant
        quantizer: Quantizer = host.find("quantizer", quant.quantizer)
        return quantizer.load(spec.model, quant), spec.model.path or spec.model.name
    model, name = _tiny_of_family(model_config(spec, host.all("bundle")), tokenizer)
    return Loaded(model, tokenizer, "cpu", "fp32", ()), name


def _tiny_of_family(values: Mapping[str, Any], tokenizer: Any) -> tuple[Any, str]:
    """Return a random model with two layers, or one of each kind of layer, and this tokenizer's vocabulary."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    family = values.get("model_type") or "mistral"
    kinds = list(dict.fromkeys(values.get("layer_types") or ()))
    sizes = {**_TINY, "num_hidden_layers": max(2, len(kinds)), "vocab_size": len(tokenizer)}
    if values.get("num_key_value_heads") == values.get("num_attention_heads"):
        sizes["num_key_value_heads"] = sizes["num_attention_heads"]
    kept = {key: value for key, value in values.items() if key not in _SIZED}
    layers = {"layer_types": kinds} if len(kinds) > 1 else {}
    try:
        fields = {**kept, **layers, **sizes, "pad_token_id": tokenizer.pad_token_id}
        config = AutoConfig.for_model(family, **fields)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise DataError(
            f"no tiny model of family '{family}' can be made for the leak test; run it where the model's weights are"
        ) from error
    return model.eval(), f"a tiny random {family}"
