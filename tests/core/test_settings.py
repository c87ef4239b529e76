"""Settings: where they come from, which wins, what is refused, and that all are documented."""

import math
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.errors import InvalidParams, SettingsError
from kaiju_tasks.settings import (
    SettingField,
    Settings,
    load_settings,
    service_variables,
    setting_fields,
)

MIB = 1024 * 1024
DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
REWRITE = "KAIJU_TEST_REWRITE_DOCS"
TABLE_START = "<!-- settings: generated, see tests/core/test_settings.py -->"
TABLE_END = "<!-- /settings -->"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "kaiju.toml"


def refusal(**sources: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{"environ": {}, **sources})
    return caught.value


def test_without_any_source_the_defaults_stand() -> None:
    assert load_settings(environ={}) == Settings()


def test_the_defaults_are_those_documented_for_users() -> None:
    settings = Settings()
    assert settings.db == "sqlite:///kaiju-tasks.db"
    assert (settings.host, settings.port) == ("127.0.0.1", 8077)
    assert settings.ping_interval == 5
    assert settings.suspend_after_pings == 3
    assert settings.lease_seconds == 15
    assert settings.max_run_results_bytes == 16 * settings.max_result_bytes == 16 * 1024**2
    assert settings.allow_insecure_host is False


def test_every_default_is_within_its_own_range() -> None:
    for item in setting_fields().values():
        assert msgspec.convert(item.default, item.annotation) == item.default


def test_a_lease_is_the_pings_that_may_be_missed() -> None:
    assert Settings(ping_interval=0.2, suspend_after_pings=4).lease_seconds == pytest.approx(0.8)


def test_the_file_is_read(config: Path) -> None:
    config.write_text('port = 9000\nping_interval = 2\nlog_format = "json"\ndb = "sqlite://x"\n')
    settings = load_settings(config, environ={})
    assert settings == Settings(port=9000, ping_interval=2.0, log_format="json", db="sqlite://x")


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(config: Path) -> None:
    config.write_text("port = 1\nbatch_rows = 1\nmax_batch = 1\n")
    environ = {"KAIJU_PORT": "2", "KAIJU_BATCH_ROWS": "2"}
    settings = load_settings(str(config), environ, {"port": 3})
    assert (settings.port, settings.batch_rows, settings.max_batch) == (3, 2, 1)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "8080", 8080),
        ("PORT", " 8080\n", 8080),
        ("PING_INTERVAL", "0.05", 0.05),
        ("PING_INTERVAL", "30", 30.0),
        ("ALLOW_INSECURE_HOST", "true", True),
        ("ALLOW_INSECURE_HOST", "0", False),
        ("LOG_LEVEL", "WARNING", "warning"),
        ("DB", "postgresql://u:p@h/d?schema=s", "postgresql://u:p@h/d?schema=s"),
        ("HOST", "0", "0"),
        ("DEFAULT_APP_NAME", "managers", "managers"),
    ],
)
def test_text_from_the_environment_becomes_the_settings_type(
    name: str, text: str, value: Any
) -> None:
    found = getattr(load_settings(environ={f"KAIJU_{name}": text}), name.lower())
    assert found == value
    assert type(found) is type(value)


def test_text_from_the_command_line_becomes_the_settings_type() -> None:
    assert load_settings(environ={}, overrides={"port": "1", "ping_interval": 1}) == Settings(
        port=1, ping_interval=1.0
    )


def test_an_empty_variable_and_a_none_on_the_command_line_count_as_not_set() -> None:
    assert load_settings(environ={"KAIJU_PORT": ""}, overrides={"db": None}) == Settings()


def test_variables_of_clients_tests_and_others_are_let_alone() -> None:
    environ = {"KAIJU_URL": "x", "KAIJU_TOKEN": "x", "KAIJU_TEST_DSN": "x", "PORT": "x"}
    assert load_settings(environ=environ) == Settings()


