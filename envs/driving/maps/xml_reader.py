"""XML into plain elements that know their line and road, safely.

Document types and entities are refused, so nothing can be expanded or fetched; size, depth and number of elements are
bounded. Every error names the file, the line, the road and the element.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from envs.driving.errors import MapError
from vlarl.errors import nearest

MAX_BYTES = 256 * 2**20
MAX_DEPTH = 64
MAX_ELEMENTS = 10_000_000
LARGEST = 1e30
"""Numbers up to this size can go through cubics without overflowing."""


@dataclass(slots=True, eq=False)
class Element:
    """One XML element. Text between elements is dropped: OpenDRIVE keeps everything in attributes."""

    tag: str
    attributes: dict[str, str]
    file: str
    line: int
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)

    def all(self, path: str) -> list[Element]:
        """Descendants by a path of tags, for example ``lanes/laneSection``, in the order of the file."""
        found = [self]
        for tag in path.split("/"):
            found = [child for element in found for child in element.children if child.tag == tag]
        return found

    def first(self, path: str) -> Element | None:
        """The first descendant by that path, None if there is none."""
        found = self.all(path)
        return found[0] if found else None

    def need(self, path: str) -> Element:
        """The first descendant by that path.

        Raises:
            MapError: there is none.
        """
        found = self.first(path)
        if found is None:
            raise self.error(f"has no <{path}>")
        return found

    def text(self, name: str, default: str | None = None) -> str:
        """An attribute as text.

        Raises:
            MapError: it is missing and there is no default.
        """
        value = self.attributes.get(name, default)
        if value is None:
            guess = nearest(name, self.attributes)
            hint = f"; did you mean {guess!r}?" if guess else ""
            raise self.error(f"lacks the attribute {name!r} (it has: {', '.join(self.attributes) or 'none'}{hint})")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """An attribute as a finite number.

        Raises:
            MapError: it is missing without a default, is no number, is not finite, or larger than ``LARGEST``.
        """
        if default is not None and name not in self.attributes:
            return default
        text = self.text(name)
        try:
            value = float(text)
        except ValueError:
            raise self.error(f"{name}={text!r} is not a number") from None
        if not abs(value) <= LARGEST:
            raise self.error(f"{name}={text!r} is not finite, or absurdly large")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """An attribute as an integer.

        Raises:
            MapError: it is missing without a default, or is no integer.
        """
        if default is not None and name not in self.attributes:
            return default
        text = self.text(name)
        try:
            return int(text)
        except ValueError:
            raise self.error(f"{name}={text!r} is not an integer") from None

    def error(self, message: str) -> MapError:
        """An error at this element: file, line, road, element, then ``message``."""
        return MapError(f"{self.file}, line {self.line}{self._place()}, <{self.tag}>: {message}")

    def _place(self) -> str:
        element: Element | None = self
        while element is not None:
            if element.tag in ("road", "junction"):
                return f", {element.tag} {element.attributes.get('id', 'without an id')}"
            element = element.parent
        return ""


class _TreeBuilder:
    """The handlers of one parse: the tree so far and the elements that are open."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Element | None = None
        self.open: list[Element] = []
        self.count = 0
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if len(self.open) >= MAX_DEPTH or self.count > MAX_ELEMENTS:
            raise self.error(f"more than {MAX_DEPTH} elements within each other, or more than {MAX_ELEMENTS} in all")
        parent = self.open[-1] if self.open else None
        element = Element(tag, attributes, self.file, self.parser.CurrentLineNumber, parent)
        if parent is None:
            self.root = element
        else:
            parent.children.append(element)
        self.open.append(element)

    def _end(self, _tag: str) -> None:
        self.open.pop()

    def _refuse(self, *_declaration: object) -> None:
        raise self.error("document types and entities are refused; remove the <!DOCTYPE ...> part")

    def error(self, message: str) -> MapError:
        """An error at the place the parser has reached."""
        if self.open:
            return self.open[-1].error(message)
        return MapError(f"{self.file}, line {self.parser.CurrentLineNumber}: {message}")


def parse_xml(content: bytes, file: str) -> Element:
    """Parse a whole document.

    Args:
        content: the file's bytes.
        file: the name that errors give.

    Raises:
        MapError: not well-formed (truncated, ...), a document type or entity, or larger than the limits above.
    """
    if len(content) > MAX_BYTES:
        raise MapError(f"{file}: {len(content)} bytes; at most {MAX_BYTES} are read")
    builder = _TreeBuilder(file)
    try:
        builder.parser.Parse(content, True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise builder.error(f"not well-formed XML at line {error.lineno}: {reason}. Is the file complete?") from None
    except (LookupError, ValueError) as error:  # encodings that Python does not know, or that expat cannot read
        raise builder.error(f"{error}. Write the map in utf-8.") from None
    assert builder.root is not None, "expat refuses a document without an element"
    return builder.root


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a map file.

    Raises:
        MapError: it does not exist or cannot be read; similar names in its folder are given.
    """
    path = Path(path)
    try:
        return path.read_bytes()
    except OSError as error:
        names = [other.name for other in path.parent.glob("*.xodr")] if path.parent.is_dir() else []
        guess = nearest(path.name, names)
        hint = f" Did you mean {guess!r}?" if guess and guess != path.name else ""
        raise MapError(f"cannot read the map {path}: {error.strerror or error}.{hint}") from None
