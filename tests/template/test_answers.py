"""What comes out for right answers, and what is said of wrong ones."""

import configparser
import json
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml  # type: ignore[import-untyped]
from cookiecutter.exceptions import FailedHookException  # type: ignore[import-untyped]
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from src.metrics import METRICS
from src.shared import params
from src.shared.measure import Predictions, headline
from tests.template.conftest import ROOT, Generate, tracked

DEMO = re.compile("diagnosis|malignant|benign|breast|wisconsin|cancer|mean_radius|b944627d", re.I)
OTHERS = {
    "s3": re.compile(r"AWS_|s3_"),
    "gcs": re.compile("gcs|gcloud|GCP_|dvc-gs"),
    "azure": re.compile("azure", re.I),
    "ssh": re.compile("ssh", re.I),
}

MULTICLASS = {"task": "multiclass", "target": "grade", "metric": "f1_macro", "bound": "0.5"}
BINARY = {"task": "binary", "target": "ripe", "positive": "1", "metric": "roc_auc", "bound": "0.8"}
REGRESSION = {"task": "regression", "target": "price", "bound": "1.5"}
S3 = {"remote": "s3", "remote_url": "s3://bucket/some/path"}
MINIO = S3 | {"s3_endpoint": "http://127.0.0.1:9000", "s3_region": "eu-central-1"}
GCS = {"remote": "gcs", "remote_url": "gs://bucket"}
AZURE = {"remote": "azure", "remote_url": "azure://container/path"}
SSH = {"remote": "ssh", "remote_url": "ssh://me@server:2222/srv/dvc"}
OWN = {"data": "table.csv"}


def texts(project: Path) -> Iterator[tuple[str, str]]:
    """Give each file's name and content; the locks' hashes may hold any letters."""
    for name in tracked(project):
        if not name.startswith(("requirements/", "data/remote/")):
            yield name, (project / name).read_text(encoding="utf-8")


def git(project: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True)
    return done.stdout


