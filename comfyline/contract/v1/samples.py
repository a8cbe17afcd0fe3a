"""How each operation is called with curl, with the Python client and with the TypeScript client.

The OpenAPI document shows the samples beside the operations (`x-codeSamples`). Tests check the
types of those in Python and TypeScript, and run those for curl against a deployment.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from comfyline.contract.v1.examples import KEY_ID
from comfyline.contract.v1.operation import Operation

Json = dict[str, Any]

_PYTHON_HEAD = "from comfyline.client import Comfyline\n\nwith Comfyline() as client:\n"
_TYPESCRIPT_HEAD = (
    'import { Comfyline } from "@comfyline/client";\n\nconst client = new Comfyline();\n'
)
_KEY_ID = f'"{KEY_ID}"'
_FILLED = {"{job_id}": "$JOB_ID", "{key_id}": "$KEY_ID", "{number}": "0", "{file}": "page.css"}
_ID = '"job_01khhk2xg0z6v8q4m3n7r5t9wb"'

# Lines that use `client`, by the operation's id. Neither client calls the operations of /metrics,
# /healthz and the documents, which are for operators and tools.
_PYTHON = {
    "submitJob": 'job = client.submit("a red fox in the snow", steps=20, seed=42)\nprint(job.id)',
    "generate": 'job = client.run("a red fox in the snow", steps=20, seed=42)\n'
    'print(job.download("pictures"))',
    "listJobs": 'for page in client.list(status="succeeded"):\n'
    "    for job in page.jobs:\n        print(job.job_id, job.metadata)",
    "getJob": f"job = client.get({_ID})\nprint(job.status, job.progress)",
    "cancelJob": f"print(client.cancel({_ID}).message)",
    "retryJob": f"job = client.retry({_ID})\nprint(job.id)",
    "getGraph": f"print(client.graph({_ID}).workflow)",
    "listEvents": f"for message in client.job({_ID}).events():\n    print(message)",
    "listArtifacts": f"for page in client.artifacts({_ID}):\n"
    "    for file in page.artifacts:\n        print(file.name, file.url)",
    "getArtifact": f"print(client.artifact_url({_ID}, 0).url)",
    "headArtifact": f"print(client.artifact_url({_ID}, 0).url)",
    "createUpload": 'graph = json.loads(Path("graph.json").read_text())\n'
    'job = client.submit(workflow=graph, files={"10.image": Path("photo.png")})\nprint(job.id)',
    "createToken": 'token = client.create_token("alice@example.com", max_jobs=5)\n'
    "print(token.token, token.expires_at)",
    "createSocketPass": f"for message in client.job({_ID}).events():\n    print(message)",
    "listModels": "print(client.models().checkpoints)",
    "listDeadLetters": "for letter in client.admin.dead_letters().dead_letters:\n"
    "    print(letter.job_id, letter.status)",
    "redriveDeadLetters": "print(client.admin.redrive().sent_again)",
    "readSwitches": "print(client.admin.switches().jobs_enabled)",
    "setSwitches": "print(client.admin.set_switches(jobs_enabled=False).jobs_enabled)",
    "listAlarms": "for alarm in client.admin.alarms().alarms:\n    print(alarm.name, alarm.state)",
    "getCaller": "me = client.me()\nprint(me.owner, me.active_jobs)",
    "getUsage": "print(client.usage().gpu_seconds)",
    "listKeys": "for key in client.keys().keys:\n    print(key.id, key.name, key.state)",
    "createKey": 'made = client.create_key("web shop", limits={"max_active_jobs": 5})\n'
    "print(made.key)",
    "disableKey": f"print(client.disable_key({_KEY_ID}).state)",
    "rotateKey": f"print(client.rotate_key({_KEY_ID}, overlap_seconds=3600).key)",
    "listOwners": "for page in client.admin.owners():\n"
    "    for owner in page.owners:\n        print(owner.owner, owner.active_jobs)",
    "listAllKeys": "for page in client.admin.keys():\n"
    "    for key in page.keys:\n        print(key.owner, key.id, key.state)",
    "disableAnyKey": f"print(client.admin.disable_key({_KEY_ID}).state)",
    "limitKey": f'key = client.admin.limit_key({_KEY_ID}, {{"max_active_jobs": 20}})\n'
    "print(key.limits)",
    "endSessions": 'print(client.admin.end_sessions("team-a"))',
    "listErrors": "for group in client.admin.errors(days=1).groups:\n"
    "    print(group.jobs, group.type, group.node_type)",
    "listWorkers": "for worker in client.admin.workers().workers:\n"
    "    print(worker.worker_id, worker.state, worker.jobs)",
    "readQueues": "for pool in client.admin.queues().pools:\n    print(pool.pool, pool.lanes)",
    "listLiveJobs": 'for page in client.admin.jobs(status="running"):\n'
    "    for job in page.jobs:\n        print(job.job_id, job.owner, job.worker_id)",
}
_TYPESCRIPT = {
    "submitJob": 'const job = await client.submit({ prompt: "a red fox in the snow", seed: 42 });\n'
    "console.log(job.id);",
    "generate": 'const job = await client.run({ prompt: "a red fox in the snow", seed: 42 });\n'
    "console.log(job.view?.result?.artifacts);",
    "listJobs": 'for await (const page of client.list({ status: "succeeded" })) '
    "console.log(page.jobs);",
    "getJob": f"const job = await client.get({_ID});\nconsole.log(job.status, job.progress);",
    "cancelJob": f"console.log((await client.cancel({_ID})).message);",
    "retryJob": f"const job = await client.retry({_ID});\nconsole.log(job.id);",
    "getGraph": f"console.log((await client.graph({_ID})).workflow);",
    "listEvents": f"for await (const message of client.job({_ID}).events()) console.log(message);",
    "listArtifacts": f"for await (const page of client.artifacts({_ID})) "
    "console.log(page.artifacts);",
    "getArtifact": f"console.log((await client.artifactUrl({_ID}, 0)).url);",
    "headArtifact": f"console.log((await client.artifactUrl({_ID}, 0)).url);",
    "createUpload": 'const photo = new Blob(["..."], { type: "image/png" });\n'
    "console.log(await client.upload(photo)); // upload:upl_...",
    "createToken": 'const token = await client.createToken({ user: "alice@example.com" });\n'
    "console.log(token.token, token.expires_at);",
    "createSocketPass": f"for await (const message of client.job({_ID}).events()) "
    "console.log(message);",
    "listModels": "console.log((await client.models()).checkpoints);",
    "listDeadLetters": "console.log((await client.admin.deadLetters()).dead_letters);",
    "redriveDeadLetters": "console.log((await client.admin.redrive()).sent_again);",
    "readSwitches": "console.log((await client.admin.switches()).jobs_enabled);",
    "setSwitches": "console.log(await client.admin.setSwitches({ jobs_enabled: false }));",
    "listAlarms": "console.log((await client.admin.alarms()).alarms);",
    "getCaller": "console.log((await client.me()).owner);",
    "getUsage": "console.log((await client.usage()).gpu_seconds);",
    "listKeys": "console.log((await client.keys()).keys);",
    "createKey": 'const made = await client.createKey({ name: "web shop", '
    "limits: { max_active_jobs: 5 } });\nconsole.log(made.key);",
    "disableKey": f"console.log((await client.disableKey({_KEY_ID})).state);",
    "rotateKey": f"console.log((await client.rotateKey({_KEY_ID}, 3600)).key);",
    "listOwners": "for await (const page of client.admin.owners()) console.log(page.owners);",
    "listAllKeys": "for await (const page of client.admin.keys()) console.log(page.keys);",
    "disableAnyKey": f"console.log((await client.admin.disableKey({_KEY_ID})).state);",
    "limitKey": f"const key = await client.admin.limitKey({_KEY_ID}, {{ max_active_jobs: 20 }});\n"
    "console.log(key.limits);",
    "endSessions": 'console.log(await client.admin.endSessions("team-a"));',
    "listErrors": "console.log((await client.admin.errors({ days: 1 })).groups);",
    "listWorkers": "console.log((await client.admin.workers()).workers);",
    "readQueues": "console.log((await client.admin.queues()).pools);",
    "listLiveJobs": 'for await (const page of client.admin.jobs({ status: "running" })) '
    "console.log(page.jobs);",
}


def samples(method: str, path: str, operation: Operation) -> list[Json]:
    """The samples of an operation; curl's come first."""
    made = [{"lang": "Shell", "label": "curl", "source": _curl(method, path, operation)}]
    if operation.id in _PYTHON:
        made.append({"lang": "Python", "label": "Python", "source": _python(operation.id)})
        source = _TYPESCRIPT_HEAD + _TYPESCRIPT[operation.id]
        made.append({"lang": "TypeScript", "label": "TypeScript", "source": source})
    return made


def _python(operation_id: str) -> str:
    lines = _PYTHON[operation_id]
    imports = "import json\nfrom pathlib import Path\n\n" if "Path(" in lines else ""
    return imports + _PYTHON_HEAD + "\n".join(f"    {line}" for line in lines.splitlines())


def _curl(method: str, path: str, operation: Operation) -> str:
    filled = path
    for name, value in _FILLED.items():
        filled = filled.replace(name, value)
    return " \\\n  ".join([f'curl -s "$COMFYLINE_URL{filled}"', *_options(method, operation)])


def _options(method: str, operation: Operation) -> Iterator[str]:
    if method == "HEAD":
        yield "-I"
    elif method not in ("GET", "POST") or (method == "POST" and not operation.body):
        yield f"-X {method}"
    if not operation.is_open:
        yield '-H "Authorization: Bearer $COMFYLINE_API_KEY"'
    if operation.body:
        yield '-H "Content-Type: application/json"'
        yield f"-d {shlex.quote(json.dumps(next(iter(operation.body.values()))))}"
