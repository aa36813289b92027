"""Functions that lowered programs call, in Monty's Python. A program gets those that it uses before it starts."""

__all__ = ["HELPERS"]

HELPERS: dict[str, str] = {
    "_cm_text": """\
def _cm_text(value):
    return value if isinstance(value, str) else str(value)
""",
    "_cm_settled": """\
async def _cm_settle(awaitable):
    try:
        return await awaitable
    except Exception as error:
        return error
def _cm_settled(*awaitables):
    return [_cm_settle(awaitable) for awaitable in awaitables]
""",
    "_cm_delete": """\
def _cm_delete(container, key):
    from collections import Counter, deque
    def without(items):
        if isinstance(key, slice):
            gone = list(range(len(items)))[key]
            return [items[i] for i in range(len(items)) if i not in gone]
        items[key]
        items.pop(key)
        return items
    if isinstance(container, Counter):
        if key in container:
            container.pop(key)
    elif isinstance(container, dict):
        container.pop(key)
    elif isinstance(container, (list, deque)):
        kind = 'deque' if isinstance(container, deque) else 'list assignment'
        size = len(container)
        if isinstance(key, int) and not -size <= key < size:
            raise IndexError(kind + ' index out of range')
        kept = without(list(container))
        container.clear()
        container.extend(kept)
    elif hasattr(container, '__delitem__'):
        container.__delitem__(key)
    else:
        raise TypeError("'" + type(container).__name__ + "' object doesn't support item deletion")
""",
    "_cm_next": """\
def _cm_next(width, element, items, condition, *default):
    for item in items:
        if width:
            parts = tuple(item)
            if len(parts) < width:
                raise ValueError('not enough values to unpack (expected %d, got %d)' % (width, len(parts)))
            if len(parts) > width:
                raise ValueError('too many values to unpack (expected %d)' % width)
        else:
            parts = (item,)
        if condition is None or condition(*parts):
            return element(*parts)
    if default:
        return default[0]
    raise StopIteration
""",
    "_cm_dumps": """\
def _cm_dumps(value, *, default=None, **options):
    import json
    def plain(value):
        if value is None or isinstance(value, (str, int, float)):
            return value
        if isinstance(value, dict):
            return {key: plain(value[key]) for key in value}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return plain(default(value))
    return json.dumps(value if default is None else plain(value), **options)
""",
    "_cm_sub": """\
def _cm_sub(pattern, repl, string, count=0, flags=0):
    import re
    found = re.finditer(pattern, string, flags) if isinstance(pattern, str) else pattern.finditer(string)
    parts = []
    done = made = 0
    for match in found:
        if count and made >= count:
            break
        parts.append(string[done:match.start()])
        parts.append(repl(match))
        done = match.end()
        made += 1
    return ''.join(parts) + string[done:]
""",
    "_cm_set": """\
def _cm_set(operation, first, *others):
    result = set(first)
    for other in others:
        if operation == 'union':
            result |= set(other)
        elif operation == 'intersection':
            result &= set(other)
        else:
            result -= set(other)
    return result
""",
    "_cm_unfit": """\
def _cm_unfit(name, kind, value):
    given = type(value).__name__
    raise TypeError("descriptor '" + name + "' for '" + kind + "' objects doesn't apply to a '" + given + "' object")
""",
    "_cm_fromtimestamp": """\
def _cm_fromtimestamp(timestamp, tz=None):
    from datetime import datetime, timedelta, timezone
    import math
    part, whole = math.modf(timestamp)
    since = timedelta(seconds=int(whole), microseconds=round(part * 1000000))
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + since
    return moment.replace(tzinfo=None) if tz is None else moment.astimezone(tz)
""",
}