@pytest.mark.parametrize(
    "answers",
    [
        {"project_name": "Défaut", "license": "BSD-3-Clause", "python_version": "3.12"},
        {"bound": "0.95", "license": "Apache-2.0", "python_version": "3.13"},
        {"metric": "log_loss", "bound": "0.3", "license": "proprietary"},
        {"positive": "benign", "metric": "recall", "bound": "1", "python_version": "3.14"},
        S3,
        MINIO,
        GCS,
        AZURE,
        SSH,
        OWN | BINARY,
        OWN | BINARY | {"metric": "brier", "bound": ".2"} | GCS,
        OWN | MULTICLASS,
        OWN | MULTICLASS | {"task": "multiclass", "target": "ripe"},
        OWN | MULTICLASS | {"metric": "brier", "bound": "1.5"} | MINIO,
        OWN | REGRESSION,
        OWN | REGRESSION | {"metric": "r2", "bound": "-1e-1"} | S3,
        OWN | REGRESSION | {"metric": "mape", "bound": "12"} | AZURE,
        OWN | REGRESSION | {"license": "proprietary", "python_version": "3.14"} | SSH,
    ],
    ids=lambda answers: "-".join(answers.values()).replace("/", ":"),
)
def test_right_answers(answers: dict[str, str], generate: Generate, table: Path) -> None:
    project = generate(**answers)
    own, remote = "data" in answers, answers.get("remote", "embedded")

    for name, text in texts(project):
        assert text or name.endswith("/__init__.py"), name
        assert "cookiecutter" not in text.lower(), name
        assert not re.search(r"(?<!\$)\{\{|\{%|\{#", text), name
        assert not own or not DEMO.search(text), name
        if name.endswith(".json"):
            json.loads(text)
        elif name.endswith((".yaml", ".yml", ".lock", ".dvc")):
            yaml.safe_load(text)
    for name in tracked(ROOT):
        if name.startswith(("src/", "tests/pipeline/")) or name in ("dvc.yaml", "Makefile"):
            assert (project / name).read_bytes() == (ROOT / name).read_bytes(), name

    params.load(project / "params.yaml")
    settings = YAML(typ="safe", pure=True).load(project / "params.yaml")
    metric = answers.get("metric", "rmse" if answers.get("task") == "regression" else "accuracy")
    side = "max" if metric in ("log_loss", "brier", "mape", "rmse") else "min"
    bound = float(answers.get("bound", 0.9))
    assert settings["gate"][metric] == {
        side: bound,
        "max_drop": pytest.approx(0.05 * bound) if side == "max" else 0.02,
    }
    assert settings["evaluate"]["metric"] == metric
    assert len(settings["gate"]) == (2 if metric == "accuracy" else 1)

    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert about["project"]["requires-python"] == f">={answers.get('python_version', '3.11')},<3.15"
    plugin = {"gcs": "dvc-gs", "azure": "dvc-azure", "ssh": "dvc-ssh"}.get(remote)
    names = [line.partition(">")[0] for line in about["dependency-groups"].get("remote", [])]
    assert names == ([plugin] if plugin else [])
    locks = {"cluster.txt", "dev.txt", "pipeline.txt", "serve.txt", "workflow.txt"}
    locks |= {"remote.txt"} if plugin else set()
    assert {path.name for path in (project / "requirements").iterdir()} == locks
    if plugin:
        assert f"{plugin}==" in (project / "requirements/remote.txt").read_text(encoding="utf-8")

    config = configparser.ConfigParser()
    config.read_string((project / ".dvc/config").read_text(encoding="utf-8"))
    sections = ["'remote \"embedded\"'"] * (remote == "embedded" or not own)
    sections += ["'remote \"storage\"'"] * (remote != "embedded")
    assert config.sections() == ["core", *sections]
    assert config["core"]["remote"] == ("embedded" if remote == "embedded" else "storage")
    if remote != "embedded":
        assert config["'remote \"storage\"'"]["url"] == answers["remote_url"]
    readme = (project / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## The remote")[2].partition("\n## ")[0]
    for other, words in OTHERS.items():
        found = words.search(section.replace("dvc[s3]", ""))
        assert bool(found) == (other == remote), f"{other}: {found}"

    if own:
        assert (project / "data/raw.csv").read_bytes() == table.read_bytes()
        assert [path.name for path in (project / "data").iterdir()] == ["raw.csv"]
        assert not (project / "metrics").exists()
        assert not (project / "dvc.lock").exists()
    assert git(project, "log", "--format=%s") == "Start from the template\n"
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    "text",
    [
        'it\'s "quoted" \'\'\'thrice\'\'\' """thrice"""',
        "back\\slash \\n \\u0041 at the end\\",
        "{one} brace, ${HOME}, $(touch broken), `touch broken`",
        '"""); __import__("os").mkdir("broken") #',
        '{{ cycler.__init__.__globals__.os.mkdir("broken") }} {{ 7 * 7 }} {% raw %} {# {{',
        "<b>&amp;</b> *not bold* _nor this_ [no](link) # | ~~x~~ $a$",
        "Äpfel, 東京の林檎, 🍎👩‍💻",
        ": - yaml? !tag &anchor @ % true",
        "- no list",
        "1. FC Köln",
        "no",
    ],
)
def test_any_text_comes_out_right(text: str, generate: Generate, tmp_path: Path) -> None:
    rows = "".join(f"{row},{row % 2}\n" for row in range(8))
    header = '"' + text.replace('"', '""') + '"'
    (tmp_path / "t.csv").write_text(f"size,{header}\n{rows}", encoding="utf-8", newline="")
    answers = BINARY | {"target": text, "data": "t.csv", "project_slug": "fruit"}
    project = generate(project_name=text, description=text, author=text, **answers)

    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert about["project"]["description"] == text
    for load in (YAML(typ="safe", pure=True).load, yaml.safe_load):
        settings = load((project / "params.yaml").read_text(encoding="utf-8"))
        assert settings["data"]["target"] == text
        assert settings["data"]["positive"] == 1
    assert f"Copyright (c) {text}\n" in (project / "LICENSE").read_text(encoding="utf-8")
    parser = MarkdownIt("gfm-like", {"linkify": False})
    tokens = parser.parse((project / "README.md").read_text(encoding="utf-8"))
    lines = ["".join(part.content for part in token.children or ()) for token in tokens]
    lines = [line for line in lines if line]
    assert lines[:2] == [text, text]
    assert text in lines[2]
    assert not list(tmp_path.rglob("broken"))


