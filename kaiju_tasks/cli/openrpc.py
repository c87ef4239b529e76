"""`kaiju-tasks openrpc`"""

import click

__all__ = ["openrpc"]


@click.command(short_help="Print the OpenRPC document.")
def openrpc() -> None:
    """Print the OpenRPC document of this version's methods. No manager is called."""
    import msgspec

    from kaiju_tasks.api.document import api_document

    click.echo(msgspec.json.format(msgspec.json.encode(api_document()), indent=2).decode())
