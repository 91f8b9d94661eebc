"""Plain SGD, one packed row per update: the shortest trainer that keeps its contract."""

import time

from medtune import hookimpl
from medtune.plugins.contracts import Job, Trainer, TrainResult


class Sgd:
    name = "sgd"

    def fit(self, job: Job) -> TrainResult:
        import torch

        model, began, reason = job.loaded.model.train(), time.perf_counter(), None
        optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), job.spec.train.learning_rate)
        loss_sum, supervised, tokens, step = 0.0, 0, 0, 0
        while step < job.total_steps and reason is None:
            row, losses, start = job.rows[step % len(job.rows)], [], 0
            for length in row.lengths:  # each sample alone, so that none sees another
                part = slice(start, start + length)
                ids = torch.tensor([[int(each) for each in row.input_ids[part]]], device=job.loaded.device)
                found = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
                losses.append(found[[bool(each) for each in row.supervised[part][1:]]])
                start += length
            loss = torch.cat(losses).mean()
            loss.backward()
            optimizer.step()
            model.zero_grad()
            count, value = sum(map(len, losses)), float(loss.detach())
            step, tokens, supervised, loss_sum = step + 1, tokens + start, supervised + count, loss_sum + count * value
            job.on_log({"step": step, "loss": value, "tokens": tokens})
            job.on_step(step)
            reason = job.stop_reason()
        return TrainResult(step, loss_sum / supervised, tokens, time.perf_counter() - began, 0.0, interrupted=reason)


@hookimpl
def provide_trainers() -> list[Trainer]:
    return [Sgd()]