def test_no_sign_makes_a_template_of_an_answer(generate: Generate, tmp_path: Path) -> None:
    """JSON given to cruft can hold signs that no command line can, such as NUL."""
    with pytest.raises(FailedHookException):
        generate(author='\0{{ cycler.__init__.__globals__.os.mkdir("broken") }}')
    assert not list(tmp_path.iterdir())


# Answers, and for each that is wrong what the message says is allowed.
WRONG: list[tuple[dict[str, str], dict[str, str]]] = [
    (
        {"project_slug": "two words", "author": "two\nlines", "description": "\ufffe"}
        | {"task": "regression", "metric": "accuracy", "bound": "high", "remote_url": "s3://b"},
        {
            "project_slug": "a folder name",
            "author": "one line of text",
            "description": "one line of text",
            "task": "with the demo's data binary",
            "metric": "for regression one of mae, mape, r2, rmse",
            "bound": "a number, such as 0.9",
            "remote_url": "nothing, as the embedded remote has no URL",
        },
    ),
    (
        {"project_slug": "a/b/c", "author": " ", "target": "mean_radius", "positive": "bad"}
        | {"metric": "rmse", "bound": "1e999", "remote": "s3"},
        {
            "project_slug": "a folder name",
            "author": "some text",
            "target": "with the demo's data diagnosis",
            "positive": "with the demo's data malignant or benign",
            "metric": "for binary one of accuracy, ",
            "remote_url": "for s3 a URL such as s3://bucket/path",
        },
    ),
    (
        {"project_slug": "CON", "bound": "1.01", "remote": "gcs", "remote_url": "s3://b"}
        | {"s3_region": "r", "s3_endpoint": "h"},
        {
            "project_slug": "a folder name",
            "bound": "for accuracy a finite number from 0 to 1",
            "remote_url": "for gcs a URL such as gs://bucket/path",
            "s3_region": "nothing, as it is for s3 only",
            "s3_endpoint": "nothing, as it is for s3 only",
        },
    ),
    (
        S3 | {"project_slug": "-x", "bound": "-0.1", "s3_region": "Paris?", "s3_endpoint": "host"},
        {
            "project_slug": "a folder name",
            "bound": "for accuracy a finite number from 0 to 1",
            "s3_region": "a region such as",
            "s3_endpoint": "the URL of a server",
        },
    ),
    (
        OWN,
        {
            "target": "a column: größe, colour, weight, g, grade, ripe, price",
            "positive": "the class that counts as positive",
            "bound": "a number, such as 0.9",
        },
    ),
    (
        {"data": "s3://bucket/t.csv"} | MULTICLASS,
        {"data": "a path, or a URL that starts with http"},
    ),
    (
        {"data": "none.csv", "remote": "azure", "remote_url": "b/c"} | MULTICLASS,
        {
            "data": "a file that exists; none is at /",
            "remote_url": "for azure a URL such as azure:",
        },
    ),
    (
        {"data": "table.xlsx", "remote": "ssh", "remote_url": "/srv"} | MULTICLASS,
        {
            "data": "demo, or the path or URL of a .csv",
            "remote_url": "for ssh a URL such as ssh://",
        },
    ),
    (
        {"data": "http://127.0.0.1:9/my t.csv", "remote": "s3", "remote_url": "s3://b/' c"}
        | MULTICLASS,
        {"data": "a URL that can be read", "remote_url": "for s3 a URL such as"},
    ),
    (
        OWN | MULTICLASS | {"target": "Grade", "positive": "a", "bound": "nan"},
        {
            "target": "a column: größe, colour",
            "positive": "nothing, as multiclass has",
            "bound": "a number",
        },
    ),
    (
        OWN | BINARY | {"target": "grade", "bound": "0,9"},
        {"task": "multiclass, as the target has 3 different values: first", "bound": "a number"},
    ),
    (OWN | BINARY | {"target": "price"}, {"task": "regression, as the target has"}),
    (OWN | BINARY | {"positive": "2"}, {"positive": "0 or 1"}),
    (
        OWN | BINARY | {"separator": "ab", "encoding": "utf-99"},
        {"separator": "one sign, such as ;", "encoding": "an encoding that Python knows"},
    ),
    (
        {"separator": ";", "missing": "?"},
        dict.fromkeys(("separator", "missing"), "with the demo's data"),
    ),
    (OWN | BINARY | {"decimal": ","}, {"separator": "another sign than decimal"}),
    (OWN | MULTICLASS | {"target": "price"}, {"task": "regression, as the target's"}),
    (
        OWN | REGRESSION | {"target": "grade", "bound": "-1"},
        {"task": "binary or multiclass", "bound": "for rmse a finite number from 0 to inf"},
    ),
    (
        OWN | REGRESSION | {"metric": "r2", "bound": "2"},
        {"bound": "for r2 a finite number from -inf to 1"},
    ),
]


