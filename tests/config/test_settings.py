"""Settings: given a file and an environment, when they are loaded, then they hold or are refused by name and reason."""

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from adapters.ami.settings import AmiSettings
from config.settings import MAX_SECRET_BYTES, SECRETS, InvalidSettings, Settings, load

EXAMPLE = Path(__file__).parents[2] / "config" / "ringfold.example.toml"


def written(folder: Path, text: str) -> Path:
    path = folder / "ringfold.toml"
    path.write_text(text, "utf-8")
    return path


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(InvalidSettings) as raised:
        load(written(folder, text), environ or {})
    return str(raised.value)


def test_nothing_given_means_the_defaults() -> None:
    assert load(None, {}) == Settings()


def test_the_example_as_shipped_changes_nothing() -> None:
    assert load(EXAMPLE, {}) == Settings()


def test_the_example_shows_every_setting_with_its_default() -> None:
    shown = tomllib.loads(re.sub(r"^# (?=[a-z_]+ = )", "", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE))
    assert shown == json.loads(msgspec.json.encode(Settings()))


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[ami]\nhost = "pbx"\n[dialing]\ntrunks = ["a", "b"]\n'), {})
    assert settings.ami.host == "pbx"
    assert settings.ami.port == Settings().ami.port
    assert settings.dialing.trunks == ("a", "b")


def test_the_environment_overrides_the_file_in_every_type(tmp_path: Path) -> None:
    environ = {
        "RINGFOLD_AMI__USERNAME": "12345",
        "RINGFOLD_AMI__PORT": "5039",
        "RINGFOLD_AMI__TLS": "true",
        "RINGFOLD_DIALING__TRUNKS": '["x"]',
        "RINGFOLD_TOKENS__KEY_FILE": "elsewhere.key",
        "HOME": "anywhere",
    }
    settings = load(written(tmp_path, "[ami]\nport = 1\n"), environ)
    assert (settings.ami.username, settings.ami.port, settings.ami.tls) == ("12345", 5039, True)
    assert settings.dialing.trunks == ("x",)
    assert settings.tokens.key_file == "elsewhere.key"


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[ami]\nhots = 'pbx'\n", "ami.hots", "no such setting"),
        ("[pbx]\nhost = 'pbx'\n", "pbx", "no such setting"),
        ("[http]\nport = 70000\n", "http.port", "65535"),
        ("[http]\nport = '8080'\n", "http.port", "expected `int`"),
        ("[dialing]\ntrunks = []\n", "dialing.trunks", "length"),
        ("[dialing]\ntrunks = ['a&b']\n", "dialing.trunks[0]", "matching"),
        ("[dialing]\ntrunk_lines = { carier = 3 }\n", "dialing", "'carier', which isn't one of trunks"),
        ("[dialing]\ntrunk_lines = { carrier = 0 }\n", "dialing.trunk_lines[...]", ">= 1"),
        ("[store]\nurl = 'mysql://x'\n", "store.url", "matching"),
        ("[log]\nlevel = 'loud'\n", "log.level", "loud"),
        ("[ami]\nping_interval_ms = 5000\n", "ami", "dead_after_ms must be more"),
        ("[ami]\nreconnect_min_ms = 20000\n", "ami", "reconnect_max_ms"),
        ("ami = 3\n", "ami", "expected `object`"),
    ],
)
def test_a_wrong_setting_is_refused_by_key_and_reason(tmp_path: Path, text: str, key: str, reason: str) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(f"{key}: ")
    assert reason in message


@pytest.mark.parametrize("variable", ["RINGFOLD_AMI_HOST", "RINGFOLD_PBX__HOST", "RINGFOLD_AMI__", "RINGFOLD_HTTP"])
def test_a_misspelt_variable_is_refused(tmp_path: Path, variable: str) -> None:
    assert variable in refusal(tmp_path, "", {variable: "x"})


def test_a_variable_of_another_tool_is_left_alone() -> None:
    assert load(None, {"RINGFOLD_CACHE": "/somewhere"}) == Settings()


def test_a_wrong_value_from_the_environment_names_the_variable(tmp_path: Path) -> None:
    assert "RINGFOLD_HTTP__PORT" in refusal(tmp_path, "", {"RINGFOLD_HTTP__PORT": "0"})
    assert "RINGFOLD_HTTP__PORT" in refusal(tmp_path, "", {"RINGFOLD_HTTP__PORT": "eighty"})


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "ami"
    secret.write_text("s3cret, with = and #\n", "utf-8")
    from_file = load(written(tmp_path, f"[ami]\nsecret_file = '{secret}'\n"), {})
    from_environ = load(None, {"RINGFOLD_AMI__SECRET_FILE": str(secret)})
    assert from_file.ami.secret == from_environ.ami.secret == "s3cret, with = and #"


def test_the_environments_secret_replaces_the_files_secret_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[ami]\nsecret_file = 'nowhere'\n")
    assert load(path, {"RINGFOLD_AMI__SECRET": "abc"}).ami.secret == "abc"


def test_a_secret_given_twice_missing_or_huge_is_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    huge.write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    assert "only one" in refusal(tmp_path, "[ami]\nsecret = 'a'\nsecret_file = 'b'\n")
    assert refusal(tmp_path, f"[ami]\nsecret_file = '{tmp_path}/none'\n").startswith("ami.secret_file: ")
    assert "larger" in refusal(tmp_path, f"[ami]\nsecret_file = '{huge}'\n")
    assert refusal(tmp_path, "[ami]\nsecret_file = 3\n").startswith("ami.secret_file: ")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"none\.toml"):
        load(tmp_path / "none.toml", {})
    assert "ringfold.toml" in refusal(tmp_path, "[ami\n")


def test_secrets_never_show_in_a_repr() -> None:
    settings = load(
        None, {"RINGFOLD_AMI__SECRET": "hidden-1", "RINGFOLD_STORE__URL": "postgresql://me:hidden-2@host/db"}
    )
    assert settings.ami.secret == "hidden-1"
    assert "hidden" not in repr(settings)


def test_every_secret_named_is_a_text_setting() -> None:
    for section, key in SECRETS:
        assert isinstance(getattr(getattr(Settings(), section), key), str)


def test_the_pbx_adapters_settings_are_ours_with_the_same_defaults() -> None:
    ours = Settings().ami
    assert msgspec.structs.asdict(AmiSettings(username=ours.username, secret=ours.secret)) == msgspec.structs.asdict(
        ours
    )
