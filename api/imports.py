"""Contact files: uploaded and checked, confirmed, and what they need to be read: column mappings and tags."""

import asyncio
import re
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from api import cursor, view
from api.edition import edition_of
from api.problem import Problem, invalid
from api.route import AGENT_ID, HEX_ID, REF, Answer, Call, Media, Pages, Ref, Route, reply, roles
from api.token import Role
from engine.core.contact import Priority
from engine.core.directory import PutMapping, PutTag, RemoveMapping, RemoveTag

MANAGERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
MEDIA = {"text/csv": "csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx"}
BLOCK_BYTES = 256 * 1024
MAX_FILE_NAME_CHARS = 200
TAG = re.compile(r"(?=\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029,/]{1,64}(?<=\S)")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Confirmation(msgspec.Struct, forbid_unknown_fields=True):
    accept_errors: bool = False
    confirm_removal: bool = False


class Mapping(msgspec.Struct, forbid_unknown_fields=True):
    """Our column by the file's header."""

    columns: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=100)]


class UploadOptions(msgspec.Struct, forbid_unknown_fields=True):
    campaign: Ref
    mode: Annotated[str, msgspec.Meta(max_length=20)] = "add"
    """`add`, `overwrite`, `close_open` or `full_sync`."""
    mapping: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """A column mapping by its name."""
    region: Annotated[str, msgspec.Meta(max_length=10)] | None = None
    """The ISO country of numbers that name none; the campaign's `default_region` where it isn't said."""
    encoding: Annotated[str, msgspec.Meta(max_length=40)] = "utf-8"
    required: Annotated[str, msgspec.Meta(max_length=1_000)] = ""
    """Columns that must not be empty, separated by commas."""
    prefix: Literal["true", "false"] = "false"
    """Whether refs get the campaign's ref in front."""
    tags: Annotated[str, msgspec.Meta(max_length=20)] = "replace"
    """`replace` or `add`."""
    name: Annotated[str, msgspec.Meta(max_length=MAX_FILE_NAME_CHARS)] = ""


class OfCampaign(Pages, forbid_unknown_fields=True):
    campaign: Annotated[str, msgspec.Meta(max_length=100)] | None = None


class Received(msgspec.Struct, kw_only=True):
    id: str


class ImportLine(msgspec.Struct, kw_only=True):
    id: str
    campaign: str
    name: str
    mode: str
    state: str
    """`validating`, `valid`, `invalid`, `importing`, `done`, `failed` or `cancelled`."""
    by: str
    created_at: view.Time | None
    changed_at: view.Time | None


class ImportList(msgspec.Struct, kw_only=True):
    imports: list[ImportLine]
    next: view.Next


class RowFault(msgspec.Struct, kw_only=True):
    row: int
    column: str
    reason: str


class Foreseen(msgspec.Struct, kw_only=True):
    """What confirming would do."""

    new: int
    known: int
    replaced: int
    rejected: int
    cancelled: int


class Stored(msgspec.Struct, kw_only=True):
    added: int
    known: int
    replaced: int
    rejected: int
    cancelled: int


class PreviewRow(msgspec.Struct, kw_only=True):
    ref: str
    numbers: tuple[str, ...]
    name: str
    data: dict[str, str]
    priority: Priority
    agent: str
    zone: str
    tags: tuple[str, ...]
    external_id: str
    consent_until: view.Time | None


class ImportShown(ImportLine, kw_only=True):
    """`rows` is null until all are read, `counts` until they are compared, `result` until storing begins."""

    mapping: str | None
    region: str | None
    required: tuple[str, ...]
    bytes: int
    digest: str
    reason: str | None
    rows: int | None
    checked: int
    errors: list[RowFault]
    error_count: int
    preview: list[PreviewRow]
    warnings: list[str]
    counts: Foreseen | None
    stored: int
    result: Stored | None
    confirmed_by: str | None
    can_confirm: bool


class MappingShown(msgspec.Struct, kw_only=True):
    name: str
    columns: dict[str, str]


class MappingSeen(MappingShown, kw_only=True):
    as_of: view.DirectoryPosition


class Mappings(msgspec.Struct, kw_only=True):
    mappings: list[MappingShown]
    next: view.Next
    as_of: view.DirectoryPosition


class Tag(msgspec.Struct, kw_only=True):
    tag: str
    as_of: view.DirectoryPosition


class Tags(msgspec.Struct, kw_only=True):
    tags: list[str]
    next: view.Next
    as_of: view.DirectoryPosition


# -- imports ----------------------------------------------------------------------------------------------------------


