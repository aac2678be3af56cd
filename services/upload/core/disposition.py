"""File names in Content-Disposition headers (RFC 6266), as browsers and scripts write them."""

import re
from urllib.parse import unquote

_PARAMETER = re.compile(r'(?:^|;)\s*([^\s=;"]+)\s*=\s*("(?:\\.|[^"\\])*"|[^;]*)')
_EXTENDED = re.compile(r"([\w.-]+)'[^']*'(.*)")


def parameters(header: str) -> dict[str, str]:
    """The parameters of a header such as Content-Disposition, by lower-case name; of two the first counts."""
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(header):
        plain = re.sub(r'\\(["\\])', r"\1", value[1:-1]) if value.startswith('"') else value.strip()
        found.setdefault(name.lower(), plain)
    return found


def part_filename(header: str) -> str | None:
    """The file name of a form's part, None for a plain field."""
    name = _filename(header)
    return as_written(name) if name is not None else None


def as_written(name: str) -> str:
    """A name from a form's part: browsers write `"` as %22 and nothing else escaped."""
    return name.replace("%22", '"').replace("%0D", "").replace("%0A", "")


def header_filename(header: str) -> str | None:
    """The file name of a request's own Content-Disposition, where scripts percent-encode whole names."""
    name = _filename(header)
    return unquote(name) if name is not None else None


def _filename(header: str) -> str | None:
    said = parameters(header)
    extended = _EXTENDED.fullmatch(said.get("filename*", ""))
    if extended is not None:
        try:
            return unquote(extended[2], extended[1], "strict")
        except (LookupError, UnicodeDecodeError):
            pass
    return said.get("filename")
