"""Measures on a micro-batch how far a training loss is from the model's own forward with labels, each sample alone.

Loss and gradients of the adapter are compared, then samples are changed to see whether others notice. The adapter's values are
drawn where they are zero, since a fresh adapter would let every gradient error pass; dropout is off. Afterwards values, gradients,
modes and generators are what they were, bit for bit.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from medtune.accel.model.distances import error, gradient_error, scale_error, share
from medtune.accel.model.untouched import untouched
from medtune.data.pack import to_batch
from medtune.plugins.contracts import PackedRow

__all__ = ["Examination", "Figures", "TrainingLoss", "cast_to", "own_forward"]

TrainingLoss = Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor]]
"""Arrays of ``to_batch`` as tensors -> summed loss [], and the loss of each supervised token in their order, perhaps with padding."""

_IGNORED = -100
_PADDING = 8
_DRAWN = 0.02
"""Standard deviation of what stands in for zeros in the adapter."""
_NOISE = 4
"""How often what a repeated pass moves may be moved without being taken for a leak."""
_AUTOCASTS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Figures:
    """How far a loss is from the model's own.

    Attributes:
        loss: relative error of the tokens' losses, by norm, or of their sum, whichever is larger.
        gradient: largest relative error of any trained tensor's gradient, by norm.
        scale: how far the typical gradient's length over the right one's is from 1: what a factor on the loss changes, and
            rounding hardly does.
        leak: largest change of a token's loss when other samples change, as a share of what changes in these.
    """

    loss: float
    gradient: float
    scale: float
    leak: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """Summed loss, losses of tokens [supervised], and gradients, all on the device."""

    total: Tensor
    tokens: Tensor
    gradients: list[Tensor]


class Examination:
    """One micro-batch and one model, whose losses are compared; use as a context manager.

    Args:
        model: a causal model that peft wrapped.
        rows: from ``choose_rows``.
        pad_id: id of the padding.
        precision: "bf16", "fp16" or "fp32"; on a GPU torch casts to it, as while training.
        gradients: whether they are compared too; a model that only measures has none.
    """

    def __init__(
        self, model: Any, rows: Sequence[PackedRow], pad_id: int, precision: str, *, gradients: bool = True
    ) -> None:
        self._model, self._base, self._rows, self._pad_id = model, model.get_base_model(), rows, pad_id
        self._trained = [p for p in model.parameters() if p.requires_grad and gradients]
        embedding = self._base.get_input_embeddings().weight
        self._device, self._vocabulary, self._precision = embedding.device, len(embedding), precision
        self._references: dict[bool, _Answer] = {}
        self._scale = 1.0

    @contextmanager
    def open(self) -> Iterator["Examination"]:
        """Seed the adapter and put everything back in the end."""
        with untouched(self._model, self._device), _seeded(self._trained):
            yield self
        self._references.clear()

    def rescale(self, scale: float) -> None:
        """Have losses multiplied before their gradients are computed, and these divided, as fp16 needs."""
        self._scale, self._references = scale, {}

    def foresight(self) -> float:
        """Return how much an earlier logit moves as later tokens change, as a share of what moves there; NaN where one is NaN."""
        ids = list(self._rows[-1].input_ids)
        half = len(ids) // 2
        self._set_modes(training=False)
        with torch.no_grad(), cast_to(self._precision, self._device):
            before, after = (
                own_forward(self._base, input_ids=torch.tensor([given], device=self._device)).logits[0].float()
                for given in (ids, [*ids[:half], *self._changed(ids[half:])])
            )
        moved = (after - before).abs().amax(-1)
        return share(moved[:half].max(), moved[half:]) if torch.isfinite(moved).all() else float("nan")

    def figures(self, loss: TrainingLoss, *, as_trained: bool) -> Figures:
        """Measure a loss.

        Args:
            loss: what would be trained on.
            as_trained: whether it stands beside the model and has to compute what that computes in training mode, adapter's
                dropout aside; else it runs the model's own modules, and both sides are run in evaluation mode.
        """
        wanted = self._reference(training=as_trained)
        self._set_modes(training=False)
        total, tokens = self._run(loss, self._batch(self._rows))
        gradients = self._gradients(total)
        found = _Answer(total.detach(), tokens[: len(wanted.tokens)], gradients)
        with torch.no_grad():
            return _apart(found, wanted, leak=self._leak(loss))

    def not_finite(self, *, as_trained: bool) -> str:
        """Return what of the model's own forward is no number: "loss", "gradient", or nothing."""
        wanted = self._reference(training=as_trained)
        if not torch.isfinite(wanted.total):
            return "loss"
        return "" if all(torch.isfinite(gradient).all() for gradient in wanted.gradients) else "gradient"

    def unsteadiness(self, *, as_trained: bool) -> Figures:
        """Return how far the model's own loss and gradients move when the last bit of what enters its first layer does.

        A right loss that rounds in another order is off by a few times that: more than a fixed bound in a deep trained model.
        """
        wanted, draw = self._reference(training=as_trained), torch.Generator(self._device).manual_seed(0)

        def jitter(_module: nn.Module, _given: Any, output: Tensor) -> Tensor:
            moved = torch.randn(output.shape, generator=draw, device=output.device, dtype=torch.float32)
            return output * (1 + moved * torch.finfo(output.dtype).eps / 2).to(output.dtype)

        hook = self._base.get_input_embeddings().register_forward_hook(jitter)
        try:
            found = self._summed(training=as_trained)
        finally:
            hook.remove()
        return _apart(found, wanted, leak=0.0)

    def _reference(self, *, training: bool) -> _Answer:
        if training not in self._references:
            self._references[training] = self._summed(training=training)
        return self._references[training]

    def _summed(self, *, training: bool) -> _Answer:
        """Return what the model's own forward says of all samples, each alone."""
        self._set_modes(training=training)
        answers = [self._alone(sample) for row in self._rows for sample in _samples(row)]
        return _Answer(
            total=torch.stack([answer.total for answer in answers]).sum(),
            tokens=torch.cat([answer.tokens for answer in answers]),
            gradients=[
                sum(parts, torch.zeros_like(parts[0])) for parts in zip(*(a.gradients for a in answers), strict=True)
            ],
        )

    def _alone(self, sample: tuple[list[int], list[int]]) -> _Answer:
        """Return the answer of the model's own forward with labels for one sample."""
        ids, labels = (torch.tensor([values], device=self._device) for values in sample)
        targets = labels[:, 1:]
        marked = targets != _IGNORED
        with cast_to(self._precision, self._device):
            output = own_forward(self._base, input_ids=ids, labels=labels)
        logits = output.logits[:, :-1][marked].detach().float()
        total = output.loss.float() * marked.sum()
        tokens = torch.nn.functional.cross_entropy(logits, targets[marked], reduction="none")
        return _Answer(total.detach(), tokens, self._gradients(total))

    def _gradients(self, total: Tensor) -> list[Tensor]:
        if not self._trained:
            return []
        found: Any = torch.autograd.grad(total * self._scale, self._trained, allow_unused=True)
        pairs = zip(found, self._trained, strict=True)  # None where a tensor has no part
        return [torch.zeros_like(p) if part is None else part.detach() / self._scale for part, p in pairs]

    def _leak(self, loss: TrainingLoss) -> float:
        """Change every other sample, and look at the losses of those between; all tokens carry loss for that.

        A pass that does not repeat itself is no leak: what moves is then compared with what moves without a change.
        """
        rows = [_all_marked(row) for row in self._rows]
        owners = _owners(rows, self._device)
        before = self._token_losses(loss, rows, len(owners))
        shares: list[float] = []
        for parity in (0, 1):
            moved = (self._token_losses(loss, self._with_changed(rows, parity), len(owners)) - before).abs()
            own = owners % 2 == parity
            if moved[~own].max() > 0:
                noise = (self._token_losses(loss, rows, len(owners)) - before).abs().max()
                moved = torch.where(own, moved, (moved - _NOISE * noise).clamp(min=0))
            shares.append(share(moved[~own].max(), moved[own]))
        return max(shares)

    def _token_losses(self, loss: TrainingLoss, rows: Sequence[PackedRow], count: int) -> Tensor:
        with torch.no_grad():
            return self._run(loss, self._batch(rows))[1][:count].clone()

    def _with_changed(self, rows: Sequence[PackedRow], parity: int) -> list[PackedRow]:
        """Return rows with every sample changed whose number, counted over all rows, is odd or even."""
        changed: list[PackedRow] = []
        number = 0
        for row in rows:
            ids: list[int] = []
            for own, _labels in _samples(row):
                ids += self._changed(own) if number % 2 == parity else own
                number += 1
            changed.append(PackedRow(ids, row.supervised, row.lengths, row.samples))
        return changed

    def _changed(self, ids: Sequence[int]) -> list[int]:
        return [(token + 1) % self._vocabulary for token in ids]

    def _batch(self, rows: Sequence[PackedRow]) -> dict[str, Tensor]:
        width = max(len(row.input_ids) for row in rows) + _PADDING
        return {name: torch.from_numpy(a).to(self._device) for name, a in to_batch(rows, width, self._pad_id).items()}

    def _run(self, loss: TrainingLoss, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        with cast_to(self._precision, self._device):
            return loss(batch)

    def _set_modes(self, *, training: bool) -> None:
        for name, module in self._model.named_modules():
            # checkpointing only repeats, and what peft drops is left out on both sides
            is_calm = "lora_dropout" in name or hasattr(module, "gradient_checkpointing")
            module.training = training and not is_calm


def _apart(found: _Answer, wanted: _Answer, leak: float) -> Figures:
    return Figures(
        loss=max(error(found.tokens, wanted.tokens), error(found.total, wanted.total)),
        gradient=gradient_error(found.gradients, wanted.gradients),
        scale=scale_error(found.gradients, wanted.gradients),
        leak=leak,
    )


def cast_to(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which torch casts to a precision as while training: on a GPU, below fp32."""
    kind = _AUTOCASTS.get(precision)
    return torch.autocast("cuda", kind) if kind is not None and device.type == "cuda" else nullcontext()


def own_forward(base: Any, **given: Any) -> Any:
    """Call a model as its class defines it, keeping nothing for a next token, and without losses that balance a router.

    Args:
        base: without peft around it; an instance's own ``forward``, such as a trainer's, is passed by.
        given: named arguments.
    """
    forward = type(base).forward
    known = inspect.signature(forward).parameters
    options = {"use_cache": False, "output_router_logits": False}
    return forward(base, **given, **{name: value for name, value in options.items() if name in known})


@contextmanager
def _seeded(trained: Sequence[nn.Parameter]) -> Iterator[None]:
    """Draw values where all of a trained tensor is zero, such as lora_B at first; put back values and gradients."""
    kept = [(p, p.detach().clone(), p.grad) for p in trained]
    draw = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for parameter in trained:
                parameter.grad = None
                if not parameter.any():
                    parameter.copy_(_DRAWN * torch.randn(parameter.shape, generator=draw))
        yield
    finally:
        with torch.no_grad():
            for parameter, value, gradient in kept:
                parameter.copy_(value)
                parameter.grad = gradient


def _samples(row: PackedRow) -> Iterator[tuple[list[int], list[int]]]:
    """Yield ids and labels of each sample of a row."""
    for end, length in zip(accumulate(row.lengths), row.lengths, strict=True):
        ids = [int(token) for token in row.input_ids[end - length : end]]
        marks = [0, *row.supervised[end - length + 1 : end]]  # nothing predicts a sample's first token
        yield ids, [token if marked else _IGNORED for token, marked in zip(ids, marks, strict=True)]


def _all_marked(row: PackedRow) -> PackedRow:
    return PackedRow(row.input_ids, [1] * len(row.input_ids), row.lengths, row.samples)


def _owners(rows: Sequence[PackedRow], device: torch.device) -> Tensor:
    """Return the number of the sample of each token with loss, where all but first tokens have some."""
    lengths = torch.tensor([length - 1 for row in rows for length in row.lengths])
    return torch.arange(len(lengths)).repeat_interleave(lengths).to(device)
