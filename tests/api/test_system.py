"""`system.info`"""

from kaiju_tasks.types import Limit
from tests.core.test_types import DOCUMENTED_LIMITS
from tests.manager.hand import Calls


async def test_info_has_every_limit_under_its_name(call: Calls) -> None:
    limits = (await call("system.info"))["limits"]
    assert limits.items() >= DOCUMENTED_LIMITS.items()
    assert limits.items() >= Limit.by_name().items()
