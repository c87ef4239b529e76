"""TLS of the manager's own socket, with a certificate that can be replaced while it runs."""

import ssl

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.settings import Settings

__all__ = ["load_certificate", "tls_of"]


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context; None if there is no certificate, so that the manager speaks plain HTTP.

    :raises SettingsError: the certificate or its key cannot be used
    """
    if settings.tls_cert == settings.tls_key == "":
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, settings)
    return context


def load_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    """Read the certificate and its key, for the connections that follow.

    :raises SettingsError: they cannot be used; the context keeps the earlier ones
    """
    for name in ("tls_cert", "tls_key"):
        if getattr(settings, name) == "":
            raise SettingsError(f"{name} is required: TLS needs both", field=name)
    try:
        # On a context of its own first: a pair that does not fit must not replace one that does.
        for one in (ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), context):
            one.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"the certificate {settings.tls_cert} with the key {settings.tls_key} cannot be used: "
            f"{error.strerror or error}",
            field="tls_cert",
        ) from error


def _no_password() -> str:
    """Fail instead of asking on the terminal."""
    raise SettingsError("the key must not be encrypted", field="tls_key")
