"""All settings with their units, defaults and ranges, and how they are read.

The order of precedence is command line > environment (`KAIJU_<NAME>`) > TOML file > defaults. An
unknown setting or a value out of range is an error from every source.
"""

import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from .errors import SettingsError
from .kept import kept_of

__all__ = [
    "ENV_PREFIX",
    "SettingField",
    "Settings",
    "load_settings",
    "service_variables",
    "setting_fields",
]

ENV_PREFIX: Final = "KAIJU_"

# used by clients
_NO_SETTINGS: Final = frozenset(
    {"KAIJU_URL", "KAIJU_TOKEN", "KAIJU_TOKEN_FILE", "KAIJU_ALLOW_INSECURE_HTTP"}
)
_TEST_PREFIX: Final = "KAIJU_TEST_"
SECRET_FILES: Final = {"db": "KAIJU_DB_FILE"}
"""The variables that name files with secret settings. The setting itself is used first."""
_WORDS: Final = frozenset({"log_level", "log_format"})
_SECRET: Final = frozenset({"db"})  # may contain a password
_RULES: Final = {"task_retention_days": kept_of}
_MIB: Final = 1024 * 1024
ASSIGNMENT_BYTES_MAX: Final = 63 * _MIB
"""The largest assignment: executors take frames of 64 MiB."""

