"""An import as it is shown."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.importer.job import Findings, Row, RowError
from adapters.importer.limits import SHOWN_ERRORS
from adapters.importer.record import OVER, Forecast, Progress, Record, State


def line(record: Record) -> dict[str, Any]:
    """An import in a list."""
    request = record.request
    return {
        "id": record.id,
        "campaign": request.campaign,
        "name": request.name,
        "mode": request.mode,
        "state": record.state,
        "by": request.by,
        "created_at": _time(request.at),
        "changed_at": _time(record.changed_at),
    }


def shown(
    record: Record, findings: Findings | None, forecast: Forecast | None, progress: Progress | None
) -> dict[str, Any]:
    """`rows` is null until all are read, `counts` until they are compared, `result` until storing begins."""
    request = record.request
    errors = _errors(findings, forecast, progress)
    return {
        **line(record),
        "mapping": request.mapping or None,
        "region": request.region or None,
        "required": request.required,
        "bytes": record.size,
        "digest": record.digest,
        "reason": record.reason or (findings.unreadable if findings else "") or None,
        "rows": findings.rows if findings else None,
        "checked": record.checked if findings is None else findings.rows,
        "errors": [{"row": one.row, "column": one.column, "reason": one.reason} for one in errors],
        "error_count": _error_count(findings, forecast, progress),
        "preview": [_contact(one) for one in findings.preview] if findings and record.state not in OVER else [],
        "warnings": [*(findings.warnings if findings else ()), *(forecast.warnings if forecast else ())],
        "counts": _counts(findings, forecast),
        "stored": progress.rows if progress else 0,
        "result": _result(findings, progress),
        "confirmed_by": record.confirmed_by or None,
        "can_confirm": record.state in (State.VALID, State.INVALID)
        and findings is not None
        and not findings.unreadable
        and findings.good > 0,
    }


def _errors(findings: Findings | None, forecast: Forecast | None, progress: Progress | None) -> list[RowError]:
    """In the order of the file. What was foretold gives way to what happened."""
    later = progress.first_errors if progress else (forecast.first_errors if forecast else ())
    first = [*(findings.first_errors if findings else ()), *later]
    return sorted(first, key=lambda one: one.row)[:SHOWN_ERRORS]


def _error_count(findings: Findings | None, forecast: Forecast | None, progress: Progress | None) -> int:
    later = progress.errors if progress else (forecast.errors if forecast else 0)
    return (findings.errors if findings else 0) + later


def _counts(findings: Findings | None, forecast: Forecast | None) -> dict[str, int] | None:
    if findings is None or forecast is None:
        return None
    return {
        "new": forecast.new,
        "known": forecast.known,
        "replaced": forecast.replaced,
        "rejected": findings.rejected + forecast.rejected,
        "cancelled": forecast.removed,
    }


def _result(findings: Findings | None, progress: Progress | None) -> dict[str, int] | None:
    if findings is None or progress is None:
        return None
    return {
        "added": progress.added,
        "known": progress.known,
        "replaced": progress.replaced,
        "rejected": findings.rejected + progress.rejected,
        "cancelled": progress.cancelled,
    }


def _contact(row: Row) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in Row.__struct_fields__}
    until = fields.pop("consent_until")
    return {**msgspec.to_builtins(fields), "consent_until": _time(until)}


def _time(at: int) -> str | None:
    if not at:
        return None
    return datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
