"""What an agent's client shows of a contact, filled in from the campaign's book."""

from typing import Any

from engine.core import template
from engine.core.book import Book
from engine.core.campaign import Campaign, Settings
from engine.core.interaction import ExternalUrl, Format, Interaction, Method, Opened, Trigger, address_of, fields_of
from engine.core.template import Values


def values_of(book: Book, contact: str, agent: str, agent_name: str, call: str = "", disposition: str = "") -> Values:
    """What placeholders stand for. An erased contact has a ref and nothing else."""
    known = book.contacts.by_ref.get(contact)
    details = known.person.details if known is not None else None
    numbers = details.numbers if details is not None else ()
    dialled = book.calls.found(call)
    chosen = book.campaign.settings.disposition(disposition)
    names = {
        "campaign.ref": book.campaign.ref,
        "campaign.name": book.campaign.name,
        "contact.ref": contact,
        "contact.name": details.name if details is not None else "",
        "contact.number": numbers[0] if numbers else "",
        "contact.external_id": known.external_id if known is not None else "",
        "call.id": call,
        "call.number": numbers[dialled.number] if dialled is not None and dialled.number < len(numbers) else "",
        "agent.id": agent,
        "agent.name": agent_name,
        "disposition.code": disposition,
        "disposition.label": chosen.label if chosen is not None else "",
        "disposition.external_id": chosen.external_id if chosen is not None else "",
    }
    return Values(names, details.data if details is not None else {})


def reserved(settings: Settings, values: Values) -> dict[str, Any]:
    """With the reservation: script and tabs in HTML or Markdown whose values are text, and the addresses to open."""
    return {
        "interaction": settings.interaction.value,
        "script": template.markup(settings.script, values),
        "tabs": [
            {"title": tab.title, "url": template.url(tab.url, values)}
            if tab.url
            else {"title": tab.title, "text": template.markup(tab.text, values)}
            for tab in settings.tabs
        ],
        "screen_pop_url": _screen_pop(settings.screen_pop_url, values),
        "external_url": _opening(_external(settings, Trigger.AGENT_BUTTON), values),
    }


def opened(campaign: Campaign) -> Opened | None:
    """What clients open when the contact answers, as the settings are now; None for nothing."""
    settings, external = campaign.settings, _external(campaign.settings, Trigger.AUTOMATIC)
    if external is None and not settings.screen_pop_url:
        return None
    return Opened(campaign=campaign.name, screen_pop_url=settings.screen_pop_url, external_url=external)


def connected(opens: Opened, values: Values) -> dict[str, Any]:
    """With the news that the contact answered: what the client opens now."""
    named = Values({**values.names, "campaign.name": opens.campaign}, values.data)
    shown = {
        "screen_pop_url": _screen_pop(opens.screen_pop_url, named),
        "external_url": _opening(opens.external_url, named),
    }
    return {key: value for key, value in shown.items() if value is not None}


def _screen_pop(url: str, values: Values) -> str | None:
    return template.url(url, values) if url else None


def _external(settings: Settings, trigger: Trigger) -> ExternalUrl | None:
    external = settings.external_url
    wanted = settings.interaction is Interaction.EXTERNAL_URL and external is not None and external.trigger is trigger
    return external if wanted else None


def _opening(external: ExternalUrl | None, values: Values) -> dict[str, Any] | None:
    """What the client opens: an address, and for a POST the fields in the form that they are sent in."""
    if external is None:
        return None
    opening: dict[str, Any] = {"method": external.method.value, "url": address_of(external, values)}
    if external.method is Method.POST:
        in_body = external.format is not Format.QUERY
        opening["format"] = external.format.value
        opening["fields"] = fields_of(external, values) if in_body else {}
    return opening
