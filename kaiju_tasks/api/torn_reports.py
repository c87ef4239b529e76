"""Reads the reports of a frame that is not strict JSON, or that has a wrong report among others.

JavaScript writes half an emoji as a lone surrogate, and Python writes NaN. The stage of such a
report fails with a typed error, and the other reports of the frame are taken.
"""

import json
from typing import Any

import msgspec

from kaiju_tasks.errors import InvalidParams, KaijuError
from kaiju_tasks.protocol import WHILE_RUNNING, Lease, Report, ReportError, ReportState
from kaiju_tasks.rpc import convert_json
from kaiju_tasks.types import ErrorType

__all__ = ["LOOSE_BYTES", "loosely", "readable_reports"]


LOOSE_BYTES = 256 * 1024
"""What is larger is not read in this way, which takes a thousand times as long as strict JSON. The
executor sends each report of such a frame alone, and learns which one cannot be read."""


class _Place(Lease, frozen=True):
    stage: int


def loosely(body: bytes) -> Any:
    """Decode JSON that may contain lone surrogates, NaN and bytes that are not UTF-8.

    :returns: None if it is not even that, or too large
    """
    if len(body) > LOOSE_BYTES:
        return None
    try:
        return json.loads(body.decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return None


def readable_reports(params: bytes) -> list[Report]:
    """Read each report on its own. One that cannot be read becomes the failure of its stage.

    :raises InvalidParams: the lease or the stage of a report cannot be read; `field` names it
    """
    value = loosely(params)
    reports = value.get("reports") if isinstance(value, dict) else None
    if not isinstance(reports, list):
        raise InvalidParams("`reports` must be an array", field="reports")
    return [_report(item, f"reports.{index}") for index, item in enumerate(reports)]


def _report(item: Any, path: str) -> Report:
    try:
        return convert_json(json.dumps(item).encode(), Report, prefix=path)
    except KaijuError as error:
        return _torn(item, path, error)


def _torn(item: Any, path: str, error: KaijuError) -> Report:
    try:
        place = msgspec.convert(item, _Place)
        msgspec.json.encode(place)
    except (msgspec.ValidationError, UnicodeEncodeError):
        raise InvalidParams(
            f"`{path}`: the lease or the stage cannot be read: {error}", field=path
        ) from None
    token = msgspec.structs.asdict(place)
    if item.get("state") in WHILE_RUNNING:
        return Report(**token, state=ReportState.EXTEND, seconds=0.0)
    text = f"the report of the stage is invalid: {error}"
    return Report(**token, state=ReportState.FAILED, error=ReportError(ErrorType.EXECUTION, text))
