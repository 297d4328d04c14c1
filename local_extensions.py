"""What Cookiecutter's Jinja does differently for this template: answers are text, hooks get code.

Cookiecutter renders an answer that it is given on the command line, and the paths made from it,
as it renders the defaults of cookiecutter.json, so `{{ ... }}` in an answer would run as code.
`_extensions` in cookiecutter.json names this module, for Cookiecutter and for Cruft.
"""

import json
from pathlib import Path

from jinja2 import Environment
from jinja2.ext import Extension

HERE = Path(__file__).parent
QUESTIONS = json.loads((HERE / "cookiecutter.json").read_text(encoding="utf-8"))

# What is rendered by its content, not by the name of its file: defaults, hooks, the folder's name.
OURS = {default for default in QUESTIONS.values() if isinstance(default, str)}
OURS |= {hook.read_text(encoding="utf-8") for hook in HERE.glob("hooks/*.py")}
OURS |= {"{{cookiecutter.project_slug}}"}

# What hooks read a table with, as the pipeline does: modules that need the standard library only.
SHARED = {
    f"src.shared.{name}": (HERE / f"src/shared/{name}.py").read_text(encoding="utf-8")
    for name in ("fields", "lines")
}


class AnswersAreText(Extension):
    """Render files and what else is the template's own, and leave every other text as it is."""

    def __init__(self, environment: Environment) -> None:
        """Give hooks the source of the modules above as `shared`."""
        super().__init__(environment)
        environment.globals["shared"] = SHARED

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return the text of a template, or a template that gives the text of an answer."""
        if name is not None or source in OURS:
            return source
        return "{{ " + repr(source) + " }}"
