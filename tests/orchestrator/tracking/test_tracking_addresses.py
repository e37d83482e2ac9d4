"""Addresses of tracking stores: what leads nowhere is refused, what can never be reached is not waited for."""

from __future__ import annotations

import pytest

from far.errors import ConfigError
from orchestrator.tracking.mirror import Mirror
from orchestrator.workspace.settings import checked_uri


@pytest.mark.parametrize(
    "uri",
    ["sqlite://", "sqlite:///", "sqlite:////", "sqlite:///:memory:", "sqlite://x.db", "sqlite:///file:x?mode=memory",
     "http://", "http://[::1", "http://host:port", "https:///path", "http://host:99999", "foo", "ftp://host/x"],
)  # fmt: skip
def test_an_address_that_leads_nowhere(uri: str) -> None:
    with pytest.raises(ConfigError, match="no address of a tracking store"):
        checked_uri(uri, "tracking_uri")


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///x.db", "sqlite:////tmp/x.db", "http://host", "https://u:p@host:5000/mlflow", "postgresql:///mlflow",
     "postgresql+psycopg2://u:p@host/db", "mysql+pymysql://host/db", "http://[::1]:5000"],
)  # fmt: skip
def test_an_address(uri: str) -> None:
    assert checked_uri(uri, "tracking_uri") == uri


def test_a_driver_that_is_not_installed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(uri: str) -> None:
        raise ModuleNotFoundError("No module named 'pymysql'")

    monkeypatch.setattr("orchestrator.tracking.mirror.connect", absent)
    mirror = Mirror("mysql+pymysql://host/db", [])
    assert not mirror.close(timeout=3600)
    assert "pymysql" in mirror.reason
