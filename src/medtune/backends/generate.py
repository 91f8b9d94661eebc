"""Generates answers greedily with a transformers model: by slots where the model's family is known, else as it does."""

import logging
from collections.abc import Sequence
from functools import partial

from medtune.errors import UnprovenAnswersError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import AnswerRequest, Completion, GenerationRequest, Generator, Loaded
from medtune.plugins.hookspecs import hookimpl
from medtune.specs import EvalSpec

__all__ = ["TransformersGenerator", "completion", "provide_generators"]

_LOG = logging.getLogger(__name__)


class TransformersGenerator:
    """Greedy decoding that keeps no logits.

    Mistral, Llama, Qwen2 and Qwen3 models, with or without a LoRA adapter, plain or 4-bit, decode many sequences
    together, each leaving as it ends; on CUDA a step is one captured graph. Any other model goes through transformers'
    own ``generate``, and the log says why. Both give the same answers up to rounding; before a model answers by either of them
    for the first time, that is tried on two short prompts against a plain loop without any cache.
    """

    name = "transformers"

    @quiet_libraries()
    def generate(self, loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> Sequence[Completion]:
        """Answer each prompt.

        Args:
            loaded: model and tokenizer.
            prompts: token ids and the most new tokens of each.
            spec: ``batch_size`` is the number of prompts decoded together, ``memory_gib`` bounds what that takes.

        Returns:
            One completion per prompt in the order of ``prompts``; ``truncated`` when no stop id came in time.

        Raises:
            ValueError: a prompt has no tokens.
            UnprovenAnswersError: neither way answers as the model does token by token.
        """
        if not all(prompt.input_ids for prompt in prompts):
            raise ValueError("a prompt has no tokens")
        return [completion(loaded, ids) for ids in _answers(loaded, prompts, spec)] if prompts else []

    @quiet_libraries()
    def log_probabilities(
        self, loaded: Loaded, requests: Sequence[AnswerRequest], spec: EvalSpec
    ) -> Sequence[Sequence[Sequence[float]]]:
        """Return for each request and each of its answers the log-probability of each token, in nats."""
        from medtune.backends.answer_scores import answer_log_probabilities

        return answer_log_probabilities(loaded, requests, spec)


@hookimpl
def provide_generators() -> Sequence[Generator]:
    """Provide ``transformers``."""
    return [TransformersGenerator()]


def _answers(loaded: Loaded, prompts: Sequence[GenerationRequest], spec: EvalSpec) -> list[list[int]]:
    from medtune.accel.model.unsupported import UnsupportedError
    from medtune.backends.decode_proof import disagreement
    from medtune.backends.fast_generate import fast_generate
    from medtune.backends.transformers_generate import generate_by_transformers

    try:
        wrong = disagreement(loaded, prompts, "medtune's decoder", partial(fast_generate, spec=spec))
        if not wrong:
            return fast_generate(loaded, prompts, spec)
    except UnsupportedError as error:
        wrong = str(error)
    _LOG.warning("answering through transformers' own generate, which is slower: %s", wrong)
    # some models pass by the mask of a padded batch, and answer rightly one prompt at a time
    for way, chosen in (("generate", spec), ("generate one by one", spec.model_copy_with(batch_size=1))):
        wrong = disagreement(loaded, prompts, way, partial(generate_by_transformers, spec=chosen))
        if not wrong:
            return generate_by_transformers(loaded, prompts, chosen)
        _LOG.warning("%s does not answer as the model does: %s", way, wrong)
    raise UnprovenAnswersError("transformers' own generate", wrong)


def completion(loaded: Loaded, ids: Sequence[int]) -> Completion:
    """Return ids as an answer: cut at the first stop id, and decoded."""
    from medtune.data.answers import completion_of

    return completion_of(loaded.tokenizer, loaded.stop_ids, ids)
