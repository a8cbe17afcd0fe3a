"""The use cases about who may call, and how much, assembled from their adapters."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from comfyline.service import settings as of
from comfyline.service.clock import Clock
from functions._aws import Aws

if TYPE_CHECKING:
    from comfyline.contract.ids import KeyId, OwnerId
    from comfyline.service.access.authenticate import Identity
    from comfyline.service.access.budgets import Budgets
    from comfyline.service.access.keys import ApiKey, Flags
    from comfyline.service.access.own_keys import OwnKeys
    from comfyline.service.access.people import Issuer, People
    from comfyline.service.access.sign_in import SignIn
    from comfyline.service.access.socket_passes import SocketPass
    from comfyline.service.access.tokens import NewToken, Token
    from comfyline.service.cached import Cached

# API Gateway keeps an authorizer's answer for 30 s, so this hardly delays a switch. All calls read
# the same item, which could take 3,000 reads a second.
FLAGS_LIFETIME = timedelta(seconds=5)


class Access:
    """Who may call: used as `Wiring.access`."""

    def __init__(self, aws: Aws, clock: Clock) -> None:
        self.aws = aws
        self.clock = clock

    @property
    def requires_edge(self) -> bool:
        """Whether only requests that have come through the edge may come in."""
        return self.aws.settings(of.EdgeSettings).edge_secrets is not None

    def came_through_edge(self, header: str | None) -> bool:
        """Whether the request with this value of the edge's header may come in."""
        from comfyline.service.access.edge import came_through

        return came_through(header, self.aws.settings(of.EdgeSettings).edge_secrets)

    def authenticate(self, authorization: str | None) -> Identity | None:
        """Who has sent this header."""
        from comfyline.service.access.authenticate import authenticate

        keys = self.aws.keys
        return authenticate(
            authorization,
            keys=keys,
            tokens=lambda: self.aws.tokens,
            sessions=lambda: self.aws.sessions,
            people=lambda: self.people,
            clock=self.clock,
        )

    @cached_property
    def people(self) -> People | None:
        """Those who sign in at the deployment's issuer; None if it names none."""
        rules = self.aws.sign_in_rules
        if rules is None:
            return None
        from comfyline.service.access.people import People

        return People(self.issuer, rules, self.clock)

    @cached_property
    def issuer(self) -> Issuer:
        """The deployment's issuer. Only for deployments that name one."""
        rules = self.aws.sign_in_rules
        assert rules is not None
        return self.aws.issuer(rules, self.clock)

    @cached_property
    def sign_in(self) -> SignIn:
        """Signs people in at the console, and out."""
        from comfyline.service.access.sign_in import SignIn

        return SignIn(
            keys=self.aws.keys,
            sessions=self.aws.sessions,
            tokens=lambda: self.aws.tokens,
            links=lambda: self.aws.sign_in_links,
            clock=self.clock,
        )

    def create_token(self, asked: NewToken, owner: OwnerId, key_id: KeyId) -> tuple[Token, str]:
        """A new token of the key."""
        from comfyline.service.access.authenticate import create_token

        return create_token(asked, owner, key_id, tokens=self.aws.tokens, clock=self.clock)

    @cached_property
    def own_keys(self) -> OwnKeys:
        """Keys that owners make themselves."""
        from comfyline.service.access.own_keys import OwnKeys, Service

        requests = self.aws.settings(of.BudgetSettings).requests_per_minute
        waits = self.aws.settings(of.WaitSettings).max_waits
        return OwnKeys(keys=self.aws.keys, service=Service(requests, waits), clock=self.clock)

    @cached_property
    def flags(self) -> Cached[Flags]:
        """The operator's switches, which every authorizer's call needs."""
        from comfyline.service.cached import Cached

        return Cached(self.aws.keys.flags, FLAGS_LIFETIME, self.clock)

    @cached_property
    def budgets(self) -> Budgets:
        """Counts what owners ask for."""
        from comfyline.service.access.budgets import Budgets

        requests = self.aws.settings(of.BudgetSettings).requests_per_minute
        return Budgets(lambda: self.aws.budgets, self.clock, requests)

    def create_socket_pass(
        self, owner: OwnerId, key_id: KeyId, token: str | None, vouched: ApiKey | None = None
    ) -> tuple[SocketPass, str]:
        """A new socket pass of the key, of the token with this hash, or of a person."""
        from comfyline.service.access.authenticate import create_socket_pass

        passes = self.aws.socket_passes
        return create_socket_pass(
            owner, key_id, token, passes=passes, clock=self.clock, vouched=vouched
        )

    def socket_url(self, secret: str) -> str:
        """The address that opens a socket with this socket pass."""
        return f"{self.aws.socket_url}?ticket={secret}"

    def redeem_socket_pass(self, secret: str) -> Identity | None:
        """Who has created this socket pass."""
        from comfyline.service.access.authenticate import redeem_socket_pass

        keys, passes = self.aws.keys, self.aws.socket_passes
        return redeem_socket_pass(
            secret,
            passes=passes,
            keys=keys,
            tokens=lambda: self.aws.tokens,
            sessions=lambda: self.aws.sessions,
            clock=self.clock,
        )
