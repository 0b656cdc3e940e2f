"""Spans on their way to a collector, by OTLP over HTTP. It needs the extra `traces`, and is imported only for an endpoint."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

SERVICE = "ringfold"
MAX_WAITING_SPANS = 8_192
"""A collector that is away costs the spans beyond these, and nothing else."""
EXPORT_TIMEOUT_S = 5


def provider_to(endpoint: str, share: float) -> TracerProvider:
    """Collects spans and sends them in batches, from a thread of its own."""
    resource = Resource.create({"service.name": SERVICE})
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(share), resource=resource)
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=MAX_WAITING_SPANS))
    return provider
