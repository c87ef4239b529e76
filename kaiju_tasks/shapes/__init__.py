"""The parameters of commands, by the JSON Schemas that executors announce. Pure.

A value is refused only if it is certainly invalid: executors in any language write the schemas.
"""

from kaiju_tasks.shapes.shape import ANYTHING, Misfit, Shape, shape

__all__ = ["ANYTHING", "Misfit", "Shape", "shape"]
