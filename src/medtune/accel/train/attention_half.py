"""The attention half of a decoder block, forward and backward by hand."""

from dataclasses import dataclass

from torch import Tensor

from medtune.accel.model.heads import HeadNorms, Heads, Norm, Window
from medtune.accel.train.attention import Attended, attend, attend_backward, attend_backward_turned
from medtune.accel.train.frozen import Frozen
from medtune.accel.train.step_context import Pending, StepContext

__all__ = ["AttentionHalf", "AttentionTrace"]


@dataclass(slots=True)
class AttentionTrace:
    """What the backward pass needs; ``before`` is the joint product where heads are normed after it."""

    x: Tensor
    scale: Tensor
    low_qkv: Tensor | None
    before: Tensor | None
    attended: Attended
    context: Tensor
    low_o: Tensor | None


@dataclass(frozen=True, slots=True)
class AttentionHalf:
    """Norm, queries, keys and values, attention and its output.

    Attributes:
        heads: how the joint product divides.
        window: scale and sliding window of the attention.
        norm: before the half.
        qkv: joint frozen weights.
        bias: [heads.total] or None.
        head_norms: of queries and keys, or None.
        o: frozen weights of the output.
        qkv_group: number of the adapters of ``qkv``, None for none.
        o_group: number of the adapter of ``o``, None for none.
    """

    heads: Heads
    window: Window
    norm: Norm
    qkv: Frozen
    bias: Tensor | None
    head_norms: HeadNorms | None
    o: Frozen
    qkv_group: int | None
    o_group: int | None

    def forward(
        self, x: Tensor, pending: Pending | None, step: StepContext, rows: Tensor | None
    ) -> tuple[Tensor, Pending, AttentionTrace]:
        """Run the half.

        Args:
            x: [tokens, width] residual stream.
            pending: what is still to be added to it.
            step: what all blocks share in this pass.
            rows: tokens whose result is wanted, None for all.

        Returns:
            Residual stream [rows, width], what is still to be added to it, and the trace.
        """
        x, normed, scale = step.normalise(x, pending, self.norm)
        qkv = self.qkv.product(normed)
        if self.bias is not None:
            qkv += self.bias
        adapter = step.down(normed, step.group(self.qkv_group))
        del normed
        rotated = step.steps.rotate(qkv, adapter, step.angles, self.heads, self.head_norms)
        attended = attend(*self.heads.split(rotated), step.batch, self.window)
        context, residual = attended.out.detach().flatten(1), x
        if rows is not None:
            context, residual = context.index_select(0, rows), x.index_select(0, rows)
        out = Pending(self.o.product(context), step.of_rows(rows).down(context, step.group(self.o_group)))
        low_qkv, low_o = (None if pair is None else pair[0] for pair in (adapter, out.adapter))
        before = None if self.head_norms is None else qkv
        return residual, out, AttentionTrace(x, scale, low_qkv, before, attended, context, low_o)

    def backward(
        self, gradient: Tensor, kept: AttentionTrace, step: StepContext, rows: Tensor | None, *, to_input: bool
    ) -> Tensor | None:
        """Add the adapters' gradients and return that of the half's input, residual included, if it is wanted."""
        adapter = step.group(self.o_group)
        back = step.back(gradient, adapter, kept.low_o)
        inner = self.o.product_back(gradient)
        through = step.of_rows(rows).through(back, adapter)
        if adapter is not None and through is not None:
            step.steps.weight_gradient(kept.context, through[0], through[2], None, adapter.down_gradient)
            step.steps.add_projected(inner, *through)
        if rows is not None:
            inner, gradient = _spread(inner, rows, kept.x), _spread(gradient, rows, kept.x)
        qkv = self._before_attention(inner, kept, step)
        del inner
        return self._to_input(qkv, gradient if to_input else None, kept, step)

    def _before_attention(self, gradient: Tensor, kept: AttentionTrace, step: StepContext) -> Tensor:
        """Return the gradient of the joint product of queries, keys and values from that of the attention."""
        shared = gradient.view_as(kept.attended.out), kept.attended, step.batch, self.window
        if self.head_norms is None or kept.before is None:
            turned = attend_backward_turned(*shared, step.angles)
            if turned is not None:
                return turned
            return step.steps.rotate_backward(attend_backward(*shared), step.angles, self.heads, None)
        norms = kept.before, self.head_norms
        return step.steps.rotate_backward(attend_backward(*shared), step.angles, self.heads, norms)

    def _to_input(self, qkv: Tensor, residual: Tensor | None, kept: AttentionTrace, step: StepContext) -> Tensor | None:
        """Go from the gradient of queries, keys and values to that of the input; no further without ``residual``."""
        adapter = step.group(self.qkv_group)
        normed = (kept.scale, self.norm.weight)
        through = step.through(step.back(qkv, adapter, kept.low_qkv), adapter)
        if adapter is not None and through is not None:
            step.steps.weight_gradient(kept.x, through[0], through[2], normed, adapter.down_gradient)
        if residual is None:
            return None
        return step.steps.norm_backward(self.qkv.product_back(qkv), through, kept.x, normed, residual)


def _spread(part: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    """Return the rows at their places among zeros."""
    return part.new_zeros(like.shape[0], part.shape[1]).index_copy_(0, rows, part)
