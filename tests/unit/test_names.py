"""Names that people give, as they are shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.names import LONGEST, display_folder, display_name, visible


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("Präparat 7.svs", "Präparat 7.svs"),
        ("C:\\fakepath\\x.svs", "x.svs"),
        ("../../etc/passwd", "passwd"),
        ("a\x00b\n.svs", "ab.svs"),
        ("x\u202egvs.exe", "xgvs.exe"),
        ("x\u200f\u061c\ufeff\u2067.svs", "x.svs"),
        ("می\u200cخواهم.svs", "می\u200cخواهم.svs"),
        ("x\udce2\udc80\udcaegvs.exe", "xgvs.exe"),
        ("caf\udcc3\udca9.svs", "café.svs"),
        ("caf\udce9.svs", "caf\ufffd.svs"),
        ("\ud800.svs", "\ufffd.svs"),
        ("...", None),
        ("\u200d", None),
        ("folder/", None),
        ("n" * 300, "n" * 255),
        ("n" * 300 + ".svs", "n" * 251 + ".svs"),
        ("n." + "s" * 300, "n." + "s" * 253),
    ],
)
def test_names_are_shown_without_folders_and_what_can_not_be_seen(given_name: str, shown: str | None) -> None:
    assert display_name(given_name) == shown


@given(st.text(st.characters(exclude_categories=[]), max_size=400))
def test_whatever_is_given_is_short_and_can_be_seen_and_stored(text: str) -> None:
    shown = display_name(text)

    if shown is not None:
        assert 0 < len(shown) <= LONGEST
        assert not {"/", "\\"} & set(shown)
        assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in shown)
        assert not any(unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI") for c in shown)
        assert shown.encode().decode() == shown
        assert display_name(shown) == shown
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("run 12/case 1", "run 12/case 1"),
        ("C:\\Scans\\run 12\\", "C:/Scans/run 12"),
        ("/../run/./\u202ecase", "run/case"),
        ("", None),
        ("//.", None),
        ("a/" + "b" * 300, "b" * 255),
    ],
)
def test_folders_are_shown_without_what_can_not_be_seen(path: str, shown: str | None) -> None:
    assert display_folder(path) == shown
