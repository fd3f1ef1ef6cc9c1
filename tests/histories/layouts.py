"""The layout of every message: its fields, with types and defaults, by name and schema version.

What a field means can't be written down by a machine; the recorded histories show it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from msgspec import Raw, Struct

from schemas.current import CurrentTrigger, CurrentWorkflow
from schemas.records import MESSAGES
from schemas.upcasters import DEFINITION, newest

Layout = dict[str, Any]
"""By field, its type, and its default if it has one: `int = 0`."""
Layouts = dict[str, dict[str, Layout]]
"""By message and schema version, as text."""

FILE: Final = Path(__file__).parent / "layouts.json"

DEFAULT: Final = " = "

DEFINITIONS: Final = (CurrentWorkflow, CurrentTrigger)
"""What topic `definitions` holds. They have one schema version for both."""


def layout_of(cls: type[Struct]) -> Layout:
    """The fields of a message: what they are called, their types, and their defaults if they have one."""
    config = cls.__struct_config__
    layout: Layout = {}
    if config.tag_field:
        layout[config.tag_field] = repr(config.tag)
    for field in msgspec.structs.fields(cls):
        is_made = field.default_factory is not msgspec.NODEFAULT
        default = field.default_factory() if is_made else field.default
        shown = "" if default is msgspec.NODEFAULT else f"{DEFAULT}{_json(default)}"
        layout[field.encode_name] = f"{_type(field.type)}{shown}"
    return layout


def _type(annotation: Any) -> str:
    """A type as it is written in the source. JSON that is left as it is may be any."""
    text = annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    return re.sub(r"\b(typing|datetime|msgspec|schemas\.\w+)\.", "", text).replace("Raw", "Any")


def _json(value: Any) -> str:
    return bytes(value).decode() if isinstance(value, Raw) else msgspec.json.encode(value).decode()


def present() -> Layouts:
    """What this build writes: each message in its newest version."""
    layouts = {name: {str(newest(name)): layout_of(cls)} for name, cls in MESSAGES.items()}
    both = {cls.__name__: layout_of(cls) for cls in DEFINITIONS}
    return layouts | {DEFINITION: {str(newest(DEFINITION)): both}}


def recorded() -> Layouts:
    """What has been written down."""
    return msgspec.json.decode(FILE.read_bytes(), type=Layouts)


def edits(known: Layouts, found: Layouts) -> Iterator[str]:
    """What of the recorded layouts this build has changed, each with what to do instead."""
    for name, versions in known.items():
        if name not in found:
            yield f"{name} was removed, but logs hold it. Keep the class, even if nothing writes it any more."
            continue
        ((version, layout),) = found[name].items()
        if int(version) < max(map(int, versions)):
            yield f"{name} has had schema version {max(versions)}. Keep its upcasters."
        elif version in versions and (changes := list(_changes(versions[version], layout))):
            yield (
                f"schema version {version} of {name} has been recorded, and is another one now: {'; '.join(changes)}."
                " Logs hold what older builds wrote. Append an upcaster in schemas/upcasters.py, so that this is schema"
                f" version {int(version) + 1}, and run `python -m tests.histories freeze`"
            )


def _changes(known: Layout, found: Layout) -> Iterator[str]:
    """What of a layout has changed, apart from new fields that need not be there."""
    for field, shown in known.items():
        if field not in found:
            yield f"`{field}` is gone"
        elif isinstance(shown, dict):
            yield from (f"in {field}, {change}" for change in _changes(shown, found[field]))
        elif found[field] != shown:
            yield f"`{field}` was `{shown}` and is `{found[field]}`"
    for field, shown in found.items():
        if field not in known and DEFAULT not in shown:
            yield f"`{field}` is new and has no default"


def merged(known: Layouts, found: Layouts) -> Layouts:
    """The recorded layouts with what is new."""
    return {
        name: dict(sorted({**known.get(name, {}), **found.get(name, {})}.items(), key=lambda item: int(item[0])))
        for name in sorted(known.keys() | found.keys())
    }


def freeze() -> list[str]:
    """Write down what is new; the edits that keep it from that."""
    known, found = recorded() if FILE.exists() else {}, present()
    refused = list(edits(known, found))
    if not refused:
        layouts = msgspec.json.format(msgspec.json.encode(merged(known, found)), indent=1)
        FILE.write_bytes(layouts + b"\n")
    return refused
