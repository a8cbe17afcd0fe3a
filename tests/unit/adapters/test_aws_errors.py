"""How errors of AWS are translated, and how unprocessed items of a batch are retried."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber

from comfyline.adapters.aws import batches
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.live.sockets import ApiGatewaySockets
from comfyline.contract.ids import ConnectionId
from comfyline.service.errors import ConnectionGone, Unavailable

CONNECTION = ConnectionId("c1=")


@pytest.fixture(scope="module")
def session() -> boto3.Session:
    return boto3.Session("testing", "testing", region_name="us-east-1")


def client_error(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutItem")


class TestTranslated:
    @pytest.mark.parametrize(
        "error",
        [
            client_error("ProvisionedThroughputExceededException"),
            client_error("ThrottlingException"),
            client_error("AWS.SimpleQueueService.OverLimit", 403),
            client_error("Whatever", 500),
            client_error("", 503),
            EndpointConnectionError(endpoint_url="http://nowhere"),
            ReadTimeoutError(endpoint_url="http://slow"),
        ],
    )
    def test_a_temporary_error_becomes_unavailable(self, error: Exception) -> None:
        with pytest.raises(Unavailable) as unavailable, translated():
            raise error
        assert unavailable.value.__cause__ is error

    @pytest.mark.parametrize(
        "error",
        [
            client_error("AccessDeniedException"),
            client_error("ResourceNotFoundException"),
            client_error("ConditionalCheckFailedException"),
            KeyError("ours"),
        ],
    )
    def test_any_other_error_passes_through(self, error: Exception) -> None:
        with pytest.raises(type(error)) as passed, translated():
            raise error
        assert passed.value is error


class TestSockets:
    @pytest.fixture
    def stubbed(self, session: boto3.Session) -> tuple[ApiGatewaySockets, Stubber]:
        endpoint = "https://api.example/live"
        client = session.client("apigatewaymanagementapi", endpoint_url=endpoint)
        return ApiGatewaySockets(client), Stubber(client)

    def test_a_message_is_posted(self, stubbed: tuple[ApiGatewaySockets, Stubber]) -> None:
        sockets, stub = stubbed
        stub.add_response(
            "post_to_connection", {}, {"ConnectionId": CONNECTION, "Data": b'{"type":"status"}'}
        )
        with stub:
            sockets.post(CONNECTION, b'{"type":"status"}')
        stub.assert_no_pending_responses()

    @pytest.mark.parametrize(
        ("code", "status", "expected"),
        [
            ("GoneException", 410, ConnectionGone),
            ("LimitExceededException", 429, Unavailable),
            ("InternalServerError", 500, Unavailable),
            ("PayloadTooLargeException", 413, ClientError),
            ("ForbiddenException", 403, ClientError),
        ],
    )
    def test_a_refused_post_becomes_the_error(
        self,
        stubbed: tuple[ApiGatewaySockets, Stubber],
        code: str,
        status: int,
        expected: type[Exception],
    ) -> None:
        sockets, stub = stubbed
        stub.add_client_error("post_to_connection", code, http_status_code=status)
        with stub, pytest.raises(expected):
            sockets.post(CONNECTION, b"{}")


class TestBatches:
    @pytest.fixture(autouse=True)
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The pauses that `batches` made. The test does not wait for them."""
        pauses: list[float] = []
        monkeypatch.setattr("comfyline.adapters.aws.batches.time.sleep", pauses.append)
        return pauses

    def item(self, n: int) -> dict[str, Any]:
        return {"pk": {"S": str(n)}}

    def requests(self, *items: Any) -> dict[str, Any]:
        return {"jobs": [{"PutRequest": {"Item": item}} for item in items]}

    def test_unprocessed_items_are_put_again(
        self, session: boto3.Session, pauses: list[float]
    ) -> None:
        client = session.client("dynamodb")
        both, second = self.requests(self.item(1), self.item(2)), self.requests(self.item(2))
        with Stubber(client) as stub:
            left: dict[str, Any] = {"UnprocessedItems": second}
            stub.add_response("batch_write_item", left, {"RequestItems": both})
            done: dict[str, Any] = {"UnprocessedItems": {}}
            stub.add_response("batch_write_item", done, {"RequestItems": second})
            batches.put_items(client, "jobs", [self.item(1), self.item(2)])
            stub.assert_no_pending_responses()
        assert len(pauses) == 1

    def test_items_that_stay_unprocessed_are_unavailable(
        self, session: boto3.Session, pauses: list[float]
    ) -> None:
        client = session.client("dynamodb")
        with Stubber(client) as stub:
            for _ in range(batches.MAX_TRIES):
                left = {"UnprocessedItems": self.requests(self.item(1))}
                stub.add_response("batch_write_item", left)
            with pytest.raises(Unavailable):
                batches.put_items(client, "jobs", [self.item(1)])
            stub.assert_no_pending_responses()
        assert sum(pauses) < 1.6

    def test_unprocessed_keys_are_read_again(self, session: boto3.Session) -> None:
        client = session.client("dynamodb")
        left = {"jobs": {"Keys": [self.item(2)], "ConsistentRead": True}}
        with Stubber(client) as stub:
            first = {"Responses": {"jobs": [self.item(1)]}, "UnprocessedKeys": left}
            stub.add_response("batch_get_item", first)
            second: dict[str, Any] = {
                "Responses": {"jobs": [self.item(2)]},
                "UnprocessedKeys": {},
            }
            stub.add_response("batch_get_item", second, {"RequestItems": left})
            found = batches.get_items(client, "jobs", [self.item(1), self.item(2)])
            stub.assert_no_pending_responses()
        assert found == [self.item(1), self.item(2)]

    def test_keys_are_read_a_hundred_at_a_time(self, session: boto3.Session) -> None:
        client = session.client("dynamodb")
        keys = [self.item(n) for n in range(101)]
        with Stubber(client) as stub:
            for chunk in (keys[:100], keys[100:]):
                asked = {"RequestItems": {"jobs": {"Keys": chunk, "ConsistentRead": True}}}
                answer: dict[str, Any] = {"Responses": {"jobs": chunk}, "UnprocessedKeys": {}}
                stub.add_response("batch_get_item", answer, asked)
            assert batches.get_items(client, "jobs", keys) == keys
            stub.assert_no_pending_responses()
