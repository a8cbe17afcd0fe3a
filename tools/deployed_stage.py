"""A deployed stage, as the checks of `make verify-aws` see it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import httpx
from websockets.sync.client import connect

from comfyline.client import Comfyline

SERVICE_NAMES = ("ondemand", "spot")


class Account:
    """A deployed stage, by the names of its stacks."""

    def __init__(self, stage: str, session: Any, client: Comfyline | None = None) -> None:
        self.cluster = f"comfyline-{stage}"
        self.region: str = session.region_name
        self.ecs, self.ec2 = session.client("ecs"), session.client("ec2")
        self._cloudformation = session.client("cloudformation")
        self._client = client

    def stacks(self) -> Mapping[str, tuple[str, Mapping[str, str]]]:
        """The status and the outputs of each of the deployment's stacks, by its part."""
        found = {}
        for page in self._cloudformation.get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                cluster, _, part = stack["StackName"].rpartition("-")
                if cluster == self.cluster:
                    outputs = {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", ())}
                    found[part] = (stack["StackStatus"], outputs)
        return found

    @property
    def client(self) -> Comfyline:
        """A client of the deployed API."""
        if self._client is None:
            outputs = self.stacks()["api"][1]
            self._client = Comfyline(outputs["HttpApiUrl"], os.environ["COMFYLINE_API_KEY"])
        return self._client

    def get(self, url: str) -> tuple[int, Mapping[str, str]]:
        """Status and headers of the answer to a GET with the key, which opens a WebSocket there."""
        upgrade = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        headers = {"authorization": f"Bearer {os.environ['COMFYLINE_API_KEY']}"}
        answer = httpx.get(url, headers=headers | (upgrade if url.endswith("/live") else {}))
        return answer.status_code, answer.headers

    def ping(self) -> str:
        """The type of the answer to a ping on a new socket."""
        outputs = self.stacks()["api"][1]
        headers = {"authorization": f"Bearer {os.environ['COMFYLINE_API_KEY']}"}
        with connect(outputs["WebSocketUrl"], additional_headers=headers) as socket:
            socket.send(json.dumps({"action": "ping"}))
            return str(json.loads(socket.recv(timeout=30))["type"])

    def services(self) -> list[Any]:
        """Both ECS services."""
        answer = self.ecs.describe_services(cluster=self.cluster, services=list(SERVICE_NAMES))
        found: list[Any] = answer["services"]
        return found

    def tasks(self, service: str) -> list[Any]:
        """The running tasks of a service."""
        arns = self.ecs.list_tasks(cluster=self.cluster, serviceName=service)["taskArns"]
        found: list[Any] = (
            arns and self.ecs.describe_tasks(cluster=self.cluster, tasks=arns)["tasks"]
        )
        return [task for task in found if task["lastStatus"] == "RUNNING"]

    def instance_of(self, task: Any) -> Any:
        """The container instance on which a task runs."""
        answer = self.ecs.describe_container_instances(
            cluster=self.cluster, containerInstances=[task["containerInstanceArn"]]
        )
        return answer["containerInstances"][0]

    def memory_of(self, task: Any) -> int:
        """The MiB of memory that the task's instance has registered with ECS."""
        registered = {r["name"]: r for r in self.instance_of(task)["registeredResources"]}
        return int(registered["MEMORY"]["integerValue"])
