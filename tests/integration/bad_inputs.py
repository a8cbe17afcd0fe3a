"""Inputs that the API must refuse, each under the name by which docs/bad-inputs.md lists it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

JOBS, GENERATE, UPLOADS = "/api/v1/jobs", "/api/v1/generate", "/api/v1/uploads"
UNKNOWN_JOB = "job_" + "0" * 26
UNKNOWN_UPLOAD = "upload:upl_" + "0" * 26

SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64}}
LOAD = {"class_type": "LoadImage", "inputs": {"image": "a.png"}}


@dataclass(frozen=True, slots=True)
class Bad:
    """One request with one error."""

    name: str
    method: str = "POST"
    path: str = JOBS
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def bad_inputs() -> Iterator[Bad]:
    """Every bad input."""
    yield from _not_json()
    yield from _fields()
    yield from _graphs()
    yield from _inputs()
    yield from _headers()
    yield from _uploads()
    yield from _queries()
    yield from _paths()


def _not_json() -> Iterator[Bad]:
    deep = "[" * 2000 + "]" * 2000
    deep_graph = '{"workflow": {"1": ' + '{"a":' * 65 + "1" + "}" * 65 + "}}"
    texts = {
        "no body": "",
        "half an object": '{"prompt": "x"',
        "single quotes": "{'prompt': 'x'}",
        "a trailing comma": '{"prompt": "x",}',
        "NaN": '{"prompt": "x", "cfg_scale": NaN}',
        "Infinity": '{"prompt": "x", "cfg_scale": Infinity}',
        "a number that is larger than any double": '{"prompt": "x", "cfg_scale": 1e999}',
        "an integer of 5,000 digits": '{"prompt": "x", "seed": ' + "9" * 5000 + "}",
        "half a surrogate pair": '{"prompt": "\\ud800"}',
        "half a surrogate pair as a name": '{"prompt": "x", "metadata": {"\\udfff": "x"}}',
        "a control character in a string": '{"prompt": "a\x01b"}',
        "2,000 levels of nesting": deep,
        "a workflow with 65 levels of nesting": deep_graph,
        "plain text": "a red fox",
        "a form": "prompt=a+red+fox",
        "two objects": '{"prompt": "x"}{"prompt": "y"}',
        "a comment": '{"prompt": "x"} // fox',
    }
    for name, text in texts.items():
        yield Bad(f"body: {name}", body=text)
    yield Bad("body: more than 4 MiB", body=json.dumps({"prompt": "x" * (4 * 1024 * 1024)}))
    shapes = {"null": None, "a list": [1], "a string": "x", "a number": 1, "a boolean": True}
    for name, value in shapes.items():
        yield _post(f"body: {name}", value)
    yield _post("body: an empty object", {})
    yield _post("body: both forms", {"prompt": "x", "workflow": {"1": EMPTY, "2": SAVE}})


def _post(name: str, body: Any, path: str = JOBS, **headers: str) -> Bad:
    return Bad(name, path=path, body=json.dumps(body), headers=headers)


_WRONG: Mapping[str, list[Any]] = {
    "prompt": ["", "x" * 20_001, 1, None, ["x"], {"text": "x"}],
    "negative_prompt": ["x" * 20_001, 1, None],
    "width": [0, -8, 15, 513, 16392, 512.5, "512", None, True],
    "height": [0, 12, 500.5, "512", None],
    "steps": [0, -1, 1001, 1.5, "20", None, True],
    "cfg_scale": [-0.1, 100.1, "7", None],
    "sampler": ["", "eular", "EULER", "x" * 65, 1, None],
    "scheduler": ["", "norma", 7, None],
    "seed": [-1, 2**63, 2**64, 1.5, "42", True],
    "model": ["", "x" * 256, "../secret.safetensors", 1],
    "batch_size": [0, -1, 1.5, "2", None],
    "priority": ["urgent", "", "HIGH", 1, None],
    "start_deadline_seconds": [0, -1, 604_801, 1.5, "60"],
    "execution_timeout_seconds": [0, 21_601, 0.5, "60"],
    "metadata": [[], "x", {"a": 1}, {"a": None}, {"": "x"}, {"k" * 129: "x"}, {"a": "x" * 1024}],
    "reuse": ["true", 1, "yes"],
    "output": ["webp", {}, {"format": "png"}, {"format": "webp", "quality": 0}],
    "previews": ["true", 1, None, {"every": 2}],
    "webhook_url": ["https://example.com/hook", None],
    "stepz": [20],
    "client_id": ["x"],
    "extra_data": [{"extra_pnginfo": None}],
    "inputs": [{"1.image": UNKNOWN_UPLOAD}],
}


def _fields() -> Iterator[Bad]:
    for name, values in _WRONG.items():
        for value in values:
            shown = json.dumps(value)
            short = shown if len(shown) <= 40 else f"{shown[:12]}… ({len(shown)} characters)"
            yield _post(f"`{name}`: `{short}`", {"prompt": "x"} | {name: value})
    yield _post("2,048 x 2,048 pixels", {"prompt": "x", "width": 2048, "height": 2048})
    yield _post("16,384 x 16,384 pixels", {"prompt": "x", "width": 16384, "height": 16384})
    yield _post("a batch of 11", {"prompt": "x", "batch_size": 11})
    yield _post("a batch of 2^40", {"prompt": "x", "batch_size": 2**40})


def _graphs() -> Iterator[Bad]:
    graphs: dict[str, Any] = {
        "null": None,
        "a string": "{}",
        "a list": [EMPTY, SAVE],
        "empty": {},
        "saved from the editor": {"nodes": [{"id": 1, "type": "KSampler"}], "links": []},
        "a node that is null": {"1": None},
        "a node that is a list": {"1": ["SaveImage"]},
        "a node without class_type": {"1": {"inputs": {}}},
        "a class_type that is a number": {"1": {"class_type": 7, "inputs": {}}},
        "an empty class_type": {"1": {"class_type": "", "inputs": {}}},
        "a class_type of 257 characters": {"1": {"class_type": "x" * 257, "inputs": {}}},
        "a node without inputs": {"1": {"class_type": "SaveImage"}},
        "inputs that are a list": {"1": {"class_type": "SaveImage", "inputs": []}},
        "inputs that are null": {"1": {"class_type": "SaveImage", "inputs": None}},
        "half a surrogate pair as a node id": {"\ud83d": SAVE, "1": EMPTY},
        "a node id of 257 characters": {"x" * 257: SAVE, "1": EMPTY},
        "a dangling link": {"2": SAVE},
        "NaN in an input": {
            "1": {"class_type": "EmptyImage", "inputs": {"width": math.nan}},
            "2": SAVE,
        },
        "half a surrogate pair in an input": {
            "1": EMPTY,
            "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "fox \ud83d"}},
        },
        "a node that links to itself": {
            "1": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "2": SAVE,
        },
        "a cycle of three": {
            "1": {"class_type": "A", "inputs": {"x": ["3", 0]}},
            "2": {"class_type": "B", "inputs": {"x": ["1", 0]}},
            "3": {"class_type": "C", "inputs": {"x": ["2", 0]}},
        },
        "no output node": {"1": EMPTY},
        "a sampler without an output node": {
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
            "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64}},
            "3": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "latent": ["2", 0]}},
        },
        "10,001 nodes": {str(n): EMPTY for n in range(10_001)},
    }
    for name, graph in graphs.items():
        yield _post(f"workflow: {name}", {"workflow": graph})
    noise = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(400_000))
    noisy = {"1": {"class_type": "LoadImage", "inputs": {"image": noise}}, "2": SAVE}
    yield _post("workflow: more than 399 KiB when compressed", {"workflow": noisy})
    for name in ("steps", "seed", "negative_prompt", "model"):
        body = {"workflow": {"1": EMPTY, "2": SAVE}, name: 1}
        yield _post(f"workflow: with the parameter `{name}`", body)
    good = {"1": EMPTY, "2": SAVE}
    for extra in ({"preview_method": "auto"}, {"extra_pnginfo": None}, []):
        yield _post(f"`extra_data`: `{json.dumps(extra)}`", {"workflow": good, "extra_data": extra})
    picture = [{"name": "a.png", "image": "iVBOR"}]
    yield _post("ComfyUI's body with `front`", {"prompt": good, "front": True})
    yield _post("ComfyUI's body with `number`", {"prompt": good, "number": -1})
    yield _post(
        "ComfyUI's body with `partial_execution_targets`",
        {"prompt": good, "partial_execution_targets": ["2"]},
    )
    yield _post(
        "worker-comfyui's body with `images`", {"input": {"workflow": good, "images": picture}}
    )


def _inputs() -> Iterator[Bad]:
    graph = {"1": LOAD, "2": SAVE}
    inputs: dict[str, Any] = {
        "a list": [],
        "null": None,
        "a node that does not exist": {"9.image": UNKNOWN_UPLOAD},
        "no node": {".image": UNKNOWN_UPLOAD},
        "no input": {"1": UNKNOWN_UPLOAD},
        "an input with a link": {"2.images": UNKNOWN_UPLOAD},
        "an upload that does not exist": {"1.image": UNKNOWN_UPLOAD},
        "a URL": {"1.image": "https://example.com/a.png"},
        "a path": {"1.image": "../../etc/passwd"},
        "an upload id without `upload:`": {"1.image": UNKNOWN_UPLOAD.removeprefix("upload:")},
        "a malformed upload id": {"1.image": "upload:upl_1"},
        "the key of a file": {"1.image": "upload:jobs/x/1/a.png"},
        "a number": {"1.image": 1},
        "101 inputs": {f"1.{n}": UNKNOWN_UPLOAD for n in range(101)},
    }
    for name, value in inputs.items():
        yield _post(f"inputs: {name}", {"workflow": graph, "inputs": value})
    named = {"1": {"class_type": "LoadImage", "inputs": {"image": UNKNOWN_UPLOAD}}, "2": SAVE}
    yield _post("workflow: an upload that does not exist", {"workflow": named})


def _headers() -> Iterator[Bad]:
    for path in (JOBS, GENERATE):
        for name, key in {
            "empty": "",
            "blank": " ",
            "with 256 characters": "x" * 256,
            "with an umlaut": "fuchs-ü",
            "with a tab": "a\tb",
            "with a line break": "a\nb",
        }.items():
            header = {"Idempotency-Key": key}
            yield _post(f"`Idempotency-Key` {name}", {"prompt": "x"}, path, **header)
    for wait in ("", "x", "-1", "1.5", "1s", "٣"):
        yield _post(f"`Prefer: wait={wait}`", {"prompt": "x"}, Prefer=f"wait={wait}")


def _uploads() -> Iterator[Bad]:
    good = {"name": "a.png", "content_type": "image/png", "bytes": 10}
    wrong: dict[str, list[Any]] = {
        "name": ["", "x" * 256, 1, None],
        "content_type": ["", "png", "image/", "image/svg xml", "IMAGE/PNG", "text/plain; a=b", 1],
        "bytes": [0, -1, 104_857_601, 1.5, "10", None],
        "sha256": ["", "ab", "g" * 64, "A" * 64],
        "key": ["jobs/x"],
    }
    for name, values in wrong.items():
        for value in values:
            shown = json.dumps(value)
            short = shown if len(shown) <= 40 else f"{shown[:12]}… ({len(shown)} characters)"
            yield _post(f"upload, `{name}`: `{short}`", good | {name: value}, UPLOADS)
    for name in good:
        without = {field: value for field, value in good.items() if field != name}
        yield _post(f"upload, without `{name}`", without, UPLOADS)
    yield _post("upload, a list", [], UPLOADS)
    yield Bad("upload, no body", path=UPLOADS)


def _queries() -> Iterator[Bad]:
    for status in ("", "canceling", "done", "QUEUED", "queued,failed"):
        yield Bad(f"list, `status={status}`", "GET", f"{JOBS}?status={status}")
    for limit in ("", "0", "101", "-1", "1.5", "ten", "00999"):
        yield Bad(f"list, `limit={limit}`", "GET", f"{JOBS}?limit={limit}")
    for cursor in ("x", "bm9uc2Vuc2U", "W10", "WzEsMl0", "%00", "e30"):
        yield Bad(f"list, `cursor={cursor}`", "GET", f"{JOBS}?cursor={cursor}")
    for wanted in ("metadata[a]=1&metadata[a]=2", "&".join(f"metadata[{n}]=1" for n in range(11))):
        name = f"{wanted[:24]}…" if len(wanted) > 40 else wanted
        yield Bad(f"list, `{name}`", "GET", f"{JOBS}?{wanted}")
    for after in ("", "-1", "x", "1.5", "9999999999"):
        path = f"{JOBS}/{UNKNOWN_JOB}/events?after={after}"
        yield Bad(f"events, `after={after}`", "GET", path)
    for purge in ("", "1", "yes", "TRUE"):
        path = f"{JOBS}/{UNKNOWN_JOB}?purge={purge}"
        yield Bad(f"delete, `purge={purge}`", "DELETE", path)


def _paths() -> Iterator[Bad]:
    for job_id in (
        UNKNOWN_JOB,
        "x",
        "job_",
        UNKNOWN_JOB.upper(),
        UNKNOWN_JOB + "0",
        "job_" + "i" * 26,
    ):
        yield Bad(f"get `{job_id}`", "GET", f"{JOBS}/{job_id}")
        yield Bad(f"delete `{job_id}`", "DELETE", f"{JOBS}/{job_id}")
    yield Bad("retry an unknown job", "POST", f"{JOBS}/{UNKNOWN_JOB}/retry")
    yield Bad("graph of an unknown job", "GET", f"{JOBS}/{UNKNOWN_JOB}/graph")
    yield Bad("events of an unknown job", "GET", f"{JOBS}/{UNKNOWN_JOB}/events")
    for method, path in (("PUT", JOBS), ("PATCH", f"{JOBS}/{UNKNOWN_JOB}"), ("DELETE", JOBS)):
        yield Bad(f"a method that the path does not support: `{method} {path}`", method, path)
    unknown = ("/api", "/api/v1", "/api/v9/jobs", "/api/v1/jobs/a/b/c", "/prompt", "/API/V1/JOBS")
    for path in unknown:
        yield Bad(f"an unknown path: `{path}`", "GET", path)