async def upload(call: Call) -> web.Response:
    query = call.query(UploadOptions)
    campaign = query.campaign
    if not REF.fullmatch(campaign):
        raise invalid("campaign", "the ref of a campaign is expected")
    settings = call.named(campaign).book.campaign.settings
    media = MEDIA.get(call.request.content_type)
    if media is None:
        raise Problem(415, "unsupported-media-type", f"{call.request.content_type!r} is none of {', '.join(MEDIA)}")
    request = call.service.imports.request(
        campaign=campaign,
        by=call.by,
        name=query.name,
        mode=query.mode,
        media=media,
        encoding=query.encoding,
        mapping=query.mapping,
        required=tuple(one.strip() for one in query.required.split(",")) if query.required else (),
        region=(settings.default_region if query.region is None else query.region).upper(),
        prefix=query.prefix == "true",
        tags=query.tags,
    )
    try:
        id_ = await call.service.imports.receive(request, call.request.content.iter_chunked(BLOCK_BYTES))
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Problem(400, "bad-request", f"the body can't be read: {error}") from None
    return reply(Received(id=id_), 202, {"Location": f"/v1/imports/{id_}"})


def _named(call: Call) -> str:
    """The import of the path, if the principal may see its campaign."""
    name = call.part("import", HEX_ID, "import")
    campaign = call.service.imports.campaign_of(name)
    if not call.may_see(campaign, call.engine.campaigns.get(campaign)):
        raise Problem(403, "forbidden", "this import is not yours")
    return name


async def listing(call: Call) -> web.Response:
    """The newest first."""
    wanted = call.query(OfCampaign).campaign

    def visible(campaign: str) -> bool:
        return wanted in (None, campaign) and call.may_see(campaign, call.engine.campaigns.get(campaign))

    rows, following = cursor.page(
        call.service.imports.listing(visible),
        lambda one: f"{one['created_at']}/{one['id']}",
        call.after(),
        call.limit(),
        newest_first=True,
    )
    return reply({"imports": rows, "next": call.cursor(following)})


async def show(call: Call) -> web.Response:
    return reply(await call.service.imports.show(_named(call)))


async def confirm(call: Call) -> web.Response:
    body = await call.body(Confirmation)
    name = _named(call)
    await call.service.imports.confirm(name, call.by, body.accept_errors, body.confirm_removal)
    return reply(await call.service.imports.show(name), 202)


async def cancel(call: Call) -> web.Response:
    await call.service.imports.cancel(_named(call))
    return web.Response(status=204)


async def errors(call: Call) -> web.StreamResponse:
    name = _named(call)
    blocks = call.service.imports.errors(name)
    headers = {"Content-Disposition": f'attachment; filename="errors-{name}.csv"'}
    answer = web.StreamResponse(headers=headers)
    answer.content_type, answer.charset = "text/csv", "utf-8"
    await answer.prepare(call.request)
    if call.request.method == "GET":
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            await answer.write(block.encode())
    await answer.write_eof()
    return answer


async def template(call: Call) -> web.Response:
    media = call.request.path.rpartition(".")[2]
    kind = next(kind for kind, name in MEDIA.items() if name == media)
    headers = {"Content-Disposition": f'attachment; filename="contacts.{media}"'}
    return web.Response(body=call.service.imports.template(media), content_type=kind, headers=headers)


# -- mappings and tags ------------------------------------------------------------------------------------------------


def _unbound(call: Call) -> None:
    """They are all campaigns': a token for some of them may use them, not change them."""
    if call.principal.campaigns:
        raise Problem(403, "forbidden", "a token that is bound to campaigns can't change what all of them use")


async def mappings(call: Call) -> web.Response:
    """In the order of their names."""
    known = call.engine.directory.mappings
    shown, following = cursor.page(known, str, call.after(), call.limit())
    rows = [MappingShown(name=name, columns=known[name]) for name in shown]
    return reply(Mappings(mappings=rows, next=call.cursor(following), as_of=call.engine.directory_position))


async def show_mapping(call: Call) -> web.Response:
    name = call.part("mapping", AGENT_ID, "mapping")
    columns = call.engine.directory.mappings.get(name)
    if columns is None:
        raise Problem(404, "unknown-mapping", f"there is no mapping {name!r}")
    return _mapping(call, name, columns)


def _mapping(call: Call, name: str, columns: dict[str, str], status: int = 200) -> web.Response:
    shown = MappingSeen(name=name, columns=columns, as_of=call.engine.directory_position)
    return reply(shown, status, edition=edition_of(columns))


async def put_mapping(call: Call) -> web.Response:
    _unbound(call)
    name = call.request.match_info["mapping"]
    if not AGENT_ID.fullmatch(name):
        raise invalid("name", "1 to 64 letters, digits and _ . -")
    body = await call.body(Mapping)
    call.service.imports.check_mapping(body.columns)
    created = await call.engine.direct(PutMapping(at=call.at, by=call.by, name=name, columns=body.columns))
    return _mapping(call, name, body.columns, 201 if created else 200)


