"""HTTPS with a certificate that is replaced while the manager runs."""

import asyncio
import signal
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.server.tls import tls_of
from kaiju_tasks.settings import Settings, load_settings
from tests.server.test_process import SAMPLES, start
from tests.support.processes import Processes
from tests.support.wait import PATIENCE_SECONDS, wait_until


def make_certificate(folder: Path, name: str) -> dict[str, str]:
    """A certificate for a common name. Returns its settings."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}


async def common_name(url: str) -> str:
    """The common name of the certificate that a server shows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    parts = urlsplit(url)
    async with asyncio.timeout(PATIENCE_SECONDS):
        _, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    text = subprocess.run(
        ["openssl", "x509", "-inform", "der", "-noout", "-subject"],
        input=found, check=True, capture_output=True,
    )  # fmt: skip
    return text.stdout.decode().rpartition("=")[2].strip()


async def test_a_certificate_is_replaced_at_sighup(processes: Processes, tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "first")
    settings = [f"--{name.replace('_', '-')}={path}" for name, path in files.items()]
    process, url = await start(processes, *settings, *SAMPLES)
    assert url.startswith("https://")
    assert await common_name(url) == "first"
    trusting = ssl.create_default_context(cafile=files["tls_cert"])
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port, ssl=trusting)
    make_certificate(tmp_path, "second")
    process.send(signal.SIGHUP)

    async def replaced() -> bool:
        return await common_name(url) == "second"

    await wait_until(replaced, "the new certificate is shown")
    (tmp_path / "key.pem").write_text("no key")
    process.send(signal.SIGHUP)
    await process.logged("everything stays as it was")
    assert await common_name(url) == "second"
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert b" 200 " in await reader.readline()
    writer.close()
    process.terminate()
    assert await process.ended() == 0


@pytest.mark.parametrize("missing", ["tls_cert", "tls_key"])
def test_both_files_are_needed(missing: str, tmp_path: Path) -> None:
    files = {**make_certificate(tmp_path, "x"), missing: ""}
    with pytest.raises(SettingsError) as refused:
        tls_of(load_settings(environ={}, overrides=files))
    assert refused.value.field == missing


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "x")
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(SettingsError, match="cannot be used"):
        tls_of(load_settings(environ={}, overrides=files))
    with pytest.raises(SettingsError, match="cannot be used"):
        tls_of(Settings(tls_cert="/nowhere", tls_key="/nowhere"))
