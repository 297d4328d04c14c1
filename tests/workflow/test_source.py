"""Where the data comes from."""

import pytest

from src.workflow import source
from tests.workflow.runs import noted, pass_check, step

KEY = {"AWS_ACCESS_KEY_ID": "x"}
ROLE = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/ci"}
MAY_ASK = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://localhost"}
NAMED = {"DVC_REMOTE_URL": "named"}
URL = {"DVC_REMOTE_URL": "s3://bucket/data"}


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        ("../data/remote", {}, "embedded"),
        ("C:/data/remote", {}, "embedded"),
        ("/mnt/share", NAMED, "remote"),
        ("s3://bucket", {}, "cache"),
        ("s3://bucket", {"AWS_ACCESS_KEY_ID": ""}, "cache"),
        ("s3://bucket", KEY, "remote"),
        ("s3://bucket", NAMED | KEY, "remote"),
        ("s3://bucket", ROLE, "cache"),  # a fork's run, which gets no token
        ("s3://bucket", ROLE | MAY_ASK, "remote"),
        ("gs://bucket", KEY, "cache"),
        ("gs://bucket", {"GCP_CREDENTIALS": "{}"}, "remote"),
        ("azure://container", {"AZURE_STORAGE_CONNECTION_STRING": "x"}, "remote"),
        ("ssh://host/path", {}, "cache"),
        ("ssh://host/path", {"DVC_SSH_KEY": "x"}, "remote"),
        ("https://host/path", {}, "remote"),
    ],
)
def test_the_source(url, variables, expected):
    assert source.decide(url, variables)[0] == expected


def test_what_is_missing_is_named():
    assert "AWS_ACCESS_KEY_ID or AWS_ROLE_ARN" in source.decide("s3://bucket", {})[1]


def test_a_run_takes_no_state_from_the_commit_or_from_an_earlier_run(clone):
    """As if its stages had run already, and need not run again."""
    (clone / "report").mkdir(exist_ok=True)
    (clone / "report/state.json").write_text('{"pulled": true, "seconds": {"evaluate": 0.1}}')
    assert "run `python -m src.workflow.source`" in step(clone, "src.workflow.repro", status=1)
    noted(clone).write_text('{"seconds": {"evaluate": 0.1}}')
    step(clone, "src.workflow.source")
    assert not (clone / "report").exists()
    assert "evaluate" not in noted(clone).read_text()


def test_no_credentials_on_main(clone):
    step(clone, "src.workflow.source", variables=URL)
    pass_check(clone)
    said = step(clone, "src.workflow.push", status=1, variables=URL)
    assert "nothing was pushed" in said
    assert "AWS_ACCESS_KEY_ID" in said
    # A new project whose remote nobody has opened yet is no error.
    assert "::warning::nothing was pushed" in step(clone, "src.workflow.push")
