"""Plug-ins: a file, a folder or an installed module of one's own that registers variants of any axis.

``load_plugin("my_ideas.py")`` imports one; whatever it has registered can then be named like the package's own.
"""

from far.plugins.code import PluginCode, shown_path
from far.plugins.load import (
    Plugin,
    blamed,
    load_code,
    load_entry_points,
    load_plugin,
    loaded_plugins,
    only_within,
    plugin_of,
    unload_plugin,
)

__all__ = [
    "Plugin",
    "PluginCode",
    "blamed",
    "load_code",
    "load_entry_points",
    "load_plugin",
    "loaded_plugins",
    "only_within",
    "plugin_of",
    "shown_path",
    "unload_plugin",
]
