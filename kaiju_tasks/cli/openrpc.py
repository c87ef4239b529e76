"""`kaiju-tasks openrpc`"""

import click

from kaiju_tasks import __version__

__all__ = ["openrpc"]


@click.command(short_help="Print the OpenRPC document.")
def openrpc() -> None:
    """Print the OpenRPC document of this version's methods; no manager is asked."""
    import msgspec

    from kaiju_tasks.api import method_registry
    from kaiju_tasks.rpc import openrpc_document

    document = openrpc_document(method_registry(), "kaiju_tasks", __version__)
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
