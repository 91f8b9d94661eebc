"""From what a request asks for to its reply: encode, wait for the engine, read the answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from medtune.errors import MedtuneError
from medtune.serving.asking import Asked
from medtune.serving.engine import Engine, Work
from medtune.serving.growing import Ended, Growing
from medtune.serving.metrics import Metrics
from medtune.serving.pending import Pending
from medtune.serving.refusals import Refusal, error_body
from medtune.serving.replies import END_OF_STREAM, Reply, Scored, event, usage_of
from medtune.workflow.run import DEFAULT_NEW_TOKENS
from medtune.workflow.served import ServedModel, generation_request

__all__ = ["Conversations"]


@dataclass(slots=True)
class _Wait:
    """One prompt on its way, and what has come of its answer."""

    work: Work
    pending: Pending
    growing: Growing
    ids: Sequence[int] = ()
    _ended: Ended | None = None

    @property
    def ended(self) -> Ended:
        """The whole answer, or until a stop text came; read once it is there."""
        if self._ended is None:
            self._ended = self.growing.end(self.ids)
        return self._ended

    async def whole(self) -> None:
        """Wait for the answer: all of it, or until a stop text has come."""
        async for _text in self.pieces():
            pass

    async def pieces(self) -> AsyncIterator[str]:
        """Yield the text of the answer as it becomes certain."""
        is_whole = False
        while not is_whole and not self.growing.is_stopped:
            self.ids, is_whole = await self.pending.next()
            if not is_whole and (text := self.growing.more(self.ids)):
                yield text
        if rest := self.growing.rest(self.ended.text):
            yield rest


class Conversations:
    """Answers requests through an engine.

    Args:
        engine: asks the models.
        metrics: counts tokens and seconds.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine, self._metrics = engine, metrics
        self._encoding = ThreadPoolExecutor(1, "medtune-encoding")  # off the loop, for long prompts; in order

    async def whole(self, asked: Asked) -> dict[str, Any]:
        """Return the body of a whole answer."""
        model, reply = self._model(asked.model), Reply(asked.model, bool(asked.messages))
        waits = await self._waits(asked, model, is_chat=reply.is_chat)
        if asked.max_tokens != 0:
            self._engine.submit([wait.work for wait in waits])
            try:
                for wait in waits:
                    await wait.whole()
            finally:
                self._leave(waits)
        choices = [await self._choice(asked, reply, (index, wait)) for index, wait in enumerate(waits)]
        return reply.whole(choices, self._count(waits))

    async def stream(self, asked: Asked) -> AsyncIterator[bytes]:
        """Return the events of a stream; whatever can be refused is so before this returns."""
        model, reply = self._model(asked.model), Reply(asked.model, bool(asked.messages))
        if asked.top is not None:
            raise Refusal(400, "'logprobs' cannot be used with stream; ask without it", param="logprobs")
        waits = await self._waits(asked, model, is_chat=reply.is_chat)
        if len(waits) > 1:
            raise Refusal(400, "'prompt' must be one prompt with stream", param="prompt")
        self._engine.submit([waits[0].work])
        return self._events(asked, reply, waits[0])

    def close(self) -> None:
        """Let go of the encoding thread."""
        self._encoding.shutdown(wait=False, cancel_futures=True)

    async def _events(self, asked: Asked, reply: Reply, wait: _Wait) -> AsyncIterator[bytes]:
        try:
            if reply.is_chat:
                yield event(reply.part(0, None))
            async for text in wait.pieces():
                yield event(reply.part(0, text))
            yield event(reply.part(0, "", wait.ended.finish))
            counts = self._count([wait])
            if asked.with_usage:
                yield event(reply.counts(counts))
        except Refusal as refusal:
            yield event(error_body(refusal.status, refusal.message, refusal.param, refusal.code))
        finally:
            self._leave([wait])
        yield END_OF_STREAM

    async def _choice(self, asked: Asked, reply: Reply, found: tuple[int, _Wait]) -> dict[str, Any]:
        index, wait = found
        answering, text = wait.work.model.answering, wait.ended.text
        prompt, answer = list(wait.work.request.input_ids), list(wait.ended.ids)
        logprobs = None
        if asked.with_prompt:
            given = asked.prompts[index]
            text = (given if isinstance(given, str) else "".join(answering.token_texts(given))) + text
        if asked.top is not None:
            start = 1 if asked.with_prompt else len(prompt)
            scored = await self._scores(
                wait.work.model, (prompt + answer)[:start], (prompt + answer)[start:], asked.top
            )
            if asked.with_prompt:
                scored = Scored([*prompt[:1], *scored.ids], [None, *scored.scores])
            logprobs = reply.logprobs(answering, scored)
        return reply.choice(index, text, wait.ended.finish, logprobs)

    async def _scores(self, model: ServedModel, before: list[int], after: list[int], top: int) -> Scored:
        def work() -> Any:
            with self._engine.runs.active(model):
                return model.answering.token_scores(before, after, top)

        try:
            return Scored(after, await asyncio.wrap_future(self._engine.call(work)))
        except MedtuneError as error:
            raise Refusal(400, str(error), param="logprobs") from None

    def _model(self, name: str) -> ServedModel:
        models = dict(self._engine.runs.models)
        if name not in models:
            known = ", ".join(f"'{each}'" for each in models)
            raise Refusal(404, f"no such model is served; served: {known}", param="model", code="model_not_found")
        return models[name]

    async def _waits(self, asked: Asked, model: ServedModel, *, is_chat: bool) -> list[_Wait]:
        loop = asyncio.get_running_loop()
        prompts = await loop.run_in_executor(self._encoding, _encoded, asked, model)
        found: list[_Wait] = []
        for ids in prompts:
            pending = Pending(is_watching=asked.is_stream or bool(asked.stop))
            work = Work(model, generation_request(ids, self._limit(len(ids), asked)), pending)
            found.append(_Wait(work, pending, Growing(model.answering, asked.stop, is_chat=is_chat)))
        return found

    def _limit(self, prompt: int, asked: Asked) -> int:
        """Return the most new tokens of an answer."""
        room = self._engine.longest - prompt
        wanted = asked.max_tokens
        if room < (1 if wanted is None else wanted):
            said = "" if wanted is None else f" and {wanted} to answer"
            raise Refusal(
                400,
                f"the prompt has {prompt} tokens{said}, and {self._engine.longest} is the most of both together",
                param="messages" if asked.messages else "prompt",
                code="context_length_exceeded",
            )
        return min(DEFAULT_NEW_TOKENS, room) if wanted is None else wanted

    def _leave(self, waits: Sequence[_Wait]) -> None:
        for wait in waits:
            self._engine.leave(wait.work)

    def _count(self, waits: Sequence[_Wait]) -> dict[str, int]:
        model = waits[0].work.model
        prompt = sum(len(wait.work.request.input_ids) for wait in waits)
        answer = sum(len(wait.ended.ids) for wait in waits)
        self._metrics.used(model.name, prompt, answer, time.monotonic() - waits[0].work.since)
        return usage_of(prompt, answer)


def _encoded(asked: Asked, model: ServedModel) -> list[list[int]]:
    """Return the ids of prompts as scoring encodes them."""
    answering = model.answering
    if asked.messages:
        try:
            return [answering.prompt_ids([{"role": m["role"], "content": m["content"]} for m in asked.messages])]
        except MedtuneError as error:  # which repeats no text of the turns
            raise Refusal(400, f"'messages' cannot be used: {error}", param="messages", code="invalid_value") from None
    found = [answering.text_ids(p) if isinstance(p, str) else list(p) for p in asked.prompts]
    if any(token >= answering.vocabulary for ids in found for token in ids):
        raise Refusal(400, "the prompt has an id that is no token of this model", param="prompt", code="invalid_value")
    if not all(found):
        raise Refusal(400, "a prompt has no tokens", param="prompt", code="invalid_value")
    return found
