"""TensorBoard: event files in ``tensorboard/`` of the run folder."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.backends.trackers.tracking import Tracking
from medtune.machine.owner_only import make_folder, open_bytes

__all__ = ["tracker"]


class _Events:
    """One file of events, named by a number: the library's own name would hold that of the host."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2  # pyright: ignore[reportMissingImports]
        from tensorboard.plugins.text import metadata  # pyright: ignore[reportMissingImports]
        from tensorboard.summary.writer.record_writer import RecordWriter  # pyright: ignore[reportMissingImports]

        make_folder(folder)
        self._event: Any = event_pb2  # protobuf makes the names of both as they are loaded
        self._summary: Any = summary_pb2
        number = len([*folder.glob("events.out.tfevents.*")])
        self._writer = RecordWriter(open_bytes(folder / f"events.out.tfevents.{number:010d}.medtune"))
        self._has_begun = False
        self._write(0, file_version="brain.Event:2")
        text = "\n".join(f"    {key} = {value}" for key, value in settings.items())
        told = self._summary.Summary()
        value = told.value.add(tag="settings", metadata=metadata.create_summary_metadata("settings", "run"))
        value.tensor.dtype, value.tensor.string_val[:] = 7, [text.encode()]
        self._write(0, summary=told)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Write scalars; what an interrupted run had logged from this step on is replaced."""
        if not self._has_begun:
            start = self._event.SessionLog(status=self._event.SessionLog.START)
            self._write(step, session_log=start)
            self._has_begun = True
        values = [self._summary.Summary.Value(tag=key, simple_value=value) for key, value in figures.items()]
        self._write(step, summary=self._summary.Summary(value=values))

    def end(self, _state: str) -> None:
        """Close the file."""
        self._writer.close()

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write(self._event.Event(wall_time=time.time(), step=step, **content).SerializeToString())
        self._writer.flush()


tracker = Tracking("tensorboard", "tensorboard", lambda run, _id, settings: _Events(run / "tensorboard", settings))
run_started, step_logged = tracker.run_started, tracker.step_logged
run_finished, run_failed = tracker.run_finished, tracker.run_failed
