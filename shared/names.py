"""Names that people give, as they are shown: display data only, never a path, an id or a key. Pure."""

import re
import unicodedata

LONGEST = 255
LONGEST_SUFFIX = 16
# Controls, separators of lines, and what is invisible or turns the writing direction, by which one name can look
# like another. The two joiners stay: scripts and emoji need them.
_UNSEEN = frozenset(("Cc", "Cf", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def visible(text: str) -> str:
    """The text without what can't be seen, and with a replacement character for what is no text at all."""
    # A header's bytes that are no UTF-8 come as half surrogates; put together they may be characters of any kind.
    whole = _NO_BYTE.sub("\ufffd", text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c for c in whole if c in _JOINERS or unicodedata.category(c) not in _UNSEEN).strip()


def display_folder(path: str) -> str | None:
    """A client's folder as it is shown, its parts with `/` between them; None if nothing is left.

    What stands for no folder of its own is left out, and the longest end of at most 255 characters stays.
    """
    parts = [visible(part) for part in re.split(r"[/\\]", path)]
    shown = "/".join(part for part in parts if part.strip("." + _JOINERS))
    return shown[-LONGEST:].lstrip("/") or None


def display_name(name: str) -> str | None:
    """A client's file name without its folders, at most 255 characters of it, or None if nothing is left.

    A name that is too long loses its middle, since its end says what it is.
    """
    shown = visible(re.split(r"[/\\]", name)[-1])
    if not shown.strip("." + _JOINERS):
        return None
    if len(shown) > LONGEST:
        stem, dot, suffix = shown.rpartition(".")
        end = dot + suffix if stem and len(suffix) <= LONGEST_SUFFIX else ""
        shown = shown[: LONGEST - len(end)] + end
    return shown
