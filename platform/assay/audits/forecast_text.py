"""The forecast of an audit as text."""

from __future__ import annotations

from assay.audits.forecast import Forecast, Piece

LONG = 10.0  # seconds from which on a piece is named when an audit begins
NAMED = 5
STARTED = ", once the workers have started"


def line(forecast: Forecast) -> str:
    """How long it will take, and the pieces that take longest."""
    long = [piece for piece in _longest_first(forecast) if (piece.seconds or 0) >= LONG]
    named = ", ".join(f"{piece.work} {duration(piece.seconds)}" for piece in long[:NAMED])
    return f"forecast: {_whole(forecast)}{f'; longest: {named}' if named else ''}{_unknown(forecast)}"


def text(forecast: Forecast) -> str:
    """Every piece with its passes and seconds, the longest first, and the whole."""
    passes = f"{forecast.forward:.3g} s"
    if forecast.backward:
        passes += f", with its gradient {forecast.forward + forecast.backward:.3g} s"
    rows = [
        f"  {piece.work:32} {piece.forwards:>10,} {piece.backwards:>10,} {duration(piece.seconds):>12}"
        for piece in _longest_first(forecast)
    ]
    head = f"  {'piece':32} {'passes':>10} {'gradients':>10} {'time':>12}"
    scored = f"a pass of one image: {passes} on {forecast.device}"
    return "\n".join([scored, head, *rows, f"forecast: {_whole(forecast)}{_unknown(forecast)}"])


def duration(seconds: float | None) -> str:
    """`85 s`, `12 minutes`, `3.2 hours`, or `unknown`."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _whole(forecast: Forecast) -> str:
    at_a_time = f", {forecast.workers} pieces at a time" if forecast.workers > 1 else ""
    about = "" if forecast.seconds is not None and forecast.seconds < 1 else "about "
    return f"{about}{duration(forecast.seconds)}{at_a_time}{STARTED if forecast.workers > 1 else ''}"


def _unknown(forecast: Forecast) -> str:
    names = [piece.work for piece in forecast.pieces if piece.seconds is None]
    return f"; not foreseen: {', '.join(names)}" if names else ""


def _longest_first(forecast: Forecast) -> list[Piece]:
    return sorted(forecast.pieces, key=lambda piece: -(piece.seconds or 0.0))
