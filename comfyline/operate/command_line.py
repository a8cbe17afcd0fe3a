"""What the operator's commands share: errors of AWS on one line, and the choice of the stage."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from comfyline.contract.texts import clean
from comfyline.operate.stage import NoSuchStage

Stage = Annotated[
    str | None,
    typer.Option(
        "--stage",
        metavar="STAGE",
        envvar="COMFYLINE_STAGE",
        help="The stage, such as prod, whose stacks name the tables and queues. Without it, "
        "environment variables name them.",
    ),
]

_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (
        NoCredentialsError,
        "Sign in to AWS first: run `aws sso login`, or set AWS_PROFILE.",
    ),
    (NoRegionError, "Set AWS_REGION to the region of the deployment."),
    (NoSuchStage, "Check --stage, AWS_REGION and AWS_PROFILE."),
    (ClientError, "Check that these credentials may do this, and AWS_REGION."),
    (BotoCoreError, "Check the network, AWS_REGION and AWS_PROFILE."),
)


class OperatorGroup(TyperGroup):
    """Commands that print an error of AWS on one line, with what to do."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (BotoCoreError, ClientError, NoSuchStage) as error:
            advice = next(text for kind, text in _ADVICE if isinstance(error, kind))
            console = Console(stderr=True)
            line = Text.assemble(("Error: ", "bold red"), clean(str(error)))
            console.print(line, soft_wrap=True)
            console.print(Text(f"  {advice}"), soft_wrap=True)
            raise typer.Exit(1) from error


def group() -> typer.Typer:
    """A group of commands for operators."""
    return typer.Typer(
        cls=OperatorGroup,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
