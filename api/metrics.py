"""What Prometheus reads: the state as it is when it asks, and what the parts have counted and timed of themselves."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from api.route import Service
from engine import health
from engine.core.campaign import Status
from engine.core.measure import Spread

Rows = Iterable[tuple[tuple[str, ...], float]]
ALONE: tuple[str, ...] = ()


def text_of(service: Service) -> bytes:
    """In Prometheus' text format."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(_Ours(service))
    return generate_latest(registry)


class _Ours(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        yield from self._engine()
        yield from self._log()
        yield from self._pbx()
        yield from self._webhooks()
        yield from self._http()

    def _engine(self) -> Iterator[Metric]:
        engine = self._service.engine
        running = list(engine.campaigns.values())
        states = Counter(each.book.campaign.status for each in running)
        yield gauge("campaigns", "Campaigns by state", ("state",), by({each: states[each] for each in Status}))
        yield gauge("campaigns_waiting", "Running campaigns that wait, by what for", ("reason",), by(self._waiting()))
        yield gauge("calls_live", "Calls that have not ended", ALONE, one(sum(len(each.book.live) for each in running)))
        yield gauge("calls_in_setup", "Calls asked for and not answered", ALONE, one(len(engine.claims.in_setup)))
        reservations = sum(len(each.book.reservations) for each in running)
        yield gauge("reservations_live", "Contacts in agents' hands", ALONE, one(reservations))
        agents = Counter(agent.status.value for each in running for agent in each.book.agents.values())
        yield gauge("agents", "Allocated agents, by what they do", ("state",), by(agents))
        contacts: Counter[str] = Counter()
        for each in running:
            contacts.update({status.value: count for status, count in each.book.contacts.counts.items()})
        yield gauge("contacts", "Contacts, by their state", ("state",), by(contacts))
        depth = sum(each.actor.waiting for each in running)
        yield gauge("mailbox_messages", "Messages that wait to be decided on", ALONE, one(depth))
        measures = engine.measures
        yield counter("events", "Events committed, by type", ("event",), by(measures.events))
        yield counter("calls_ended", "Calls that ended, by outcome", ("outcome",), by(measures.calls_ended))
        yield counter(
            "commands", "Commands, by kind and what came of them", ("kind", "result"), measures.commands.items()
        )
        yield histogram("command_seconds", "From a command's arrival to its answer, durable", {ALONE: measures.decided})
        yield histogram("loop_lag_seconds", "How late the event loop is", {ALONE: measures.loop_lag})
        yield gauge("draining", "1 while the service lets calls end before it stops", ALONE, one(engine.draining))

    def _waiting(self) -> Counter[str]:
        engine, found = self._service.engine, Counter({reason.value: 0 for reason in health.Reason})
        at = engine.clock.now_ms()
        for each in engine.campaigns.values():
            if each.book.campaign.status is Status.RUNNING:
                store = each.actor.trouble
                for wait in health.waits(each.book, engine.claims, engine.zones, at, engine.draining, store):
                    found[wait.reason] += 1
        return found

    def _log(self) -> Iterator[Metric]:
        measures = self._service.engine.measures
        yield histogram("log_flush_seconds", "One write to the store", {ALONE: measures.flushes})
        yield histogram("log_group_events", "Events in one write", {ALONE: measures.group_events})
        yield counter("log_bytes", "Bytes written to logs", ALONE, one(measures.written_bytes))

    def _pbx(self) -> Iterator[Metric]:
        engine, measures = self._service.engine, self._service.engine.measures
        yield gauge("pbx_up", "1 while the PBX is connected", ALONE, one(engine.claims.pbx_up))
        yield counter("ami_connections", "Times that AMI was logged in to", ALONE, one(measures.pbx_connections))
        yield counter("ami_events", "Events heard, by name", ("event",), by(measures.pbx_events))
        yield counter("ami_unanswered", "Actions that had no answer", ALONE, one(measures.unanswered))
        yield histogram("ami_action_seconds", "From an action sent to its answer", {ALONE: measures.actions})

    def _webhooks(self) -> Iterator[Metric]:
        feed = self._service.feed
        reports = feed.reports()
        yield counter("feed_notifications", "Notifications in the feed", ALONE, one(feed.position))
        yield gauge("event_streams", "Event streams and long polls open", ALONE, one(self._service.streams))
        label = ("webhook",)
        rows = [((name,), each) for name, each in reports.items()]
        yield gauge("webhook_behind", "Notifications that wait", label, [(key, each.behind) for key, each in rows])
        lag = [(key, each.lag_ms / 1_000) for key, each in rows]
        yield gauge("webhook_lag_seconds", "How long the first of them has waited", label, lag)
        parked = [(key, float(each.parked > 0)) for key, each in rows]
        yield gauge("webhook_parked", "1 where something waits to be resumed", label, parked)
        attempts = [((name, result), n) for (name,), each in rows for result, n in each.attempts.items()]
        yield counter("webhook_attempts", "Attempts, by what came of them", ("webhook", "result"), attempts)

    def _http(self) -> Iterator[Metric]:
        measures = self._service.engine.measures
        rows = [((method, route, str(status)), n) for (method, route, status), n in measures.answers.items()]
        yield counter("http_answers", "Answers, by route and status", ("method", "route", "status"), rows)
        yield histogram("http_seconds", "From a request to its answer", {**measures.requests}, ("method", "route"))
        refusals = [((role or "none", route, code), n) for (role, route, code), n in measures.refusals.items()]
        yield counter("refusals", "Requests that the audit tells of", ("role", "route", "code"), refusals)
        yield counter("tokens_refused", "Requests refused for their token", ("reason",), by(measures.refused_tokens))


def one(value: float) -> Rows:
    return [(ALONE, value)]


def by(counts: Mapping[str, float]) -> Rows:
    return [((str(name),), value) for name, value in counts.items()]


def gauge(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    metric = GaugeMetricFamily(f"ringfold_{name}", text, labels=labels)
    for key, value in rows:
        metric.add_metric(key, value)
    return metric


def counter(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    metric = CounterMetricFamily(f"ringfold_{name}", text, labels=labels)
    for key, value in rows:
        metric.add_metric(key, value)
    return metric


def histogram(name: str, text: str, spreads: Mapping[Any, Spread], labels: tuple[str, ...] = ALONE) -> Metric:
    metric = HistogramMetricFamily(f"ringfold_{name}", text, labels=labels)
    for key, spread in spreads.items():
        below, buckets = 0, []
        for bound, count in zip((*map(str, spread.bounds), "+Inf"), spread.counts, strict=True):
            below += count
            buckets.append((bound, below))
        metric.add_metric(key, buckets=buckets, sum_value=spread.total)
    return metric
