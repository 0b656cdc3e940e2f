"""The AMI actions: each takes a request and answers with the bytes of its response, in the real PBX's words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from simulations.pbx.channel import UP
from simulations.pbx.exchange import Exchange
from simulations.pbx.leg import Leg
from simulations.pbx.originate import CONTEXTS, Originate
from simulations.pbx.wire import Action, action_id, error, message, response, success

MAX_UNIQUEID_BYTES = 149
DEFAULT_ORIGINATE_TIMEOUT_MS = 30_000
FORBIDDEN_APPLICATIONS = ("system", "exec", "trysystem", "agi", "eagi", "mixmonitor", "originate", "externalivr")

Soon = Callable[[Callable[[], None]], object]
Publish = Callable[[str, Callable[[], bytes]], None]
Handler = Callable[["Manager", Action], bytes]


class Manager:
    """Performs actions on the exchange. What an action sets off happens `soon`, after its response."""

    def __init__(self, exchange: Exchange, soon: Soon, tell_at_once: Publish) -> None:
        self.exchange = exchange
        self._soon = soon
        self._tell_at_once = tell_at_once
        self._globals: dict[str, str] = {}

    def perform(self, action: Action, classes: frozenset[str]) -> bytes:
        entry = HANDLERS.get(action.name)
        if entry is None:
            return error(
                action,
                f"Invalid/unknown command: {action['action']}. Use Action: ListCommands to show available commands.",
            )
        needed, handler = entry
        if needed and not needed & classes:
            return error(action, "Permission denied")
        return handler(self, action)

    # -- actions on calls ---------------------------------------------------------------------------------------------

    def originate(self, action: Action) -> bytes:
        fault = self._originate_fault(action)
        if fault:
            return error(action, fault)
        request = Originate(
            channel=action["channel"],
            context=action["context"],
            exten=action["exten"],
            timeout_ms=int(action["timeout"] or DEFAULT_ORIGINATE_TIMEOUT_MS),
            uid=action["channelid"],
            variables=_variables(action),
            caller=action["callerid"],
            answered=lambda ok, reason, leg: self._tell_originate(action, ok, reason, leg),
        )
        self._soon(lambda: self.exchange.originate(request))
        return success(action, "Originate successfully queued")

    def _originate_fault(self, action: Action) -> str:
        if not action["channel"]:
            return "Channel not specified"
        if action["priority"] and not action["priority"].isdigit():
            return "Invalid priority"
        if action["timeout"] and not action["timeout"].isdigit():
            return "Invalid timeout"
        if "/" not in action["channel"]:
            return "Invalid channel"
        if action["application"]:
            forbidden = action["application"].lower() in FORBIDDEN_APPLICATIONS
            # The product never originates into an application, so this PBX knows none.
            return "Originate Access Forbidden: app or data blacklisted" if forbidden else "Application not simulated"
        if action["context"] not in CONTEXTS or action["exten"] != "s":
            return "Extension does not exist."
        if len(action["channelid"].encode()) > MAX_UNIQUEID_BYTES:
            return f"Uniqueid length exceeds maximum of {MAX_UNIQUEID_BYTES}\n"
        return ""

    def _tell_originate(self, action: Action, ok: bool, reason: int, leg: Leg | None) -> None:
        """OriginateResponse doesn't queue behind the channel's events: it may overtake them."""
        variable = [] if leg is None else [(f"ChanVariable({leg.name})", f"CALL_UUID={leg.get('CALL_UUID')}")]
        told = message(
            ("Event", "OriginateResponse"),
            ("Privilege", "call,all"),
            ("SystemName", "pbx"),
            *action_id(action),
            ("Response", "Success" if ok else "Failure"),
            ("Channel", action["channel"] if leg is None else leg.name),
            ("Context", action["context"]),
            ("Exten", action["exten"]),
            ("Reason", reason),
            ("Uniqueid", action["channelid"] or (leg.uid if leg else "<unknown>")),
            ("CallerIDNum", "<unknown>"),
            ("CallerIDName", "<unknown>"),
            *variable,
        )
        self._tell_at_once("OriginateResponse", lambda: told)

    def hangup(self, action: Action) -> bytes:
        wanted = action["channel"]
        if not wanted:
            return error(action, "No channel specified")
        cause = int(action["cause"]) if action["cause"].isdigit() else 0
        if wanted.startswith("/") and wanted.endswith("/") and len(wanted) > 1:
            return self._hangup_many(action, wanted[1:-1], cause)
        leg = self.exchange.find(wanted)
        if leg is None:
            return error(action, "No such channel")
        self._soon(lambda: leg.soft_hangup(cause))
        return success(action, "Channel Hungup")

    def _hangup_many(self, action: Action, pattern: str, cause: int) -> bytes:
        legs = [leg for leg in self.exchange.legs if re.search(pattern, leg.name)]
        for leg in legs:
            self._soon(partial(leg.soft_hangup, cause))
        items = [
            message(("Event", "ChannelHungup"), ("Channel", leg.name), *action_id(action), ("SystemName", "pbx"))
            for leg in legs
        ]
        return _list(action, "Channels hung up will follow", items, "ChannelsHungupListComplete")

    def setvar(self, action: Action) -> bytes:
        name, value = action["variable"], action["value"]
        if not name:
            return error(action, "No variable specified")
        if not action["channel"]:
            self._globals[name] = value
            return success(action, "Variable Set")
        leg = self.exchange.find(action["channel"])
        if leg is None:
            return error(action, "No such channel")
        if "(" in name:
            self.exchange.function_writes.append((leg.uid, name, value))
        leg.set(name, value)
        return success(action, "Variable Set")

    def getvar(self, action: Action) -> bytes:
        name = action["variable"]
        if not name:
            return error(action, "No variable specified")
        value = self._globals.get(name, "")
        if action["channel"]:
            leg = self.exchange.find(action["channel"])
            if leg is None:
                return error(action, "No such channel")
            value = leg.get(name)
        return response(action, "Success", ("Variable", name), ("Value", value))

    def redirect(self, action: Action) -> bytes:
        if not action["channel"]:
            return error(action, "Channel not specified")
        if not action["context"]:
            return error(action, "Context not specified")
        leg = self.exchange.find(action["channel"])
        if leg is None:
            return error(action, f"Channel does not exist: {action['channel']}")
        self._soon(lambda: leg.redirect(action["context"]) if leg.alive else None)
        return success(action, "Redirect successful")

    def bridge(self, action: Action) -> bytes:
        if not action["channel1"] or not action["channel2"]:
            return error(action, "Missing channel parameter in request")
        first, second = self.exchange.find(action["channel1"]), self.exchange.find(action["channel2"])
        if first is None:
            return error(action, f"Channel1 does not exist: {action['channel1']}")
        if second is None:
            return error(action, f"Channel2 does not exist: {action['channel2']}")
        if first.state != UP or second.state != UP:
            return error(action, f"Unable to bridge {first.name} to {second.name}")
        self._soon(lambda: first.bridge_by_action(second) if first.alive and second.alive else None)
        return success(action, "Channels have been bridged")

    # -- questions ----------------------------------------------------------------------------------------------------

    def status(self, action: Action) -> bytes:
        legs = self.exchange.legs
        if action["channel"]:
            leg = self.exchange.find(action["channel"])
            if leg is None:
                return error(action, "No such channel")
            legs = (leg,)
        wanted = [name for name in action["variables"].split(",") if name]
        items = [self._status_of(action, leg, wanted) for leg in legs]
        return _list(action, "Channel status will follow", items, "StatusComplete", ("Items", len(items)))

    def _status_of(self, action: Action, leg: Leg, wanted: list[str]) -> bytes:
        about = message(
            ("Type", "PJSIP"),
            ("DNID", ""),
            ("EffectiveConnectedLineNum", "<unknown>"),
            ("EffectiveConnectedLineName", "<unknown>"),
            ("TimeToHangup", 0),
            ("BridgeID", leg.bridge.uid if leg.bridge else ""),
            ("Application", leg.application),
            ("Data", leg.data),
            ("Nativeformats", "(ulaw)"),
            ("Readformat", "ulaw"),
            ("Readtrans", ""),
            ("Writeformat", "ulaw"),
            ("Writetrans", ""),
            ("Callgroup", 0),
            ("Pickupgroup", 0),
            ("Seconds", self.exchange.seconds(leg)),
            *(("Variable", f"{name}={leg.get(name)}") for name in wanted),
            *action_id(action),
        )
        return b"Event: Status\r\nPrivilege: Call\r\n" + leg.snapshot() + about

    def core_show_channels(self, action: Action) -> bytes:
        items = []
        for leg in self.exchange.legs:
            head = message(("Event", "CoreShowChannel"), *action_id(action))[:-2]
            about = message(
                ("Application", leg.application),
                ("ApplicationData", leg.data),
                ("Duration", time.strftime("%H:%M:%S", time.gmtime(self.exchange.seconds(leg)))),
                ("BridgeId", leg.bridge.uid if leg.bridge else ""),
            )
            items.append(head + leg.snapshot() + about)
        return _list(action, "Channels will follow", items, "CoreShowChannelsComplete")

    def core_status(self, action: Action) -> bytes:
        started = time.gmtime(self.exchange.started_s)
        day, hour = time.strftime("%Y-%m-%d", started), time.strftime("%H:%M:%S", started)
        return response(
            action,
            "Success",
            ("CoreStartupDate", day),
            ("CoreStartupTime", hour),
            ("CoreReloadDate", day),
            ("CoreReloadTime", hour),
            ("CoreCurrentCalls", len(self.exchange.legs)),
            ("CoreProcessedCalls", self.exchange.dialled),
        )

    def core_settings(self, action: Action) -> bytes:
        return response(
            action,
            "Success",
            ("AMIversion", "11.0.0"),
            ("AsteriskVersion", "simulated"),
            ("SystemName", "pbx"),
            ("CoreMaxCalls", 0),
        )

    def ping(self, action: Action) -> bytes:
        return response(action, "Success", ("Ping", "Pong"), ("Timestamp", f"{self.exchange.now_s():.6f}"))

    def user_event(self, action: Action) -> bytes:
        told = message(
            ("Event", "UserEvent"),
            ("Privilege", "user,all"),
            ("SystemName", "pbx"),
            *action_id(action),
            ("UserEvent", action["userevent"]),
            *((name, value) for name, value in action.rest("action", "actionid", "userevent")),
        )
        self._soon(lambda: self.exchange.publish("UserEvent", lambda: told))
        return success(action, "Event Sent")


CALL: Final = frozenset({"call"})
ASKING: Final = frozenset({"system", "reporting"})

HANDLERS: dict[str, tuple[frozenset[str], Handler]] = {
    "bridge": (CALL, Manager.bridge),
    "coresettings": (ASKING, Manager.core_settings),
    "coreshowchannels": (ASKING, Manager.core_show_channels),
    "corestatus": (ASKING, Manager.core_status),
    "getvar": (CALL | {"reporting"}, Manager.getvar),
    "hangup": (CALL | {"system"}, Manager.hangup),
    "originate": (frozenset({"originate"}), Manager.originate),
    "ping": (frozenset(), Manager.ping),
    "redirect": (CALL, Manager.redirect),
    "setvar": (CALL, Manager.setvar),
    "status": (CALL | ASKING, Manager.status),
    "userevent": (frozenset({"user"}), Manager.user_event),
}
"""Each action with the write classes of which one is needed; none: anybody who is logged in."""


def _variables(action: Action) -> tuple[tuple[str, str], ...]:
    """The Variable headers, split at every comma as the real one does: there is no quoting and no escape."""
    pairs = (part.partition("=") for header in action.all("variable") for part in header.split(","))
    return tuple((name.strip(), value) for name, equals, value in pairs if equals)


def _list(action: Action, text: str, items: list[bytes], end: str, *more: tuple[str, object]) -> bytes:
    head = response(action, "Success", ("EventList", "start"), ("Message", text))
    tail = message(("Event", end), *action_id(action), ("EventList", "Complete"), ("ListItems", len(items)), *more)
    return b"".join((head, *items, tail))