@pytest.mark.parametrize(("answers", "allowed"), WRONG, ids=lambda case: "-".join(case))
def test_wrong_answers(
    answers: dict[str, str],
    allowed: dict[str, str],
    generate: Generate,
    table: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Where the slug makes a folder in a folder, Cookiecutter misses it when it cleans up.
    with pytest.raises((FailedHookException, FileNotFoundError)):
        generate(**answers)
    message = capfd.readouterr().err
    for key, phrase in allowed.items():
        assert re.search(f"^  {key} is .*; allowed: {re.escape(phrase)}", message, re.M), message
    named = set(re.findall(r"^  (\w+) is ", message, re.M))
    assert named == set(allowed), message
    assert list(table.parent.iterdir()) == [table]


def test_choices_are_closed(generate: Generate) -> None:
    for key in ("license", "python_version", "parts", "task", "remote"):
        with pytest.raises(ValueError, match="the choices are"):
            generate(**{key: "something"})


def predictions(task: str) -> Predictions:
    if task == "regression":
        return Predictions(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0]))
    classes = ["a", "b"] if task == "binary" else ["a", "b", "c"]
    scores = np.eye(len(classes)) * 0.5 + 0.5 / len(classes)
    labels = np.array(classes)
    return Predictions(labels, labels, classes, scores, True, task == "binary")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_metrics_are_those_of_the_pipeline(task: str) -> None:
    offered = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))["_metrics"][task]
    sides = {"higher": "min", "lower": "max"}
    assert {name: side for name, (side, *_) in offered.items()} == {
        name: sides[metric.better] for name, metric in METRICS.items() if task in metric.tasks
    }
    made = headline(predictions(task))
    assert set(offered) == {name for name in made if not re.match("recall_[abc]$", name)}
    for name, (_, low, high) in offered.items():
        assert float(low) <= made[name] <= float(high), name


