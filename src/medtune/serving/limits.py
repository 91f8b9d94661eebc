"""What a server takes at most, and how long it waits."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server.

    Attributes:
        slots: answers that are decoded together.
        tokens: of a request, prompt and answer; fewer where the base has fewer positions.
        queue: requests that may wait; one more is answered 429.
        body_bytes: of a request's body; a larger one is answered 413.
        connections: that may be open; a request on one more is answered 503.
        header_seconds: in which the head of a request must have come, else 408.
        body_seconds: in which its body must have come, else 408.
        write_seconds: in which a client must take what is sent to it, else it is left.
        idle_seconds: that a connection may stay open between requests.
        drain_seconds: in which answers that have begun may end once the server is told to stop.
        turn_seconds: after which a model makes way for another one that is asked for.
    """

    slots: int = 64
    tokens: int = 4096
    queue: int = 256
    body_bytes: int = 1 << 20
    connections: int = 1024
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 60.0
    idle_seconds: float = 5.0
    drain_seconds: float = 30.0
    turn_seconds: float = 1.0
