"""Settings as options of commands."""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from kaiju_tasks.cli.completion import complete_file, complete_words
from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.errors import SettingsError
from kaiju_tasks.settings import SettingField, Settings, load_settings, setting_fields

__all__ = ["read_settings", "setting_options"]

F = TypeVar("F", bound=Callable[..., Any])


def setting_options(*names: str) -> Callable[[F], F]:
    """Give a command `--config`, and an option for each of these settings.

    :param names: names of settings; all settings if none is given
    """
    fields = setting_fields()
    chosen = [fields[name] for name in names or fields]

    def add(command: F) -> F:
        for field in reversed(chosen):
            command = _option(field)(command)
        return click.option(
            "--config",
            metavar="FILE",
            shell_complete=complete_file,
            help="A TOML file with settings.",
        )(command)

    return add


def read_settings(config: str | None, given: dict[str, Any]) -> Settings:
    """Read the settings from the file, the environment and the options.

    :param given: values of options; only settings, no other options
    :raises Failed: a setting is invalid
    """
    try:
        return load_settings(config, overrides=given)
    except SettingsError as error:
        raise Failed(str(error), USAGE, error) from error


def _option(field: SettingField) -> Callable[[F], F]:
    option = "--" + field.name.replace("_", "-")
    text = f"{field.meaning} Default: {'empty' if field.default == '' else field.default}."
    if isinstance(field.default, bool):
        return click.option(f"{option}/--no{option[1:]}", default=None, help=text)
    choices = [word for word in get_args(get_args(field.annotation)[0]) if isinstance(word, str)]
    complete = complete_words(choices) if choices else None
    return click.option(option, metavar=_metavar(field), help=text, shell_complete=complete)


def _metavar(field: SettingField) -> str:
    if field.name == "db":
        return "URL"
    if isinstance(field.default, int):
        return "INTEGER"
    if isinstance(field.default, float):
        return "SECONDS" if field.unit == "seconds" else "NUMBER"
    return "TEXT"