def test_bad_files(generate: Generate, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latin.csv").write_bytes("größe,ripe\n1,2\n".encode("latin-1"))
    (tmp_path / "empty.csv").touch()
    (tmp_path / "text.parquet").write_text("no parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "german.csv").write_text("size;ripe\n1,5;2\n")
    (tmp_path / "twice.csv").write_text("\n\nprice,a,a\n1.5,2,3\n2.5,3,4\n")
    (tmp_path / "ends.csv").write_text("size,price,\n1,2\n")
    (tmp_path / "ragged.csv").write_text("size,price\n1,2\n\n3,4,5\n")
    (tmp_path / "open.csv").write_text('size,price\n1,"2\n3,4\n')
    (tmp_path / "header.csv").write_text("size,price\n")
    (tmp_path / "comma.csv").write_text('size,price\n1,"2,5"\n2,"3,5"\n')
    (tmp_path / "odd.csv").write_text("size,price\n1,2.5\n2,?\n3,3.5\n")
    (tmp_path / "none.csv").write_text("size,price\n1,NA\n2,\n")
    for name, phrase in {
        "latin.csv": "'cp1252', as the file is not UTF-8 text; it seems to be cp1252, where it "
        "holds 'größe,ripe'; or a file in UTF-8",
        "german.csv": "';', as the file has one column, 'size;ripe', so its",
        "twice.csv": "a file whose columns have different names; repeated: a\n",
        "empty.csv": "a file with a header",
        "text.parquet": "a Parquet file, which this file is not",
        "cut.parquet": "a Parquet file that can be read",
        "ends.csv": "a table that can be read; line 2 has 2 fields, the header has 3: the header "
        "ends with a ',' and the line does not",
        "ragged.csv": "a table that can be read; line 4 has 3 fields, the header has 2: 3,4,5",
        "open.csv": "a table that can be read; a quoted field is not closed",
        "header.csv": "a file with rows below its header",
        "comma.csv": "',', as the target holds 2,5, 3,5",
        "odd.csv": "?, if that stands for a missing value; the other values are numbers",
        "none.csv": "a column that holds values",
    }.items():
        with pytest.raises(FailedHookException):
            generate(data=name, **REGRESSION)
        assert f"allowed: {phrase}" in capfd.readouterr().err
    assert len(list(tmp_path.iterdir())) == 13


def test_parquet_without_pyarrow(
    generate: Generate, table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    """As under `uvx cookiecutter`: at least the target's name is looked for."""
    (tmp_path / "none/pyarrow").mkdir(parents=True)
    (tmp_path / "none/pyarrow/__init__.py").write_text("raise ImportError")
    pd.read_csv(table).to_parquet("t.parquet")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "none"))
    assert (generate(data="t.parquet", **REGRESSION) / "data/raw.parquet").exists()
    with pytest.raises(FailedHookException):
        generate(data="t.parquet", project_slug="x", **REGRESSION | {"target": "prize"})
    assert 'target is "prize"; allowed: a column of the file' in capfd.readouterr().err


def test_parquet(
    generate: Generate, table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my table.PARQUET"
    pd.read_csv(table).to_parquet(path)
    project = generate(data=path.name, **REGRESSION)
    assert (project / "data/raw.parquet").read_bytes() == path.read_bytes()
    assert "raw: data/raw.parquet  #" in (project / "params.yaml").read_text(encoding="utf-8")
    with pytest.raises(FailedHookException):
        generate(data=path.name, project_slug="x", **BINARY | {"target": "price"})
    assert 'task is "binary"; allowed: regression' in capfd.readouterr().err
    for kind, written in (("str", '"1"'), ("int64", "1"), ("float64", "1.0")):
        pd.read_csv(table).astype({"ripe": kind}).to_parquet("classes.parquet")
        positive = "1.0" if kind == "float64" else "1"
        answers = BINARY | {"positive": positive, "project_slug": kind}
        project = generate(data="classes.parquet", **answers)
        assert f"positive: {written}  #" in (project / "params.yaml").read_text(encoding="utf-8")


def test_url(
    generate: Generate, table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            project = generate(data=f"{address}/table.csv?download=1", **REGRESSION)
            with pytest.raises(FailedHookException):
                generate(data=f"{address}/none.csv", project_slug="x", **REGRESSION)
        finally:
            server.shutdown()
    assert (project / "data/raw.csv").read_bytes() == table.read_bytes()
    assert "a URL that can be read: HTTP Error 404" in capfd.readouterr().err
    assert not (tmp_path / "x").exists()


def test_inside_a_repository(generate: Generate, tmp_path: Path) -> None:
    git(tmp_path, "init")
    project = generate()
    assert not (project / ".git").exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("PATH", "", "install Git, then `git init`"), ("GIT_CONFIG_GLOBAL", "", "set user.name")],
)
def test_no_git_no_identity(
    name: str,
    value: str,
    said: str,
    generate: Generate,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    assert (generate() / "src/train.py").exists()
    assert said in capfd.readouterr().out


def test_closing_text_fits_a_terminal(
    generate: Generate, capfd: pytest.CaptureFixture[str]
) -> None:
    generate(project_name="Fruit")
    said = capfd.readouterr().out
    assert "  cd fruit\n  make repro " in said
    assert "\n  make test " in said
    assert "README.md" in said
    assert max(map(len, said.splitlines())) < 80


def test_format_of_the_file_is_asked_for_and_kept(
    generate: Generate, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the messages say is allowed is."""
    rows = "".join(f"{at},5;{'nein' if at % 2 else 'ja'}\n" for at in range(20))
    (here / "german.csv").write_bytes(f"größe;reif\n{rows}3,5;?\n".encode("cp1252"))
    answers = {"data": "german.csv", "target": "reif", "positive": "ja", "bound": "0.5"}
    for key, value in {"encoding": "cp1252", "separator": ";", "missing": "?, -"}.items():
        with pytest.raises(FailedHookException):
            generate(**answers)
        message = capfd.readouterr().err
        assert key in message
        assert value.partition(",")[0] in message
        answers[key] = value
    project = generate(**answers)
    said = " ".join(capfd.readouterr().out.split())
    assert "decimal commas, such as 0,5, seem to stand in größe. With decimal '.'" in said
    data = params.load(project / "params.yaml").data
    assert (data.encoding, data.separator, data.decimal) == ("cp1252", ";", ".")
    assert data.missing == ["?", "-"]
    answers |= {"decimal": ",", "project_slug": "again"}
    assert params.load(generate(**answers) / "params.yaml").data.decimal == ","
    assert "decimal" not in capfd.readouterr().out


def test_what_the_first_run_stops_at_is_told(generate: Generate, here: Path, capfd) -> None:
    rows = "".join(f"{at},{at},{'abc'[at % 2 + (at == 9)]}\n" for at in range(30))
    (here / "t.csv").write_text(f",x,y\n{rows}30,30,\n")
    generate(data="t.csv", task="multiclass", target="y", bound="0.5")
    said = " ".join(capfd.readouterr().out.split())
    assert 'column 1 has no name; set `drop: [""]` under data' in said
    assert "y is missing in 1 of 31 rows; to leave them out, set `missing_target: drop`" in said
    assert "class 'c' is that of 1 of 31 rows, too few for a test and five folds" in said
    assert "`drop_rare_classes: 6`" in said


@pytest.mark.parametrize("tab", ["\t", "\\t"])
def test_tab_separates(generate: Generate, here: Path, tab: str) -> None:
    (here / "t.csv").write_text("size\tprice\n1\t2.5\n2\t3.5\n")
    project = generate(data="t.csv", separator=tab, **REGRESSION)
    assert params.load(project / "params.yaml").data.separator == "\t"
    assert '  separator: "\\t"  #' in (project / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("rare", "answers", "said"),
    [
        (
            6,
            {},
            "95.0% of the rows are of class 'no', so a model that always says so has an accuracy",
        ),
        (6, {"metric": "roc_auc"}, ""),
        (40, {}, ""),
    ],
)
def test_a_frequent_class_is_told_where_accuracy_is_the_metric(
    generate: Generate, here: Path, capfd, rare: int, answers: dict[str, str], said: str
) -> None:
    rows = "".join(f"{at},{'yes' if at < rare else 'no'}\n" for at in range(120))
    (here / "t.csv").write_text(f"x,y\n{rows}")
    generate(data="t.csv", target="y", positive="yes", bound="0.5", **answers)
    out = " ".join(capfd.readouterr().out.split())
    assert said in out
    assert bool(said) == ("Note" in out)
    assert not said or "roc_auc, average_precision or f1 as metric would tell more" in out


@pytest.mark.parametrize(
    ("classes", "positive", "written"),
    [
        (["1", "2+"], "1", '"1"'),
        (["01", "02"], "01", '"01"'),
        (["true", "maybe"], "true", '"true"'),
        (["1", "2"], "2", "2"),
        (["true", "false"], "true", "true"),
        (["TRUE", "FALSE"], "True", "true"),
        (["1.5", "2.5"], "2.5", "2.5"),
        (["+1", "-1"], "+1", "1"),
        (["1e3", "2.0"], "1e3", "1000.0"),
        (["18446744073709551616", "2"], "2", '"2"'),
    ],
)
def test_a_class_of_a_text_column_is_text(
    generate: Generate, here: Path, classes: list[str], positive: str, written: str
) -> None:
    rows = "".join(f"{at},{classes[at % 2]}\n" for at in range(20))
    (here / "classes.csv").write_text(f"x,y\n{rows}")
    project = generate(data="classes.csv", target="y", positive=positive, bound="0.5")
    assert f"\n  positive: {written}  #" in (project / "params.yaml").read_text()
    assert not (project / ".positive").exists()


def test_blanks_around_names_and_classes_do_not_count(generate: Generate, here: Path) -> None:
    rows = "".join(f"{at}, {'>50K' if at % 2 else '<=50K'}\n" for at in range(20))
    (here / "income.csv").write_text(f"age, income\n{rows}")
    project = generate(data="income.csv", target="income", positive=">50K", bound="0.5")
    assert "\n  target: income  #" in (project / "params.yaml").read_text()