# Kubernetes sets variables with these names in each container, for every Service of the namespace.
# Those of a Service named `kaiju` or `kaiju-db` begin like settings.
_SERVICE_NAME: Final = re.compile(
    r"KAIJU_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT_NAME: Final = re.compile(r"KAIJU_(?:[A-Z0-9_]+_)?PORT")
_SERVICE_PORT: Final = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")


def _text(
    meaning: str, pattern: str | None = None, max_length: int = 4096, min_length: int = 1
) -> Meta:
    return Meta(min_length=min_length, max_length=max_length, pattern=pattern, description=meaning)


def _range(low: float, high: float, unit: str, meaning: str) -> Meta:
    return Meta(ge=low, le=high, title=unit, description=meaning)


def _word(meaning: str) -> Meta:
    return Meta(description=meaning)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. Created by `load_settings`, which checks the ranges."""

    db: Annotated[str, _text("The URL of the database.")] = "sqlite:///kaiju-tasks.db"
    host: Annotated[str, _text("The address that the manager listens on.", max_length=255)] = (
        "127.0.0.1"
    )
    port: Annotated[
        int, _range(0, 65535, "", "The port that the manager listens on; 0 chooses a free port.")
    ] = 8077
    allow_insecure_host: Annotated[
        bool, _word("Allow an address other than loopback although there are no tokens.")
    ] = False

    allowed_hosts: Annotated[
        str,
        _text(
            "Further names of the manager that the Host header may have, separated by commas; "
            "`*` is any text.",
            min_length=0,
        ),
    ] = ""
    public_url: Annotated[
        str,
        _text(
            "The URL at which clients reach the manager behind a proxy, possibly with a path.",
            min_length=0,
        ),
    ] = ""
    trusted_proxies: Annotated[
        str,
        _text(
            "The addresses or networks of proxies, separated by commas, whose X-Forwarded-For, "
            "-Proto and -Host are believed.",
            min_length=0,
        ),
    ] = ""
    tls_cert: Annotated[
        str, _text("A file with a certificate and its chain (PEM), for HTTPS.", min_length=0)
    ] = ""
    tls_key: Annotated[
        str, _text("A file with the key of the certificate (PEM).", min_length=0)
    ] = ""

    ping_interval: Annotated[
        float,
        _range(
            0.05,
            30,
            "seconds",
            "The time between two pings of an executor. Values below 1 are for tests only.",
        ),
    ] = 5.0
    suspend_after_pings: Annotated[
        int,
        _range(
            2,
            20,
            "pings",
            "The missed pings after which an executor is expelled. "
            "A lease lasts this number of ping intervals.",
        ),
    ] = 3
    reconnect_grace: Annotated[
        float,
        _range(
            0,
            300,
            "seconds",
            "The time that an executor has to reconnect after its connection was closed.",
        ),
    ] = 5.0
    orphan_seconds: Annotated[
        float,
        _range(
            0, 86400, "seconds", "How long an executor continues to work while no manager answers."
        ),
    ] = 300.0
    kill_grace: Annotated[
        float,
        _range(
            0,
            300,
            "seconds",
            "How long a thread may run past its deadline before its process is restarted.",
        ),
    ] = 5.0
    shutdown_grace: Annotated[
        float,
        _range(
            0,
            3600,
            "seconds",
            "The time that running stages have to end when a process is stopped.",
        ),
    ] = 10.0
    default_app_name: Annotated[
        str,
        _text(
            "The stream of tasks that have no app_name. `manager` is reserved.",
            pattern=r"^(?!manager$)[^\x00-\x1f\x7f]+$",
            max_length=255,
        ),
    ] = "default"

    executor_env: Annotated[
        str,
        _text(
            "The environment variables that executors of `serve --executor` get: globs, separated "
            "by commas. KAIJU_DB and those that begin with PG must be named in full.",
            max_length=10_000,
        ),
    ] = "*"
    executor_token_file: Annotated[
        str,
        _text(
            "A file with the token of the executors of `serve --executor`, for what their usual "
            "token does not allow: to declare schedules, for example. Empty: a token that only "
            "this manager accepts.",
            min_length=0,
        ),
    ] = ""

    misfire_grace: Annotated[
        float,
        _range(
            0,
            86400,
            "seconds",
            "Fires that come while no manager is up run late if that time is not longer than this.",
        ),
    ] = 60.0
    poll_interval: Annotated[
        float,
        _range(
            0.1,
            60,
            "seconds",
            "The time between the polls of the database that find work if a wake-up is lost.",
        ),
    ] = 2.0
    batch_rows: Annotated[
        int, _range(1, 5000, "rows", "The most rows written in one transaction.")
    ] = 500
    db_connections: Annotated[
        int,
        _range(
            2, 100, "connections", "The most connections to PostgreSQL. SQLite uses one connection."
        ),
    ] = 4

    max_body_bytes: Annotated[
        int, _range(1024, 256 * _MIB, "bytes", "The maximum size of a request body.")
    ] = _MIB
    max_result_bytes: Annotated[
        int, _range(64, 256 * _MIB, "bytes", "The maximum size of the result of a stage.")
    ] = _MIB
    max_run_results_bytes: Annotated[
        int, _range(64, 1024 * _MIB, "bytes", "The maximum size of all results of a run together.")
    ] = 16 * _MIB
    max_batch: Annotated[
        int, _range(1, 10000, "calls", "The most calls in one JSON-RPC batch.")
    ] = 100
    max_json_depth: Annotated[
        int, _range(4, 200, "levels", "The maximum nesting depth of JSON in requests.")
    ] = 64

    max_family_depth: Annotated[
        int,
        _range(
            1, 1000, "creations", "The most creations of tasks by tasks, one caused by the other."
        ),
    ] = 16
    max_family_tasks: Annotated[
        int,
        _range(
            1,
            10_000_000,
            "tasks",
            "The most tasks that a run creates, itself and through what it creates, in a day.",
        ),
    ] = 20_000

    max_open_tasks: Annotated[
        int,
        _range(
            0,
            1_000_000_000,
            "tasks",
            "The most tasks of one principal that have not ended; 0 is no limit. Administrators "
            "have none.",
        ),
    ] = 100_000
    max_creates_per_second: Annotated[
        float,
        _range(
            0,
            1_000_000,
            "tasks",
            "The most tasks that one principal creates in a second, averaged over ten; 0 is no "
            "limit. Administrators have none.",
        ),
    ] = 0.0
    max_pauses: Annotated[
        int,
        _range(
            0,
            1_000_000_000,
            "pauses",
            "The most pauses that one principal has added; 0 is no limit. Administrators have "
            "none.",
        ),
    ] = 1000

    webhook_timeout: Annotated[
        float,
        _range(0.1, 300, "seconds", "The time that the receiver of a webhook has to answer."),
    ] = 15.0
    webhook_networks: Annotated[
        str,
        _text(
            "Addresses and networks, separated by commas, that webhooks may call beside public "
            "ones. As long as no token exists, they may call every address.",
            min_length=0,
        ),
    ] = ""
    retention_days: Annotated[
        float,
        _range(0.01, 36500, "days", "How long finished runs and notifications are kept."),
    ] = 30.0
    task_retention_days: Annotated[
        str,
        _text(
            "How many days ended tasks are kept: a number for all, `STREAM=DAYS` for a stream, "
            "`label.KEY:VALUE=DAYS` for a label, separated by commas; `never` keeps them. Empty: "
            "none is deleted.",
            min_length=0,
        ),
    ] = ""
    audit_retention_days: Annotated[
        float, _range(0.01, 36500, "days", "How long audit records are kept.")
    ] = 365.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        _word("The lowest level that is logged."),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        _word("The format of log lines: text for people, or one JSON object on each line."),
    ] = "text"

    @property
    def lease_seconds(self) -> float:
        """How long an executor holds its tasks after a ping, in seconds."""
        return self.ping_interval * self.suspend_after_pings


@dataclass(frozen=True, slots=True)
class SettingField:
    """The description of one setting.

    :param unit: unit of the number; empty if it has none
    :param allowed: the range or the choices, as text
    """

    name: str
    env: str
    default: str | int | float | bool
    unit: str
    allowed: str
    meaning: str
    annotation: Any


class _Given(NamedTuple):
    value: Any
    source: str
    is_text: bool


@lru_cache(maxsize=1)
def setting_fields() -> dict[str, SettingField]:
    """Return all settings by name, in the order of `Settings`."""
    hints = get_type_hints(Settings, include_extras=True)
    described = (_describe(item, hints[item.name]) for item in msgspec.structs.fields(Settings))
    return {item.name: item for item in described}


def load_settings(
    config: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings: defaults < TOML file < environment < overrides.

    :param config: a TOML file with settings as top-level keys
    :param environ: `KAIJU_<NAME>` sets `<name>`; an empty value counts as not set; the variables
        of `service_variables` are ignored
    :param overrides: values from the command line; None counts as not set
    :raises SettingsError: a setting is unknown or invalid; `field` is its name, or `config` if the
        file cannot be read
    """
    given: dict[str, _Given] = {}
    if config is not None:
        given.update(_from_file(config))
    given.update(_from_environment(environ))
    given.update(_from_overrides(overrides or {}))
    settings = Settings(**{name: _checked(name, item) for name, item in given.items()})
    _check_assignments(settings, given)
    return settings


def _check_assignments(settings: Settings, given: Mapping[str, "_Given"]) -> None:
    """An assignment has the task, and its earlier results by index and by name."""
    size = settings.max_body_bytes + 2 * settings.max_run_results_bytes
    if size <= ASSIGNMENT_BYTES_MAX:
        return
    results, body = "max_run_results_bytes", "max_body_bytes"
    raise SettingsError(
        f"{body} and twice {results} must be at most {ASSIGNMENT_BYTES_MAX} bytes together, not "
        f"{size}: executors take frames of up to 64 MiB.",
        field=results if results in given else body,
    )


def service_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the variables that Kubernetes sets for Services whose names begin with `kaiju`.

    `load_settings` ignores them. `KAIJU_PORT` is one of them if its value is an address such as
    `tcp://10.0.0.1:8077`, and a setting if it is a number.
    """
    return sorted(name for name, text in environ.items() if _is_of_a_service(name, text))


def _is_of_a_service(name: str, text: str) -> bool:
    if _SERVICE_NAME.fullmatch(name):
        return True
    return bool(_SERVICE_PORT_NAME.fullmatch(name) and _SERVICE_PORT.fullmatch(text.strip()))


def _from_file(config: str | os.PathLike[str]) -> Iterator[tuple[str, _Given]]:
    source = os.fspath(config)
    for name, value in _read_toml(source).items():
        _refuse_unknown(name, name, source, list(setting_fields()))
        yield name, _Given(value, source, is_text=False)


def _read_toml(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"{path} cannot be read: {reason}.", field="config") from error
    except ValueError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.", field="config") from error


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, _Given]]:
    by_env = {item.env: item.name for item in setting_fields().values()}
    for name, env in SECRET_FILES.items():
        if path := environ.get(env, "").strip():
            yield name, _Given(_secret_in(path, env), env, is_text=True)
    for env, text in environ.items():
        if env in SECRET_FILES.values():
            continue
        if not env.startswith(ENV_PREFIX) or env in _NO_SETTINGS or env.startswith(_TEST_PREFIX):
            continue
        if _is_of_a_service(env, text):
            continue
        _refuse_unknown(env, env, "the environment", list(by_env))
        if text.strip():
            yield by_env[env], _Given(text.strip(), env, is_text=True)


def _secret_in(path: str, env: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read().strip()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"{env}: {path} cannot be read: {reason}.", field="db") from error
    except ValueError as error:
        raise SettingsError(f"{env}: {path} is not text.", field="db") from error
    if not text:
        raise SettingsError(f"{env}: {path} is empty.", field="db")
    return text


def _from_overrides(overrides: Mapping[str, Any]) -> Iterator[tuple[str, _Given]]:
    for name, value in overrides.items():
        option = "--" + name.replace("_", "-")
        _refuse_unknown(name, option, "the command line", list(setting_fields()))
        if value is not None:
            yield name, _Given(value, option, is_text=isinstance(value, str))


def _refuse_unknown(name: str, shown: str, source: str, known: list[str]) -> None:
    if name in known:
        return
    spelt = {item.lower(): item for item in known}
    close = get_close_matches(name.lower().replace("-", "_"), spelt, n=1, cutoff=0.7)
    hint = f" Did you mean {spelt[close[0]]}?" if close else ""
    raise SettingsError(f"Unknown setting {shown} (in {source}).{hint}", field=name)


def _checked(name: str, given: _Given) -> Any:
    value = given.value
    if name in _RULES:
        return _checked_rules(name, given)
    if name in _WORDS and isinstance(value, str):
        value = value.lower()
    try:
        checked = msgspec.convert(
            value, setting_fields()[name].annotation, strict=not given.is_text
        )
    except (msgspec.ValidationError, OverflowError) as error:
        raise _wrong(name, given) from error
    if isinstance(checked, float) and not math.isfinite(checked):
        raise _wrong(name, given)
    return checked


def _checked_rules(name: str, given: _Given) -> str:
    """A setting that is a number or a list of rules."""
    number = isinstance(given.value, int | float) and not isinstance(given.value, bool)
    text = str(given.value) if number else given.value
    if not isinstance(text, str):
        raise _wrong(name, given)
    try:
        _RULES[name](text)
    except ValueError as error:
        raise SettingsError(f"{name}: {error} (from {given.source}).", field=name) from error
    return text


def _wrong(name: str, given: _Given) -> SettingsError:
    allowed = setting_fields()[name].allowed
    value = "" if name in _SECRET else f", not {given.value!r:.80}"
    return SettingsError(f"{name} must be {allowed}{value} (from {given.source}).", field=name)


def _describe(item: msgspec.structs.FieldInfo, hint: Any) -> SettingField:
    kind, meta = get_args(hint)
    unit = meta.title or ""
    return SettingField(
        name=item.name,
        env=ENV_PREFIX + item.name.upper(),
        default=item.default,
        unit=unit,
        allowed=_allowed(kind, meta, unit),
        meaning=meta.description or "",
        annotation=hint,
    )


def _allowed(kind: Any, meta: Meta, unit: str) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if kind is bool:
        return "true or false"
    if kind is str:
        return f"text of 1 to {meta.max_length} characters" + _exceptions(meta)
    number = "a whole number" if kind is int else "a number"
    return f"{number} from {meta.ge} to {meta.le}" + (f" ({unit})" if unit else "")


def _exceptions(meta: Meta) -> str:
    return ", no control characters and not 'manager'" if meta.pattern else ""
