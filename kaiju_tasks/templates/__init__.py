"""Data between stages: templates filled from earlier results, conditions asked of them.

Pure and bounded: nothing is evaluated, no attribute is read, and every template that compiles ends
in a value or in a :class:`~kaiju_tasks.errors.TemplateError`. The language is in docs/templates.md.
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
from kaiju_tasks.templates.template import Template, compile_template

__all__ = [
    "ANY_ROOT",
    "MISSING",
    "OWN_ROOTS",
    "Condition",
    "Template",
    "compile_condition",
    "compile_template",
    "compiled_condition",
    "compiled_template",
    "compiled_with",
    "condition_problems",
    "template_problems",
]
