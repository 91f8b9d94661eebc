"""What loss and gradient norm of a first step should be: plain eager peft, a row at a time."""

import torch
from contest import IGNORED, fill_adapters, make_batches
from starling_shape import DEVICE, make_model


class Reference:
    """Plain eager peft on the same weights and rows."""

    def __init__(self, order):
        self._model = make_model(order["base"], order["tiny"])
        fill_adapters(self._model)
        # the same numbers in memory that small GPUs have
        self._model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._model.enable_input_require_grads()

    def run(self, setting, shape):
        """Return loss and gradient norm of the first batch."""
        (ids, positions, labels), _lengths = make_batches(*shape)[0]
        count = int((labels[:, 1:] != IGNORED).sum())
        total = 0.0
        for row in range(len(ids)):
            total += self._row(ids[row], positions[row] if setting["isolated"] else None, labels[row], count)
        grads = [p.grad.float() for p in self._model.parameters() if p.requires_grad]
        norm = torch.stack([g.norm() for g in grads]).norm()
        self._model.zero_grad(set_to_none=True)
        return {"loss": total, "grad_norm": norm.item()}

    def _row(self, ids, positions, labels, count):
        place = torch.arange(len(ids))
        own = place if positions is None else place - positions  # where a token's sample begins
        seen = (place[:, None] >= place[None, :]) & (torch.tensor(positions is None) | (own[:, None] == own[None, :]))
        given = place if positions is None else positions
        with torch.autocast(DEVICE, torch.bfloat16):
            logits = self._model(
                input_ids=ids[None].to(DEVICE),
                position_ids=given[None].to(DEVICE),
                attention_mask=seen[None, None].to(DEVICE),
                use_cache=False,
            ).logits
        chosen = labels[1:] != IGNORED
        loss = torch.nn.functional.cross_entropy(
            logits[0, :-1][chosen].float(), labels[1:][chosen].to(DEVICE), reduction="sum"
        )
        (loss / count).backward()
        return loss.item() / count