def test_the_url_of_the_database_can_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "db"
    file.write_text("postgresql://u:secret@db/k\n")
    environ = {"KAIJU_DB_FILE": str(file)}
    assert load_settings(environ=environ).db == "postgresql://u:secret@db/k"
    for other in ({"KAIJU_DB": "sqlite:///x.db"}, {"KAIJU_DB": "sqlite:///x.db", **environ}):
        assert load_settings(environ={**environ, **other}).db == "sqlite:///x.db"
    assert load_settings(environ=environ, overrides={"db": "sqlite:///y.db"}).db == "sqlite:///y.db"
    assert load_settings(environ={"KAIJU_DB_FILE": ""}).db == Settings().db


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_file_without_a_url_is_refused_by_its_path(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "db"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        load_settings(environ={"KAIJU_DB_FILE": str(file)})
    assert str(file) in str(refused.value)
    assert refused.value.field == "db"


def test_an_unknown_setting_is_refused_by_name_with_the_right_one(config: Path) -> None:
    config.write_text("ping-interval = 1\n")
    in_file = refusal(config=config)
    assert in_file.field == "ping-interval"
    assert "Did you mean ping_interval?" in in_file.message
    assert str(config) in in_file.message

    in_environment = refusal(environ={"KAIJU_PING_INTERVALL": "1"})
    assert in_environment.field == "KAIJU_PING_INTERVALL"
    assert "Did you mean KAIJU_PING_INTERVAL?" in in_environment.message

    on_command_line = refusal(overrides={"prot": 1})
    assert on_command_line.field == "prot"
    assert "Did you mean port?" in on_command_line.message


def test_an_unknown_setting_like_none_other_gets_no_guess() -> None:
    assert "Did you mean" not in refusal(environ={"KAIJU_XYZZY": "1"}).message


@pytest.mark.parametrize("name", ["KAIJU_CONFIG", "KAIJU_port", "KAIJU_", "KAIJU_TESTING"])
def test_a_variable_with_our_prefix_must_be_a_setting(name: str) -> None:
    assert refusal(environ={name: "1"}).field == name


def test_an_unknown_variables_value_is_not_shown() -> None:
    assert "s3cret" not in refusal(environ={"KAIJU_TOKEN_ADMIN": "s3cret"}).message


def service(name: str) -> dict[str, str]:
    """What the kubelet sets for a Service with one named port."""
    prefix = name.upper().replace("-", "_")
    return {
        f"{prefix}_SERVICE_HOST": "10.0.0.1",
        f"{prefix}_SERVICE_PORT": "8077",
        f"{prefix}_SERVICE_PORT_HTTP": "8077",
        f"{prefix}_SERVICE_PORT_HTTP_ADMIN2": "8078",
        f"{prefix}_PORT": "tcp://10.0.0.1:8077",
        f"{prefix}_PORT_8077_TCP": "tcp://10.0.0.1:8077",
        f"{prefix}_PORT_8077_TCP_PROTO": "tcp",
        f"{prefix}_PORT_8077_TCP_PORT": "8077",
        f"{prefix}_PORT_8077_TCP_ADDR": "10.0.0.1",
        f"{prefix}_PORT_53_UDP": "udp://[fd00::1]:53",
    }


@pytest.mark.parametrize(
    "name", ["kaiju", "kaiju-tasks", "kaiju-manager", "kaiju-db", "kaiju-2", "kaiju-service"]
)
def test_the_variables_of_a_kubernetes_service_are_ignored_and_named(name: str) -> None:
    environ = service(name)
    assert load_settings(environ={**environ, "KAIJU_MAX_BATCH": "7"}) == Settings(max_batch=7)
    assert service_variables({**environ, "KAIJU_MAX_BATCH": "7", "PATH": "/bin"}) == sorted(environ)


def test_a_port_is_the_setting_when_it_is_a_number_and_a_services_when_it_is_an_address() -> None:
    assert load_settings(environ={"KAIJU_PORT": "8078"}).port == 8078
    assert service_variables({"KAIJU_PORT": "8078"}) == []
    for address in ("tcp://10.0.0.1:8077", "udp://[fd00::1]:53", "sctp://10.0.0.1:1"):
        assert load_settings(environ={"KAIJU_PORT": address}).port == Settings().port
    assert "KAIJU_PORT" in refusal(environ={"KAIJU_PORT": "http://10.0.0.1:8077"}).message
    assert "KAIJU_PORT" in refusal(environ={"KAIJU_PORT": "tcp://10.0.0.1"}).message


@pytest.mark.parametrize(
    "name",
    [
        "KAIJU_PROT",
        "KAIJU_SERVICE_HOTS",
        "KAIJU_SERVICE",
        "KAIJU_SERVICE_PORTS",
        "KAIJU_PORT_HTTP",
        "KAIJU_PORT_8077",
        "KAIJU_PORT_8077_TCP_HOST",
        "KAIJU_service_host",
        "KAIJU_DB_PORT",
    ],
)
def test_a_name_that_is_only_like_those_of_a_service_is_refused(name: str) -> None:
    assert refusal(environ={name: "8077"}).field == name


def test_no_setting_has_a_name_that_a_service_takes() -> None:
    for item in setting_fields().values():
        assert service_variables({item.env: str(item.default)}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65536),
        ("port", -1),
        ("port", 1.5),
        ("port", "http"),
        ("port", True),
        ("port", 10**30),
        ("ping_interval", 0.01),
        ("ping_interval", 31),
        ("ping_interval", math.nan),
        ("ping_interval", "nan"),
        ("orphan_seconds", math.inf),
        ("suspend_after_pings", 1),
        ("retention_days", 0),
        ("allow_insecure_host", "yes"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("default_app_name", "manager"),
        ("default_app_name", "a\nb"),
        ("host", ""),
        ("batch_rows", [1]),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name: str, value: Any) -> None:
    error = refusal(overrides={name: value})
    assert error.field == name
    assert setting_fields()[name].allowed in error.message
    assert "--" + name.replace("_", "-") in error.message
    assert isinstance(error, InvalidParams)


def test_a_file_gives_numbers_as_numbers(config: Path) -> None:
    config.write_text('port = "8077"\n')
    error = refusal(config=config)
    assert error.field == "port"
    assert str(config) in error.message


def test_a_table_in_the_file_is_no_setting(config: Path) -> None:
    config.write_text("[manager]\nport = 1\n")
    assert refusal(config=config).field == "manager"


def test_the_databases_url_is_not_shown_in_errors(config: Path) -> None:
    config.write_text('db = ["postgresql://user:s3cret@host/db"]\n')
    assert "s3cret" not in refusal(config=config).message


@pytest.mark.parametrize("content", [b"port = = 1", b"\xff\xfe", b"port = 1\nport = 2"])
def test_a_file_that_is_no_toml_is_refused_by_its_path(config: Path, content: bytes) -> None:
    config.write_bytes(content)
    error = refusal(config=config)
    assert error.field == "config"
    assert str(config) in error.message


def test_a_file_that_is_not_there_is_refused_by_its_path(config: Path) -> None:
    error = refusal(config=config)
    assert error.field == "config"
    assert str(config) in error.message


@given(st.dictionaries(st.text(max_size=8).map("KAIJU_P".__add__), st.text(max_size=8)))
def test_any_environment_gives_settings_or_names_what_is_wrong(environ: dict[str, str]) -> None:
    wrong = None
    try:
        loaded = load_settings(environ=environ)
    except SettingsError as error:
        wrong = error.field
    assert wrong is not None or loaded.port in range(65536)


@given(st.sampled_from(sorted(setting_fields())), st.text(max_size=8) | st.floats() | st.integers())
def test_a_setting_that_is_accepted_is_of_its_type_and_range(name: str, value: Any) -> None:
    item = setting_fields()[name]
    try:
        found = getattr(load_settings(environ={}, overrides={name: value}), name)
    except SettingsError as error:
        found, wrong = item.default, error.field
    else:
        wrong = name
    assert wrong == name
    assert msgspec.convert(found, item.annotation) == found


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"max_run_results_bytes": 32 * MIB}, "max_run_results_bytes"),
        ({"max_body_bytes": 32 * MIB}, "max_body_bytes"),
        ({"max_body_bytes": 14 * MIB, "max_run_results_bytes": 25 * MIB}, "max_run_results_bytes"),
    ],
)
def test_a_task_with_its_results_must_fit_into_a_frame(given: dict[str, int], field: str) -> None:
    error = refusal(overrides=given)
    assert error.field == field
    assert "must be at most 66060288 bytes together" in error.message
    load_settings(environ={}, overrides={name: value - MIB for name, value in given.items()})


# --- the documentation


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(item: SettingField) -> str:
    cells = (f"`{item.name}`", f"`{item.env}`", f"`{_shown(item.default)}`", item.allowed)
    return f"| {' | '.join(cells)} | {item.meaning} |"


def _table() -> str:
    head = [
        "| setting | environment | default | allowed | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([TABLE_START, *head, *map(_row, setting_fields().values()), TABLE_END])


def test_the_documented_table_is_the_struct() -> None:
    before, start, rest = DOCS.read_text().partition(TABLE_START)
    table, end, after = rest.partition(TABLE_END)
    if os.environ.get(REWRITE):
        DOCS.write_text(before + _table() + after)
        return
    assert start + table + end == _table(), f"run this test with {REWRITE}=1 to rewrite the table"


def test_every_setting_says_what_it_is_for() -> None:
    assert list(setting_fields()) == [item.name for item in msgspec.structs.fields(Settings)]
    for item in setting_fields().values():
        assert item.meaning.endswith("."), item.name
