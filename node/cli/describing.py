"""The command that writes what is published for other tools: `describe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.arguments import ENTRY_ID, PATH
from node.cli.options import command
from node.cli.output import Fields

if TYPE_CHECKING:
    from node.cli.session import Session
    from node.describing.describe import Format


@command(
    "describe",
    "pnode describe bafkreih4a7bq --format cyclonedx -o bom.json",
    "pnode describe bafkreih4a7bq --format model-card -o ./adapter/README.md",
    "pnode describe bafkreih4a7bq --format oms --key key.pem -o adapter.sig",
)
@click.argument("id", type=ENTRY_ID)
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(("cyclonedx", "model-card", "oms")),
    help="A bill of materials, a Hugging Face model card, or a model signature.",
)
@click.option("--key", metavar="FILE", type=PATH, help="The private key that signs, for oms.")
@click.option("-o", "--output", metavar="FILE", type=PATH, help="Standard output if not given.")
def describe_command(
    session: Session, id: str, form: Format, key: Path | None, output: Path | None
) -> None:
    """Write what is published for another tool to read.

    cyclonedx describes a contribution or a composition as a machine-learning bill of materials in
    JSON. model-card is a README.md for the Hugging Face hub. oms signs the files of a contribution
    with a key of yours on P-256, P-384 or P-521, in the format of OpenSSF Model Signing.
    """
    described = session.node().describe(id, form, key)
    data = described.document.encode()
    if output is None and not session.output.mode.json:
        session.output.data(data)
    else:
        record: dict[str, Any] = {
            "id": described.id,
            "format": form,
            "bytes": len(data),
            "file": None,
            "warning": described.warning,
        }
        if output is None:
            record["document"] = described.document
        else:
            from node.durable import write_atomic

            write_atomic(output, data)
            record["file"] = str(output)
        session.output.result(
            "describe",
            record,
            Fields([(form, f"{output}  {len(data)} bytes")]),
            ids=[str(output)],
        )
    if described.warning:
        session.output.warn(described.warning)
