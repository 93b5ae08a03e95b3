"""The command that serves the page: who may open it, and where; what it refuses before it starts."""

from __future__ import annotations

import pytest

from ser_fewshot.cli import demo
from ser_fewshot.errors import SettingsError


def test_accounts_come_from_the_option_the_variable_and_the_file(tmp_path):
    file = tmp_path / "accounts"
    file.write_text("lee:third\n\n  kim:with:colons \n", encoding="utf-8")
    assert demo._accounts(["mina:first"], file, "joon:second\n") == [
        ("mina", "first"),
        ("joon", "second"),
        ("lee", "third"),
        ("kim", "with:colons"),
    ]
    assert demo._accounts([], None, "") == []


def test_an_account_without_user_or_password_is_refused_and_not_shown(tmp_path):
    for account in ("mina", "mina:", ":secret"):
        with pytest.raises(SettingsError, match="USER:PASSWORD") as error:
            demo._accounts([account], None, "")
        assert "secret" not in str(error.value)
    with pytest.raises(SettingsError, match="one USER:PASSWORD a line"):
        demo._accounts([], tmp_path / "nowhere", "")


def test_only_an_address_of_this_machine_needs_no_accounts():
    hosts = ("127.0.0.1", "127.1.2.3", "::1", "localhost", "0.0.0.0", "mine")
    assert [host for host in hosts if demo._is_loopback(host)] == list(hosts[:4])
