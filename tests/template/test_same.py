"""The project that the defaults generate is the root of this repository, file by file."""

from pathlib import Path

import pytest

from tests.template.conftest import ROOT, TEMPLATE, Generate, tracked

# What is the template's own, or this repository's: no generated project has it.
OWN = (
    ".ci/",
    ".dvcignore",
    ".github/workflows/template.yml",
    ".ignore",
    "CHANGELOG.md",  # the template's
    "benchmarks/",
    "cookiecutter.json",
    "docs/benchmarks.md",
    "docs/commands.md",
    "docs/overview.svg",
    "docs/plots.png",
    "docs/report.webp",
    "docs/template.md",
    "hooks/",
    "local_extensions.py",
    "requirements/azure.txt",
    "requirements/estimators.txt",
    "requirements/gcs.txt",
    "requirements/servers.txt",
    "requirements/ssh.txt",
    "requirements/template.txt",
    "template.mk",
    "tests/faulty.py",
    "tests/s3.py",
    "tests/template/",
    f"{TEMPLATE}/",
)


def test_default_project_is_the_root(generate: Generate) -> None:
    project = generate()
    wanted = [name for name in tracked(ROOT) if not name.startswith(OWN)]
    assert tracked(project) == wanted
    different = [
        name for name in wanted if (project / name).read_bytes() != (ROOT / name).read_bytes()
    ]
    assert different == ["README.md"]


def test_what_all_projects_share_is_linked(template: Path) -> None:
    """A copy of a file in the template folder could drift; these few differ or cannot be links."""
    files = [path for path in (template / TEMPLATE).rglob("*") if not path.is_symlink()]
    assert sorted(
        str(path.relative_to(template / TEMPLATE)) for path in files if path.is_file()
    ) == [
        ".devcontainer/devcontainer.json",
        ".dvc/.gitignore",  # Git follows no link to its own files
        ".dvc/config",
        ".gitattributes",
        ".github/workflows/main.yml",  # for projects without cd.yml
        ".gitignore",
        ".needs-hooks",
        "LICENSE",
        "README.md",
        "params.yaml",
        "pyproject.toml",
    ]


def test_links_are_relative_and_lead_somewhere(template: Path) -> None:
    links = [path for path in (template / TEMPLATE).rglob("*") if path.is_symlink()]
    assert links
    for link in links:
        assert link.readlink().parts[0] == "..", link
        assert link.resolve(strict=True).is_relative_to(template), link


@pytest.mark.parametrize("name", ["src", "tests/pipeline"])
def test_caches_stay_behind(
    name: str, generate: Generate, template: Path, request: pytest.FixtureRequest
) -> None:
    cache = template / name / "__pycache__"
    cache.mkdir()
    request.addfinalizer(lambda: (cache / "module.pyc").unlink() or cache.rmdir())  # type: ignore[func-returns-value]
    (cache / "module.pyc").touch()
    assert not list(generate().rglob("__pycache__"))
