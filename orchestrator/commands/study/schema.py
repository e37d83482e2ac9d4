"""``farlab study schema``: the JSON Schema of study files."""

from __future__ import annotations

import json

from far.plugins import load_plugin
from orchestrator.cli.options import PluginOption, TrustOption
from orchestrator.study.json_schema import study_schema
from orchestrator.workspace.plugins import load_workspace_plugins


def schema(plugin: PluginOption = None, trust: TrustOption = False) -> None:
    """Print the JSON Schema of study files, for an editor's completion and checks; it knows the plug-ins' variants.

    Examples:
        farlab study schema
    """
    for each in plugin or ():
        load_plugin(each)
    load_workspace_plugins()
    print(json.dumps(study_schema(), indent=1, ensure_ascii=False))
