"""What Cookiecutter's Jinja does differently for this template: answers are text.

Cookiecutter renders an answer that it is given on the command line, and the paths made from it,
as it renders the defaults of cookiecutter.json, so `{{ ... }}` in an answer would run as code.
`_extensions` in cookiecutter.json names this module, for Cookiecutter and for Cruft.
"""

import json
from pathlib import Path

from jinja2.ext import Extension

HERE = Path(__file__).parent
QUESTIONS = json.loads((HERE / "cookiecutter.json").read_text(encoding="utf-8"))

# What is rendered by its content, not by the name of its file: defaults, hooks, the folder's name.
OURS = {default for default in QUESTIONS.values() if isinstance(default, str)}
OURS |= {hook.read_text(encoding="utf-8") for hook in HERE.glob("hooks/*.py")}
OURS |= {"{{cookiecutter.project_slug}}"}


class AnswersAreText(Extension):
    """Render files and what else is the template's own, and leave every other text as it is."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return the text of a template, or a template that gives the text of an answer."""
        if name is not None or source in OURS:
            return source
        return "{{ " + repr(source) + " }}"
