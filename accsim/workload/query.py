"""Names with parameters: ``bert_base?seq=4096&batch=64``."""

from __future__ import annotations

from accsim.config.checks import shown
from accsim.errors import InputError, Problem

_FORM = "allowed is name?parameter=value&parameter=value"


def parse_query(spec: str) -> tuple[str, dict[str, str]]:
    """Name (or path) and parameters of a workload's spec; the values are texts as written.

    Raises
    ------
    InputError
        With every part that is empty, lacks its name or value, or is given twice.

    Examples
    --------
    >>> parse_query("bert_base?seq=4096&batch=64")
    ('bert_base', {'seq': '4096', 'batch': '64'})
    >>> parse_query("bert_base")
    ('bert_base', {})
    """
    name, mark, query = spec.partition("?")
    if not mark:
        return name, {}
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for part in query.split("&"):
        key, equals, value = (text.strip() for text in part.partition("="))
        if not part.strip():
            what = "an empty parameter" if query.strip() else "nothing after '?'"
            problems.append(Problem("query", "", f"read {what}, {_FORM}"))
        elif not (equals and key and value) or "=" in value:
            problems.append(Problem("query", "", f"read {shown(part)}, {_FORM}"))
        elif key in values:
            problems.append(
                Problem(f"query:{key[:60]}", "", f"the parameter is given twice, as {shown(values[key])} first")
            )
        else:
            values[key] = value
    if problems:
        raise InputError(problems)
    return name, values
