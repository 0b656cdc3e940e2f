"""Settings, decoded once from a TOML file and the environment, and handed to the parts by the composition root.

Every limit of the running service is here, with its unit in its name and its default. `RINGFOLD_AMI__HOST=pbx` in the
environment overrides `host` in `[ami]`. A secret `x` can also be given as `x_file`, the path of a file that holds it.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Port = Annotated[int, Meta(ge=1, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1)]
TrunkName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]

HostName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:-]{1,253}$(?!\n)")]
HeaderText = Annotated[str, Meta(max_length=4_096, pattern=r"^[\x20-\x7e]*$(?!\n)")]
Origin = Annotated[str, Meta(pattern=r"^https?://[A-Za-z0-9.\[\]:-]{1,260}$(?!\n)")]
CredentialName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$(?!\n)")]


class InvalidSettings(Exception):
    """The settings can't be used. The message names the key and the reason."""


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: Name = "127.0.0.1"
    port: Port = 8080
    max_body_bytes: Positive = 8 * 1024 * 1024
    max_contacts_per_request: Positive = 10_000
    max_streams: Positive = 2_000
    """Event streams and long polls open at once; the next one is answered 503."""
    max_poll_wait_s: Annotated[int, Meta(ge=1, le=300)] = 30
    heartbeat_s: Annotated[int, Meta(ge=1, le=15)] = 15
    idle_connection_s: Positive = 75
    """How long a connection may stay without a request, or with one whose head isn't complete; then it is closed."""
    requests_per_second: Annotated[int, Meta(ge=0)] = 200
    """What each token may ask in the long run; beyond it is answered 429. 0 is no limit."""
    burst_requests: Positive = 4_000
    """What each token may ask at once, when it has been quiet."""
    max_in_flight: Annotated[int, Meta(ge=0)] = 500
    """Requests of one token under way at a time, streams and long polls among them; beyond it is 429. 0 is no limit."""
    max_requests: Positive = 1_000
    """Requests of all tokens under way at a time, without streams and long polls; the next one is answered 503."""
    cors_origins: tuple[Origin, ...] = ()
    """Origins (`https://console.example.com`) whose pages browsers let read answers; none: the API is closed to pages."""


SQLITE = "sqlite:///"


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: Annotated[str, Meta(pattern=r"^(memory:|sqlite:///.+|postgres(ql)?://.+)")] = "sqlite:///var/ringfold.db"
    """`memory:`, `sqlite:///path` or `postgresql://…`."""
    lease_ttl_ms: Annotated[int, Meta(ge=1_000)] = 5_000
    """After this long without renewal another process may take a log over."""
    attic_folder: str = ""
    """Where a campaign's ended calls are put away while the process lives, in a file without a name; empty: beside the SQLite
    file, with PostgreSQL beside `tokens.key_file`."""

    @property
    def file(self) -> Path | None:
        """Of SQLite."""
        return Path(self.url.removeprefix(SQLITE)) if self.url.startswith(SQLITE) else None

    def __repr__(self) -> str:
        return f"Store({self.url.partition(':')[0]!r})"  # a PostgreSQL url may carry a password


