import pytest

from shared.access import Action, Decision, Principal, decide

ANNA = Principal("anna", "Anna", False, "t1", "browser")
ADMIN = Principal("root", "admin", True, "t2", "api")


@pytest.mark.parametrize("action", ["create", "see", "change", "operate"])
@pytest.mark.parametrize("owner", [None, "anna"])
def test_nobody_may_do_nothing_and_is_asked_to_sign_in(action: Action, owner: str | None) -> None:
    assert decide(None, action, owner) is Decision.SIGN_IN


@pytest.mark.parametrize("action", ["see", "change"])
def test_an_owner_sees_and_changes_what_is_theirs(action: Action) -> None:
    assert decide(ANNA, action, "anna") is Decision.ALLOW


@pytest.mark.parametrize("action", ["see", "change"])
@pytest.mark.parametrize("owner", ["bert", None])
def test_what_belongs_to_others_does_not_exist(action: Action, owner: str | None) -> None:
    assert decide(ANNA, action, owner) is Decision.HIDE


def test_everybody_with_an_account_may_make_things() -> None:
    assert decide(ANNA, "create") is Decision.ALLOW


def test_operating_is_for_administrators_only() -> None:
    assert decide(ANNA, "operate") is Decision.FORBID
    assert decide(ADMIN, "operate") is Decision.ALLOW


@pytest.mark.parametrize("action", ["see", "change"])
def test_an_administrator_reaches_what_belongs_to_others(action: Action) -> None:
    assert decide(ADMIN, action, "anna") is Decision.ALLOW
