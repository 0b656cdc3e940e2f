"""Traces: where OpenTelemetry's spans go. Nowhere, unless the operator names a collector."""

from collections.abc import Callable

from opentelemetry import trace

from config.settings import InvalidSettings, Traces


def configure(traces: Traces) -> Callable[[], None]:
    """Send spans to the collector; returns what sends the last of them. Raises InvalidSettings.

    Headers that a collector asks for come from the environment, as for every exporter: `OTEL_EXPORTER_OTLP_HEADERS`.
    """
    if not traces.endpoint:
        return lambda: None
    try:
        from config.otlp import provider_to  # noqa: PLC0415 - the extra may not be installed
    except ImportError:
        cure = "spans are sent by the extra 'traces': pip install 'ringfold[traces]'"
        raise InvalidSettings(f"traces.endpoint: {cure}") from None
    provider = provider_to(traces.endpoint, traces.share)
    trace.set_tracer_provider(provider)
    return provider.shutdown
