"""transformers' own generate, one prompt after the other: slow, and with nothing that could go wrong."""

from collections.abc import Sequence

from medtune import EvalSpec, hookimpl
from medtune.plugins.contracts import Completion, GenerationRequest, Generator, Loaded


class OneByOne:
    name = "one-by-one"

    def generate(self, loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> Sequence[Completion]:
        import torch
        from transformers import GenerationConfig

        was_training = loaded.model.training
        loaded.model.eval()
        answers = []
        for prompt in prompts:
            ids = torch.tensor([list(prompt.input_ids)], device=loaded.device)
            config = GenerationConfig(
                max_new_tokens=prompt.max_new_tokens, do_sample=False, eos_token_id=list(loaded.stop_ids),
                pad_token_id=loaded.tokenizer.pad_token_id,
            )  # fmt: skip
            with torch.no_grad():
                mask = torch.ones_like(ids)
                out = loaded.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
            new = out[0, ids.shape[1] :].tolist()
            ended = bool(new) and new[-1] in loaded.stop_ids
            kept = new[:-1] if ended else new
            text = loaded.tokenizer.decode(kept, skip_special_tokens=True)
            answers.append(Completion(kept, text, truncated=not ended))
        loaded.model.train(was_training)
        return answers


@hookimpl
def provide_generators() -> Sequence[Generator]:
    return [OneByOne()]
