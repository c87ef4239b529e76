"""Templates, which are filled from earlier results, and conditions on these results.

Pure and bounded: no code is evaluated and no attribute is read. Filling a compiled template gives a
value or raises :class:`~kaiju_tasks.errors.TemplateError`. docs/templates.md defines the language.
"""

from kaiju_tasks.templates.compiled import (
    compiled_condition,
    compiled_template,
    compiled_with,
)
from kaiju_tasks.templates.condition import Condition, compile_condition
from kaiju_tasks.templates.nodes import MISSING
from kaiju_tasks.templates.problems import condition_problems, template_problems
from kaiju_tasks.templates.roots import ANY_ROOT, OWN_ROOTS
from kaiju_tasks.templates.stage_data import StageData
from kaiju_tasks.templates.template import Template, compile_template

__all__ = [
    "ANY_ROOT",
    "MISSING",
    "OWN_ROOTS",
    "Condition",
    "StageData",
    "Template",
    "compile_condition",
    "compile_template",
    "compiled_condition",
    "compiled_template",
    "compiled_with",
    "condition_problems",
    "template_problems",
]
