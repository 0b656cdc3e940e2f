"""Contact files: uploaded and checked, confirmed, and what they need to be read: column mappings and tags."""

import asyncio
import re
from typing import Annotated

import msgspec
from aiohttp import web

from api.problem import Problem, invalid
from api.route import AGENT_ID, HEX_ID, REF, Call, Route, reply, roles
from api.token import Role
from engine.core.directory import PutMapping, PutTag, RemoveMapping, RemoveTag

MANAGERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
MEDIA = {"text/csv": "csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx"}
BLOCK_BYTES = 256 * 1024
MAX_FILE_NAME_CHARS = 200
TAG = re.compile(r"(?=\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029,/]{1,64}(?<=\S)")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
OPTIONS = frozenset({"campaign", "mode", "mapping", "region", "encoding", "required", "prefix", "tags", "name"})


class Confirmation(msgspec.Struct, forbid_unknown_fields=True):
    accept_errors: bool = False
    confirm_removal: bool = False


class Mapping(msgspec.Struct, forbid_unknown_fields=True):
    """Our column by the file's header."""

    columns: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=100)]


# -- imports ----------------------------------------------------------------------------------------------------------


async def upload(call: Call) -> web.Response:
    query = call.request.query
    unknown = next((name for name in query if name not in OPTIONS), None)
    if unknown is not None:
        raise invalid(unknown, "there is no such option")
    campaign = query.get("campaign", "")
    if not REF.fullmatch(campaign):
        raise invalid("campaign", "the ref of a campaign is expected")
    settings = call.named(campaign).book.campaign.settings
    media = MEDIA.get(call.request.content_type)
    if media is None:
        raise Problem(415, "unsupported-media-type", f"{call.request.content_type!r} is none of {', '.join(MEDIA)}")
    name = query.get("name", "")
    if len(name) > MAX_FILE_NAME_CHARS or CONTROL.search(name):
        raise invalid("name", f"up to {MAX_FILE_NAME_CHARS} characters on one line")
    required = query.get("required", "")
    request = call.service.imports.request(
        campaign=campaign,
        by=call.by,
        name=name,
        mode=query.get("mode", "add"),
        media=media,
        encoding=query.get("encoding", "utf-8"),
        mapping=query.get("mapping", ""),
        required=tuple(one.strip() for one in required.split(",")) if required else (),
        region=query.get("region", settings.default_region).upper(),
        prefix=_flag(call, "prefix"),
        tags=query.get("tags", "replace"),
    )
    try:
        id_ = await call.service.imports.receive(request, call.request.content.iter_chunked(BLOCK_BYTES))
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Problem(400, "bad-request", f"the body can't be read: {error}") from None
    return reply({"id": id_}, 202, {"Location": f"/v1/imports/{id_}"})


def _flag(call: Call, name: str) -> bool:
    value = call.request.query.get(name, "false")
    if value not in ("true", "false"):
        raise invalid(name, "true or false is expected")
    return value == "true"


def _named(call: Call) -> str:
    """The import of the path, if the principal may see its campaign."""
    name = call.part("import", HEX_ID, "import")
    campaign = call.service.imports.campaign_of(name)
    if not call.may_see(campaign, call.engine.campaigns.get(campaign)):
        raise Problem(403, "forbidden", "this import is not yours")
    return name


async def listing(call: Call) -> web.Response:
    def visible(campaign: str) -> bool:
        wanted = call.request.query.get("campaign", campaign)
        return wanted == campaign and call.may_see(campaign, call.engine.campaigns.get(campaign))

    return reply({"imports": call.service.imports.listing(visible)})


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
    known = call.engine.directory.mappings
    return reply({"mappings": [{"name": name, "columns": columns} for name, columns in known.items()]})


async def show_mapping(call: Call) -> web.Response:
    name = call.part("mapping", AGENT_ID, "mapping")
    columns = call.engine.directory.mappings.get(name)
    if columns is None:
        raise Problem(404, "unknown-mapping", f"there is no mapping {name!r}")
    return reply({"name": name, "columns": columns})


async def put_mapping(call: Call) -> web.Response:
    _unbound(call)
    name = call.request.match_info["mapping"]
    if not AGENT_ID.fullmatch(name):
        raise invalid("name", "1 to 64 letters, digits and _ . -")
    body = await call.body(Mapping)
    call.service.imports.check_mapping(body.columns)
    created = await call.engine.direct(PutMapping(at=call.at, by=call.by, name=name, columns=body.columns))
    return reply({"name": name, "columns": body.columns}, 201 if created else 200)


async def remove_mapping(call: Call) -> web.Response:
    _unbound(call)
    name = call.part("mapping", AGENT_ID, "mapping")
    await call.engine.direct(RemoveMapping(at=call.at, by=call.by, name=name))
    return web.Response(status=204)


async def tags(call: Call) -> web.Response:
    return reply({"tags": list(call.engine.directory.tags)})


async def put_tag(call: Call) -> web.Response:
    _unbound(call)
    name = call.request.match_info["tag"]
    if not TAG.fullmatch(name):
        raise invalid("tag", "1 to 64 characters without commas and slashes, no blank at either end")
    created = await call.engine.direct(PutTag(at=call.at, by=call.by, name=name))
    return reply({"tag": name}, 201 if created else 200)


async def remove_tag(call: Call) -> web.Response:
    _unbound(call)
    await call.engine.direct(RemoveTag(at=call.at, by=call.by, name=call.part("tag", TAG, "tag")))
    return web.Response(status=204)


IMPORT, MAPPING, LABEL = "/v1/imports/{import}", "/v1/mappings/{mapping}", "/v1/tags/{tag}"
ROUTES = [
    Route("POST", "/v1/imports", upload, MANAGERS),
    Route("GET", "/v1/imports", listing, MANAGERS),
    *(Route("GET", f"/v1/imports/template.{media}", template, MANAGERS) for media in MEDIA.values()),
    Route("GET", IMPORT, show, MANAGERS),
    Route("DELETE", IMPORT, cancel, MANAGERS),
    Route("GET", IMPORT + "/errors.csv", errors, MANAGERS),
    Route("POST", IMPORT + "/confirm", confirm, MANAGERS),
    Route("GET", "/v1/mappings", mappings, MANAGERS),
    Route("GET", MAPPING, show_mapping, MANAGERS),
    Route("PUT", MAPPING, put_mapping, MANAGERS),
    Route("DELETE", MAPPING, remove_mapping, MANAGERS),
    Route("GET", "/v1/tags", tags, MANAGERS),
    Route("PUT", LABEL, put_tag, MANAGERS),
    Route("DELETE", LABEL, remove_tag, MANAGERS),
]
