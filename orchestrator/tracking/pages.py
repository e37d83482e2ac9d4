"""MLflow's pages: how a server of them is started here, and where the comparison of a study's runs opens.

MLflow 3.17 opens an experiment as one of generative AI, whatever its ``mlflow.experimentKind`` says, unless the address
says ``workflowType``; earlier versions pass over that. Ordered by their dates, runs are folded into the sweep's run;
ordered by a metric, they stand side by side.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlencode

from far.redaction import redacted

MOST_LISTED = 20
"""Studies whose addresses are listed; with more, the list of experiments is."""
SERVER_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # with one worker 2 processes instead of 15 (measured with 3.17)
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "UVICORN_APP_DIR": os.devnull,  # uvicorn would look for modules in the working directory first
}
"""Of an MLflow server that is started here."""
_COMPARISON = {
    "workflowType": "machine_learning",
    "compareRunsMode": "CHART",
    "searchFilter": "tags.`farlab.kind` = 'trial'",
    "orderByKey": "metrics.`test/top1`",
    "orderByAsc": "false",
}


def comparison(base: str, experiment: str) -> str:
    """Return the address at which the runs of an experiment's trials are compared.

    Args:
        base: the server's address; credentials in it are left out.
        experiment: its id.
    """
    query = urlencode(_COMPARISON, quote_via=quote, safe="")
    return f"{_clean(base)}/#/experiments/{quote(experiment, safe='')}/runs?{query}"


def overview(base: str) -> str:
    """Return the address of the list of experiments."""
    return f"{_clean(base)}/#/experiments?workflowType=machine_learning"


def pages(base: str, experiments: Iterable[tuple[str, str, Mapping[str, str]]], studies: Iterable[str]) -> list[str]:
    """Return what to print of a server: the address of each study's comparison, the last one first.

    Args:
        base: the server's address.
        experiments: id, name and tags of each, the last one first.
        studies: names of the workspace's own.

    Returns:
        One address for one study; for several a line each with its name; none if there are none or too many.
    """
    known = set(studies)
    found = [(name, number) for number, name, tags in experiments if name in known or "farlab.study" in tags]
    if len(found) == 1:
        return [comparison(base, found[0][1])]
    if len(found) > MOST_LISTED:
        found = []
    width = max((len(name) for name, _ in found), default=0)
    return [f"{name.ljust(width)}  {comparison(base, number)}" for name, number in found]


def _clean(base: str) -> str:
    return redacted(base).rstrip("/")
