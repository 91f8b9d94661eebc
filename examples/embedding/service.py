"""Answers over HTTP with a run: `MEDTUNE_RUN=runs/demo uvicorn service:app`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from medtune import MedtuneError, Run


@asynccontextmanager
async def opened(app: Starlette) -> AsyncIterator[None]:
    """Open the run once; threads that ask it take turns."""
    app.state.run = Run.open(os.environ["MEDTUNE_RUN"])
    yield


async def answer(request: Request) -> JSONResponse:
    """Answer one question; the model runs in a thread, so that the loop goes on."""
    question, run = await request.json(), request.app.state.run
    messages = [{"role": "user", "content": question["text"]}]
    try:
        text = await run_in_threadpool(lambda: run.generate(messages, question.get("max_new_tokens", 64)))
    except MedtuneError as error:  # one sentence, which never repeats the question
        return JSONResponse({"error": str(error)}, status_code=500)
    return JSONResponse({"answer": text})


app = Starlette(routes=[Route("/answer", answer, methods=["POST"])], lifespan=opened)
