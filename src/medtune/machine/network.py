"""Locks this process: whoever asks for the network is refused and named. It cannot be unlocked again."""

import functools
import inspect
import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path
from types import FrameType
from typing import Any

from medtune.errors import NetworkRefusedError, RemoteNameError
from medtune.errors.locked_mode import LOCKED_VARIABLE, remember_lock

__all__ = ["Attempt", "allow_client", "allow_server", "attempts", "is_guarded", "lock"]

_LOG = logging.getLogger(__name__)

_OFFLINE = {
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_XET": "1",  # whose transfers are no Python
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
_READ_ONCE = {
    "huggingface_hub.constants": ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET"),
    "datasets.config": ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"),
}
"""Modules that read such a variable as they are loaded -> their names for it."""
_MOST = 100
_SCRIPT = "__main__"


@dataclass(slots=True)
class Attempt:
    """What was refused, and how often; see ``NetworkRefusedError``."""

    what: str
    module: str
    distribution: str
    count: int = 1


@dataclass(slots=True)
class _Granted:
    """Addresses of this machine, and of the rendezvous, that a locked process may use."""

    serves: bool = False
    peers: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    @property
    def any(self) -> bool:
        return self.serves or bool(self.peers)


_granted = _Granted()
_attempts: dict[tuple[str, str], Attempt] = {}
_guarded: list[bool] = []


def lock() -> None:
    """Refuse the network to this process from now on, and to the children that it starts and that import medtune.

    Sockets of the machine's own (AF_UNIX) stay allowed; so does the rendezvous of a launcher (MASTER_ADDR, MASTER_PORT), and what
    ``allow_server`` and ``allow_client`` add. Calling it again changes nothing.
    """
    remember_lock()
    os.environ[LOCKED_VARIABLE] = "1"
    os.environ.update(_OFFLINE)
    if os.environ.get("WANDB_MODE", "offline") not in ("disabled", "dryrun", "offline"):
        os.environ["WANDB_MODE"] = "offline"  # medtune sets the same where the user sets nothing
    for module, names in _READ_ONCE.items():
        if module in sys.modules:
            vars(sys.modules[module]).update(dict.fromkeys(names, True))
    if _guarded:
        return
    _granted.peers |= _rendezvous(os.environ)
    socket.has_ipv6 = False  # libraries try it as they are loaded, by a socket
    _guarded.append(True)
    sys.addaudithook(_guard())


def is_guarded() -> bool:
    """Whether ``lock`` was called in this process or the one it was forked from."""
    return bool(_guarded)


def attempts() -> list[Attempt]:
    """Return what was refused so far, whether or not it was noticed by who asked."""
    return list(_attempts.values())


def allow_server(host: str) -> None:
    """Let a locked process listen on an address of this machine alone, and answer there.

    Raises:
        RemoteNameError: other machines reach the address.
    """
    if _guarded and not _is_loopback(host):
        raise RemoteNameError(f"'{host}' is reached by other machines", "listen on 127.0.0.1")
    _granted.serves = True


def allow_client(host: str, port: int = 0) -> None:
    """Let a locked process connect to a server on this machine, or to any there with port 0.

    Raises:
        RemoteNameError: it is another machine.
    """
    if _guarded and not _is_loopback(host):
        raise RemoteNameError("the address is another machine's", "ask a server on 127.0.0.1")
    _granted.peers |= {(name, port) for name in (host, "127.0.0.1", "::1")}  # where "localhost" leads


def _guard() -> Callable[[str, tuple[Any, ...]], None]:
    """Return the hook; it keeps what it needs, so that no name of a module can be changed under it."""
    refuse, refusals = _refuse, dict(_REFUSALS)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith("socket.") and event in refusals and (what := refusals[event](args)):
            refuse(what)

    return hook


def _new(args: tuple[Any, ...]) -> str:
    """Return what a new socket is refused as, empty where it is none of a network."""
    return "" if args[1] == socket.AF_UNIX or _granted.any else "open a network socket"


def _look_up(args: tuple[Any, ...]) -> str:
    host = args[0][0] if isinstance(args[0], tuple) else args[0]
    return "" if _is_loopback(host) or any(host == peer for peer, _port in _granted.peers) else "look up a name"


def _send(args: tuple[Any, ...]) -> str:
    # A message without an address goes where the socket was connected to, which was allowed; asyncio sends so from Python 3.12 on.
    is_here = args[0].family == socket.AF_UNIX or args[1] is None or _is_peer(args[1])
    return "" if is_here else "connect to an address"


def _bind(args: tuple[Any, ...]) -> str:
    is_here = args[0].family == socket.AF_UNIX or _is_peer(args[1]) or (_granted.serves and _is_loopback(args[1][0]))
    return "" if is_here else "listen on an address"


_REFUSALS: Mapping[str, Callable[[tuple[Any, ...]], str]] = {
    "socket.__new__": _new,
    "socket.bind": _bind,
    **dict.fromkeys(("socket.connect", "socket.sendmsg", "socket.sendto"), _send),
    **dict.fromkeys(
        ("socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname", "socket.getnameinfo"), _look_up
    ),
}
"""Event of Python's audit -> what it is refused as, empty where it is allowed."""


def _is_peer(address: Any) -> bool:
    if not isinstance(address, tuple):
        return False
    host, port = address[:2]
    return not _granted.peers.isdisjoint({(host, port), (host, 0)})


def _is_loopback(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str):
        return False
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _rendezvous(environment: Mapping[str, str]) -> set[tuple[str, int]]:
    """Return the address at which a launcher's processes meet, by name and by number; looked up before anything is refused."""
    host, port = environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", "")
    if not host or not port.isdecimal():
        return set()
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)}
    except OSError:  # who needs it will say so
        found = set()
    return {(name, int(port)) for name in {host, *found}}


