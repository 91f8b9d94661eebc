"""What a stand-in hub does with what is sent to it: repositories made, files announced, sent to large storage, and committed."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medtune.testing.hub_contents import Files, StandInHub, is_large

__all__ = ["Reply", "received"]

_PLACE = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/(?P<verb>preupload|commit)/main")
_BATCH = re.compile(r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
_EMPTY = "0" * 39 + "e"


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered to something sent: values as JSON."""

    status: int
    values: Any
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def received(hub: StandInHub, path: str, body: bytes, authorization: str) -> Reply | None:
    """Do what a POST asks; None where the path takes nothing."""
    place, batch = _PLACE.fullmatch(path), _BATCH.fullmatch(path)
    if path == "/api/validate-yaml":
        return _validated(json.loads(body)["content"])
    if path != "/api/repos/create" and place is None and batch is None:
        return None
    if not authorization:
        return Reply(401, {}, {"X-Error-Message": "Invalid credentials in Authorization header"})
    if authorization.removeprefix("Bearer ") not in hub.writers:
        return Reply(403, {"error": "forbidden"}, {"X-Error-Message": "Forbidden: no right to write"})
    if batch:
        return Reply(
            200, {"transfer": "basic", "objects": [_object(hub, each) for each in json.loads(body)["objects"]]}
        )
    if place is None:
        return _made(hub, json.loads(body))
    if place["name"] not in hub.models:
        return Reply(404, {}, {"X-Error-Code": "RepoNotFound"})
    if place["verb"] == "preupload":
        files = [
            {"path": each["path"], "uploadMode": "lfs" if is_large(each["path"]) else "regular", "shouldIgnore": False}
            for each in json.loads(body)["files"]
        ]
        return Reply(200, {"files": files})
    return _committed(hub, place["name"], [json.loads(line) for line in body.splitlines()])


def _made(hub: StandInHub, asked: Mapping[str, Any]) -> Reply:
    name = f"{asked['organization']}/{asked['name']}"
    reply = {"url": f"{hub.endpoint}/{name}"}
    if name in hub.models:
        return Reply(409, reply, {"X-Error-Message": "You already created this model repo"})
    hub.models[name] = {_EMPTY: {".gitattributes": b"*.safetensors filter=lfs"}}
    if asked.get("visibility") == "private" or asked.get("private"):
        hub.private.add(name)
    return Reply(200, reply)


def _object(hub: StandInHub, asked: Mapping[str, Any]) -> dict[str, Any]:
    found = {"oid": asked["oid"], "size": asked["size"]}
    if asked["oid"] in hub.stored:
        return found
    return {**found, "actions": {"upload": {"href": f"{hub.cdn}/upload/{asked['oid']}?signature=s", "header": {}}}}


def _committed(hub: StandInHub, name: str, lines: list[dict[str, Any]]) -> Reply:
    commits = hub.models[name]
    last = list(commits)[-1]
    header = next(line["value"] for line in lines if line["key"] == "header")
    if header.get("parentCommit", last) != last:
        return Reply(412, {"error": "the branch has moved"})
    files: dict[str, bytes] = dict(commits[last])
    for line in lines:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            if value["oid"] not in hub.stored:
                return Reply(400, {"error": "large storage has no such object"})
            files[value["path"]] = hub.stored[value["oid"]]
    commit = _name_of(files)
    commits[commit] = files
    url = f"{hub.endpoint}/{name}/commit/{commit}"
    return Reply(200, {"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})


def _name_of(files: Files) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    for path, content in sorted(files.items()):
        digest.update(path.encode() + b"\0" + content)
    return digest.hexdigest()


def _validated(card: str) -> Reply:
    import yaml

    head = card.split("---\n")[1] if card.startswith("---\n") else ""
    try:
        values = yaml.safe_load(head)
    except yaml.YAMLError as error:
        return Reply(400, {"errors": [{"message": type(error).__name__}]})
    wrong = [name for name in ("model-index",) if name in values and not isinstance(values[name], list)]
    return Reply(400 if wrong else 200, {"errors": [{"message": name} for name in wrong], "warnings": []})
