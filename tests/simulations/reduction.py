"""What must agree between a recorded PBX and the simulated one: per channel, the sequence of facts.

Left out, because they depend on configuration, on the phone's SIP stack or on chance:
- events that only inform: device states, dialplan steps and variables, CDR, bridge creation and destruction, connected
  line and caller id updates, RTP, tests of the PBX itself, hang-up handlers of older dialplans;
- the fake channel OutgoingSpoolFailed, which only a dialplan with a `failed` extension brings about;
- OriginateResponse inside the sequence: it keeps no order; it is compared on its own, by result and reason;
- the order of DialState RINGING and Newstate Ringing among themselves;
- the cause shown by a HangupRequest without a refusal: sipp's BYE shows 16, a bare one shows none;
- SoftHangupRequest of a leg that is in no dialplan of ours;
- names, numbers, times, ids, and how many others share a bridge.
"""

from collections.abc import Iterable

from tests.simulations.ami import Message

Fact = tuple[str, ...]

INFORMATIVE = frozenset(
    {
        "BridgeCreate",
        "BridgeDestroy",
        "Cdr",
        "DeviceStateChange",
        "HangupHandlerPush",
        "HangupHandlerRun",
        "NewCallerid",
        "NewConnectedLine",
        "Newexten",
        "QueueMemberStatus",
        "RTCPReceived",
        "RTCPSent",
        "TestEvent",
        "VarSet",
    }
)


def reduce(messages: Iterable[Message]) -> dict[str, list[Fact]]:
    """Facts by channel id, in order; what the originate came to stands under `<id> originate`."""
    told: dict[str, list[Fact]] = {}
    for message in messages:
        name = message["Event"]
        if not name or name in INFORMATIVE or not message.leg or message["Channel"] == "OutgoingSpoolFailed":
            continue
        if name == "OriginateResponse":
            told[f"{message.leg} originate"] = [(message["Response"], message["Reason"])]
        else:
            told.setdefault(message.leg, []).append(_fact(name, message))
    for facts in told.values():
        _settle_ringing(facts)
    return told


def _fact(name: str, message: Message) -> Fact:
    match name:
        case "Newstate" | "Newchannel":
            return (name, message["ChannelStateDesc"])
        case "DialState" | "DialEnd":
            return (name, message["DialStatus"])
        case "HangupRequest":
            cause = message["Cause"] if message["Cause"] != "16" else ""
            return (name, message["ChannelStateDesc"], cause, message["TechCause"])
        case "Hangup":
            return (name, message["ChannelStateDesc"], message["Cause"], message["TechCause"])
        case "BridgeEnter" | "BridgeLeave":
            return (name, message["BridgeType"])
        case "UserEvent":
            return (name, message["UserEvent"], message["Result"])
        case _:
            return (name,)


def _settle_ringing(facts: list[Fact]) -> None:
    first, second = ("Newstate", "Ringing"), ("DialState", "RINGING")
    for at in range(len(facts) - 1):
        if facts[at] == second and facts[at + 1] == first:
            facts[at], facts[at + 1] = first, second
