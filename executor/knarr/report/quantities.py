"""Sizes, times and rates for people."""

_UNITS = ("B", "kB", "MB", "GB", "TB")


def format_bytes(count: float) -> str:
    """A size in decimal units, three digits."""
    size, unit = float(count), 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    if unit == 0:
        return f"{size:.0f} B"
    return f"{size:.3g} {_UNITS[unit]}" if size < 99.95 else f"{size:.0f} {_UNITS[unit]}"


def format_seconds(seconds: float) -> str:
    """A duration: tenths below a minute, then minutes, then hours."""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m"


def format_rate(count: float, seconds: float) -> str:
    """Bytes by time; empty where the time is too short to say."""
    return f"{format_bytes(count / seconds)}/s" if seconds >= 0.01 else ""


def plural(count: int, noun: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