class Ami(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: Name = "127.0.0.1"
    port: Port = 5038
    username: Name = "ringfold"
    secret: str = ""
    tls: bool = False
    connect_timeout_ms: Positive = 3_000
    ping_interval_ms: Positive = 1_000
    dead_after_ms: Positive = 3_500
    """Silence after which the connection counts as lost."""
    reconnect_min_ms: Positive = 200
    reconnect_max_ms: Positive = 5_000
    max_originates_per_second: Positive = 50
    max_pending_actions: Positive = 500
    """Actions waiting to be sent; the next originate is refused."""
    cel_path: str = ""
    """The CSV file the PBX writes channel events to, where this process can read it; empty: none."""
    recordings_path: str = ""
    """The folder `monitor/ringfold` in the PBX's spool folder, where this process can read it; empty: none."""

    def __post_init__(self) -> None:
        if self.dead_after_ms <= self.ping_interval_ms:
            raise ValueError("dead_after_ms must be more than ping_interval_ms")
        if self.reconnect_max_ms < self.reconnect_min_ms:
            raise ValueError("reconnect_max_ms must not be less than reconnect_min_ms")

    def __repr__(self) -> str:
        return (
            f"Ami({self.username!r} at {self.host}:{self.port})"  # never the secret: this reaches logs and tracebacks
        )


class Dialing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    trunks: Annotated[tuple[TrunkName, ...], Meta(min_length=1)] = ("carrier",)
    trunk_lines: dict[TrunkName, Positive] = {}
    """By trunk: calls at a time, all campaigns together; one that isn't named here has no limit."""
    max_calls_in_setup: Positive = 50
    """Calls between originate and answer, all campaigns together: the PBX itself admits without limit."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.trunk_lines) - set(self.trunks))
        if unknown:
            raise ValueError(f"trunk_lines names {unknown[0]!r}, which isn't one of trunks")


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mailbox_size: Positive = 10_000
    """Messages waiting for one campaign; the next command is answered 503 with Retry-After."""
    linger_ms: Annotated[int, Meta(ge=0, le=1_000)] = 10
    """How long what nobody waits for (a call rings) goes unwritten, at most, to share a commit; 0 is not at all."""
    drain_timeout_s: Positive = 30
    snapshot_every_events: Positive = 10_000
    """And no sooner than after a hundredth of the campaign's contacts: a start reads as many again, at some 30 µs each."""


class Tokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key_file: Name = "var/tokens.key"
    issuer: Name = "ringfold"
    max_administrator_ttl_s: Positive = 12 * 3_600
    """The longest that a token of a role may live; `system`: campaign managers, CRMs and monitoring systems."""
    max_supervisor_ttl_s: Positive = 12 * 3_600
    max_agent_ttl_s: Positive = 12 * 3_600
    max_system_ttl_s: Positive = 90 * 86_400

    @property
    def longest_ttl_s(self) -> int:
        """Of any role's tokens."""
        people = max(self.max_administrator_ttl_s, self.max_supervisor_ttl_s, self.max_agent_ttl_s)
        return max(people, self.max_system_ttl_s)


class Webhooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allow_private_targets: bool = False
    allow_hosts: tuple[str, ...] = ()
    """Hosts and networks that may be called although they are private."""
    allow_http: bool = False
    timeout_ms: Positive = 15_000
    max_in_flight: Positive = 256


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret that campaigns use by its name: a header's value, for the hosts it was given for and no others."""

    hosts: Annotated[tuple[HostName, ...], Meta(min_length=1)]
    value: HeaderText = ""
    header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,100}$(?!\n)")] = "Authorization"

    def __post_init__(self) -> None:
        if not self.value:
            raise ValueError("value, or value_file, is missing")

    def __repr__(self) -> str:
        return f"Credential({self.header!r})"


class Crm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hosts: tuple[HostName, ...] = ()
    """Hosts that campaigns may name in their URLs; none: no campaign can have one."""
    private_hosts: tuple[str, ...] = ()
    """Hosts and networks that may be called although they are private."""
    allow_http: bool = False
    timeout_ms: Positive = 10_000
    max_in_flight: Positive = 32
    give_up_after_h: Annotated[int, Meta(ge=1, le=168)] = 24
    """For so long after a call, or its disposition, the CRM is tried."""
    credentials: dict[CredentialName, Credential] = {}


class Imports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    folder: Name = "var/imports"
    """Uploaded files and how far they are; made when missing, readable by the owner only."""
    max_file_bytes: Positive = 512 * 1024 * 1024
    max_unpacked_bytes: Positive = 2 * 1024 * 1024 * 1024
    """What a workbook may unpack to."""
    max_rows: Positive = 2_000_000
    max_check_s: Positive = 1_800
    max_check_memory_bytes: Annotated[int, Meta(ge=256 * 1024 * 1024)] = 3 * 1024 * 1024 * 1024
    """Address space of the process that checks a file."""
    max_checks: Positive = 1
    """Files checked at the same time, a process each; the others wait."""
    max_uploads: Positive = 4
    max_kept: Positive = 200
    """Imports that are remembered; the next upload is answered 503."""
    keep_h: Annotated[int, Meta(ge=1, le=8_760)] = 168
    """How long an import is remembered, with its file while it isn't confirmed."""


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    clean_after_days: Annotated[int, Meta(ge=0, le=3_650)] = 7
    """A campaign that ran and is stopped is deleted so long after it last ran; 0 deletes none."""
    look_every_s: Annotated[int, Meta(ge=1, le=86_400)] = 600
    archive_after_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    """A deleted campaign's log leaves the store for a file so long after it was deleted; 0 leaves all in the store."""
    archive_folder: Name = "var/archive"
    """Where those files are; every process that may serve must see the same folder."""


