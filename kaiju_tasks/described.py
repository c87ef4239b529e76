"""How a field is described to programs, where its Python type says less."""

from dataclasses import dataclass
from typing import Any

__all__ = ["DescribedAs"]


@dataclass(frozen=True, slots=True)
class DescribedAs:
    """Metadata of a field that is checked elsewhere, or written as bytes that are ready.

    `Annotated[Any, DescribedAs(list[str])]` takes anything and has the schema of a list of text.

    :param type: what the schemas say
    """

    type: Any
