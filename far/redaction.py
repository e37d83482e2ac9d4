"""Credentials in addresses: used for connecting, and never shown, linked or stored."""

from __future__ import annotations

import re

HIDDEN = "***"
"""Stands for the value of a secret query parameter."""
_DATABASES = r"(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|cockroachdb|mongodb|redis)[a-z0-9+.-]*"
_USER_INFO = re.compile(
    # SQLAlchemy lets a data base's password hold anything but "@" and white space; elsewhere "/" ends the host.
    rf"(?P<base>\b{_DATABASES}://)[^:/\s@]*:[^@\s]*@|(?P<scheme>[a-z][a-z0-9+.-]*:/{{2}})[^/?#\s\"'<>]*@",
    re.IGNORECASE,
)
_BARE_USER_INFO = re.compile(r"^[^\s/@:]+:[^\s/@]+@(?=[\w.-]+(?::\d+)?(?:/\S*)?$)")
"""Of an address without a scheme, which Ray takes; only where the address is the whole text."""
_SECRET = (
    r"(?:token|secret|passw|pwd|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|signature|credential|auth)"
)
_PARAMETER = re.compile(
    rf"(?P<name>[?&;](?:[\w.%-]*{_SECRET}[\w.%-]*|sig|pass|key)=)[^&;#\s\"'<>)]*",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Return a text without the credentials of the addresses in it.

    The part of an address before ``@`` (a user, a password, a token) is left out, so that a link still leads to its
    host; the values of query parameters that are named like secrets become ``***``.

    Args:
        text: an address, or any text with addresses in it, such as a library's error message.
    """
    text = _USER_INFO.sub(lambda match: match["base"] or match["scheme"], text)
    text = _BARE_USER_INFO.sub("", text)
    return _PARAMETER.sub(rf"\g<name>{HIDDEN}", text)