async def remove_mapping(call: Call) -> web.Response:
    _unbound(call)
    name = call.part("mapping", AGENT_ID, "mapping")
    await call.engine.direct(RemoveMapping(at=call.at, by=call.by, name=name))
    return web.Response(status=204)


async def tags(call: Call) -> web.Response:
    """In the order of their names."""
    shown, following = cursor.page(call.engine.directory.tags, str, call.after(), call.limit())
    return reply(Tags(tags=shown, next=call.cursor(following), as_of=call.engine.directory_position))


async def show_tag(call: Call) -> web.Response:
    name = call.part("tag", TAG, "tag")
    if name not in call.engine.directory.tags:
        raise Problem(404, "unknown-tag", f"there is no tag {name!r}")
    return _tag(call, name)


def _tag(call: Call, name: str, status: int = 200) -> web.Response:
    return reply(Tag(tag=name, as_of=call.engine.directory_position), status, edition=edition_of(name))


async def put_tag(call: Call) -> web.Response:
    _unbound(call)
    name = call.request.match_info["tag"]
    if not TAG.fullmatch(name):
        raise invalid("tag", "1 to 64 characters without commas and slashes, no blank at either end")
    created = await call.engine.direct(PutTag(at=call.at, by=call.by, name=name))
    return _tag(call, name, 201 if created else 200)


async def remove_tag(call: Call) -> web.Response:
    _unbound(call)
    await call.engine.direct(RemoveTag(at=call.at, by=call.by, name=call.part("tag", TAG, "tag")))
    return web.Response(status=204)


IMPORT, MAPPING, LABEL = "/v1/imports/{import}", "/v1/mappings/{mapping}", "/v1/tags/{tag}"
FILE = Media(tuple(MEDIA))
UNKNOWN = ("unknown-import",)
ROUTES = [
    Route(
        "POST",
        "/v1/imports",
        upload,
        MANAGERS,
        "Upload a file of contacts",
        {202: Answer(Received, {"Location": "The import."})},
        FILE,
        UploadOptions,
        ("unknown-campaign", "unknown-mapping", "too-many-imports", "too-many-uploads", "no-space"),
    ),
    Route("GET", "/v1/imports", listing, MANAGERS, "List imports", {200: ImportList}, query=OfCampaign),
    *(
        Route(
            "GET",
            f"/v1/imports/template.{media}",
            template,
            MANAGERS,
            f"Download an empty {media.upper()} file",
            {200: Media((kind,))},
        )
        for kind, media in MEDIA.items()
    ),
    Route("GET", IMPORT, show, MANAGERS, "Show an import", {200: ImportShown}, problems=UNKNOWN),
    Route("DELETE", IMPORT, cancel, MANAGERS, "Cancel an import", {204: None}, problems=UNKNOWN),
    Route(
        "GET",
        IMPORT + "/errors.csv",
        errors,
        MANAGERS,
        "Download an import's errors",
        {200: Media(("text/csv",))},
        problems=UNKNOWN,
    ),
    Route(
        "POST",
        IMPORT + "/confirm",
        confirm,
        MANAGERS,
        "Confirm an import",
        {202: ImportShown},
        Confirmation,
        problems=(
            *UNKNOWN,
            "import-not-ready",
            "import-unreadable",
            "import-has-errors",
            "import-removal-unconfirmed",
        ),
    ),
    Route("GET", "/v1/mappings", mappings, MANAGERS, "List column mappings", {200: Mappings}, query=Pages),
    Route(
        "GET",
        MAPPING,
        show_mapping,
        MANAGERS,
        "Show a column mapping",
        {200: MappingSeen},
        problems=("unknown-mapping",),
    ),
    Route(
        "PUT",
        MAPPING,
        put_mapping,
        MANAGERS,
        "Put a column mapping",
        {201: MappingSeen, 200: MappingSeen},
        Mapping,
        problems=("too-many-mappings",),
    ),
    Route(
        "DELETE",
        MAPPING,
        remove_mapping,
        MANAGERS,
        "Remove a column mapping",
        {204: None},
        problems=("unknown-mapping",),
    ),
    Route("GET", "/v1/tags", tags, MANAGERS, "List tags", {200: Tags}, query=Pages),
    Route("GET", LABEL, show_tag, MANAGERS, "Show a tag", {200: Tag}, problems=("unknown-tag",)),
    Route("PUT", LABEL, put_tag, MANAGERS, "Put a tag", {201: Tag, 200: Tag}, problems=("too-many-tags",)),
    Route("DELETE", LABEL, remove_tag, MANAGERS, "Remove a tag", {204: None}, problems=("unknown-tag",)),
]
