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


@pytest.mark.parametrize("account", ["mina", "mina:", ":secret", ":"])
def test_an_account_without_user_or_password_is_refused_and_not_shown(account):
    with pytest.raises(SettingsError, match="USER:PASSWORD") as error:
        demo._accounts([account], None, "")
    assert "secret" not in str(error.value)


def test_a_file_of_accounts_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="one USER:PASSWORD a line"):
        demo._accounts([], tmp_path / "nowhere", "")


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("mine", False)],
)
def test_only_an_address_of_this_machine_needs_no_accounts(host, alone):
    assert demo._is_loopback(host) is alone


def test_a_wrong_port_or_store_is_refused_in_one_line(run, tmp_path):
    code, _, err = run("demo", "--port", "70000")
    assert (code, err.count("\n")) == (2, 1)
    assert "expected a port from 1 to 65535" in err
    (tmp_path / "file").touch()
    code, _, err = run("demo", "--store", tmp_path / "file" / "store")
    assert (code, err.count("\n")) == (2, 1)