def _refuse(what: str) -> None:
    module, place, through = _culprit(inspect.currentframe())
    distribution = _distribution(module)
    known = _attempts.get((what, module))
    if known is not None:
        known.count += 1
    elif len(_attempts) < _MOST:
        _attempts[what, module] = Attempt(what, module, distribution)
        _LOG.warning("locked: module '%s' (%s) wanted to %s and was refused", module, distribution or place, what)
    raise NetworkRefusedError(what, module, distribution, place, through)


def _culprit(frame: FrameType | None) -> tuple[str, str, list[str]]:
    """Return module and place of who asked, and the packages it asked through.

    That is the last module on the way to medtune, or to the start of the thread. A look-up that an event loop hands to another
    thread shows nobody: who waits in the main thread has asked then.
    """
    for start in (frame, *_other_threads()):
        chain = [each for each in _frames(start) if each[0].partition(".")[0] not in sys.stdlib_module_names]
        inner: list[tuple[str, str]] = []
        for each in chain:
            if inner and _is_own(each[0]):
                break
            inner.append(each)
            if _is_own(each[0]):
                break
        # A script that runs everything is who asks only where nobody else does.
        inner = [each for each in inner if each[0] != _SCRIPT] or inner
        if inner:
            module, place = inner[-1]
            packages = dict.fromkeys(name.partition(".")[0] for name, _place in inner)
            return module, place, [name for name in packages if name != module.partition(".")[0]]
    return "unknown", "a thread of its own", []


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == "medtune"


def _frames(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """Yield module, and file and line, from the innermost frame on."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        name = str(frame.f_globals.get("__name__", "")) or file.stem
        if frame.f_globals is not globals():
            yield name, f"{file.name}:{frame.f_lineno}"
        frame = frame.f_back


def _other_threads() -> Iterator[FrameType]:
    here, frames = threading.get_ident(), sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - documented
    yield from (frame for thread, frame in frames.items() if thread != here)


@functools.cache
def _distribution(module: str) -> str:
    try:
        return next(iter(packages_distributions().get(module.partition(".")[0], ())), "")
    except Exception:  # noqa: BLE001 - damaged metadata of some package must not let anything pass
        return ""
