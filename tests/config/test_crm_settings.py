"""[crm]: given hosts and secrets in a file or the environment, then they are read, and never shown."""

from pathlib import Path

import pytest

from config.settings import MAX_SECRET_BYTES, InvalidSettings, load


def written(folder: Path, text: str) -> Path:
    path = folder / "ringfold.toml"
    path.write_text(text, "utf-8")
    return path


def test_OM_04_a_credential_is_read_from_the_file_and_never_shown(tmp_path: Path) -> None:
    text = '[crm]\nhosts = ["crm.example"]\n[crm.credentials.sales]\nhosts = ["crm.example"]\nvalue = "Bearer hidden"\n'
    settings = load(written(tmp_path, text), {})
    assert settings.crm.hosts == ("crm.example",)
    sales = settings.crm.credentials["sales"]
    assert (sales.header, sales.value, sales.hosts) == ("Authorization", "Bearer hidden", ("crm.example",))
    assert "hidden" not in repr(settings)


def test_OM_04_a_credentials_value_comes_from_a_file_of_its_own_or_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("Bearer hidden\n", "utf-8")
    text = f"[crm.credentials.sales]\nhosts = ['h']\nheader = 'X-Key'\nvalue_file = '{secret}'\n"
    environ = {"RINGFOLD_CRM__CREDENTIALS": f"{{sales = {{hosts = ['h'], header = 'X-Key', value_file = '{secret}'}}}}"}
    for settings in (load(written(tmp_path, text), {}), load(None, environ)):
        sales = settings.crm.credentials["sales"]
        assert (sales.header, sales.value) == ("X-Key", "Bearer hidden")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[crm]\nhosts = ['https://crm.example']\n", "crm.hosts[0]"),
        ("[crm]\nhosts = ['crm.example/x']\n", "crm.hosts[0]"),
        ("[crm]\ngive_up_after_h = 0\n", "crm.give_up_after_h"),
        ("[crm.credentials.sales]\nvalue = 'hidden'\n", "hosts"),
        ("[crm.credentials.sales]\nhosts = []\nvalue = 'hidden'\n", "crm.credentials"),
        ("[crm.credentials.sales]\nhosts = ['h']\n", "value_file"),
        ("[crm.credentials.sales]\nhosts = ['h']\nvalue = \"hidden\\n\"\n", "crm.credentials"),
        ('[crm.credentials.sales]\nhosts = ["h"]\nvalue = "hidden\\r\\nX: y"\n', "crm.credentials"),
        ("[crm.credentials.sales]\nhosts = ['h']\nvalue = 'hidden'\nheader = 'X Y'\n", "crm.credentials"),
        (
            "[crm.credentials.sales]\nhosts = ['h']\nvalue = 'hidden'\nvalue_file = 'x'\n",
            "crm.credentials.sales.value_file",
        ),
        (
            "[crm.credentials.sales]\nhosts = ['h']\nvalue_file = '/nowhere/at/all'\n",
            "crm.credentials.sales.value_file",
        ),
        ("[crm.credentials]\nsales = 'hidden'\n", "crm.credentials"),
        ("[crm]\ncredentials = 'hidden'\n", "crm.credentials"),
        ("crm = 3\n", "crm"),
    ],
)
def test_a_wrong_setting_is_refused_by_key_and_without_the_secret(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load(written(tmp_path, text), {})
    assert named in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_a_huge_secret_file_is_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    huge.write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    with pytest.raises(InvalidSettings, match="larger"):
        load(written(tmp_path, f"[crm.credentials.s]\nhosts = ['h']\nvalue_file = '{huge}'\n"), {})