class Traces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: Annotated[str, Meta(pattern=r"^(https?://[^\s@]+)?$(?!\n)")] = ""
    """Where spans go by OTLP over HTTP (`http://127.0.0.1:4318/v1/traces`); empty: nowhere. It wants the extra `traces`."""
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Of the traces that begin here; one that a client began is sampled as the client says."""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    json: bool = True


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    http: Http = Http()
    store: Store = Store()
    ami: Ami = Ami()
    dialing: Dialing = Dialing()
    engine: Engine = Engine()
    tokens: Tokens = Tokens()
    webhooks: Webhooks = Webhooks()
    crm: Crm = Crm()
    imports: Imports = Imports()
    retention: Retention = Retention()
    log: Log = Log()
    traces: Traces = Traces()

    @property
    def attic(self) -> Path | None:
        """Where ended calls are put away; None with a store that is memory."""
        if self.store.url.startswith("memory:"):
            return None
        return Path(self.store.attic_folder or (self.store.file or Path(self.tokens.key_file)).parent)


SECRETS = (("ami", "secret"), ("store", "url"))
MAX_SECRET_BYTES = 4_096
ENV_PREFIX = "RINGFOLD_"


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from a file (none: defaults) and the environment. Raises InvalidSettings."""
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidSettings(f"{path}: {error}") from error
    overridden = _overlay(tree, environ)
    _read_secrets(tree)
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        where, reason = _where(str(error))
        source = f" (from {overridden[where]})" if where in overridden else ""
        raise InvalidSettings(f"{where}{source}: {reason}" if where else reason) from None


def _overlay(tree: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Put the environment over the tree; returns which key came from which variable.

    A value is text where the field is text; anything else is read as TOML, so that `8080`, `true` and `["a", "b"]` mean
    what they mean in the file. Variables that name no section are somebody else's, unless their form is ours.
    """
    sections = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    origin: dict[str, str] = {}
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        section, nested, key = variable.removeprefix(ENV_PREFIX).lower().partition("__")
        if not nested and section.partition("_")[0] not in sections:
            continue
        if section not in sections or not key:
            raise InvalidSettings(f"{variable}: there is no such setting; the form is {ENV_PREFIX}SECTION__KEY")
        table = tree.setdefault(section, {})
        if not isinstance(table, dict):
            raise InvalidSettings(f"{section}: must be a table")
        defaults = sections[section]()
        is_secret_file = key.endswith("_file") and (section, key.removesuffix("_file")) in SECRETS
        is_text = is_secret_file or isinstance(getattr(defaults, key, None), str)
        table[key] = environ[variable] if is_text else _toml_value(variable, environ[variable])
        origin[f"{section}.{key}"] = variable
    for section, key in SECRETS:  # the environment's way of giving a secret replaces the file's way
        for given, other in ((key, f"{key}_file"), (f"{key}_file", key)):
            if f"{section}.{given}" in origin and f"{section}.{other}" not in origin:
                tree[section].pop(other, None)
    return origin


def _toml_value(variable: str, text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise InvalidSettings(f"{variable}: not a number, true, false or a list") from None


def _read_secrets(tree: dict[str, Any]) -> None:
    for section, key in SECRETS:
        _read_secret(tree.get(section), key, f"{section}.{key}")
    crm = tree.get("crm")
    credentials = crm.get("credentials") if isinstance(crm, dict) else None
    for name, credential in credentials.items() if isinstance(credentials, dict) else ():
        _read_secret(credential, "value", f"crm.credentials.{name}.value")


def _read_secret(table: Any, key: str, named: str) -> None:
    """Put what stands in the file that `key`_file names in `key`'s place."""
    if not isinstance(table, dict) or f"{key}_file" not in table:
        return
    name = f"{named}_file"
    if key in table:
        raise InvalidSettings(f"{name}: {named} is given too; only one of them can hold")
    try:
        content = Path(table.pop(f"{key}_file")).read_bytes()
        if len(content) > MAX_SECRET_BYTES:
            raise InvalidSettings(f"{name}: the file is larger than {MAX_SECRET_BYTES} bytes")
        table[key] = content.decode().rstrip("\r\n")
    except (OSError, TypeError, ValueError) as error:
        raise InvalidSettings(f"{name}: {error}") from None


def _where(message: str) -> tuple[str, str]:
    """Split a decoding error into the key's path (`ami.port`) and the reason."""
    reason, _, path = message.partition(" - at `$")
    where = path.rstrip("`").lstrip(".")
    unknown = re.search(r"unknown field `([^`]*)`", reason)
    if unknown:
        where = f"{where}.{unknown[1]}".lstrip(".")
        return where, "there is no such setting"
    return where, reason[:1].lower() + reason[1:]
