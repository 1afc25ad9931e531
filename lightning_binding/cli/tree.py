"""jsonargparse's description of a wrong value, read back.

It is an indented tree, with a branch for every type that was tried. Every line becomes a `Branch` that knows the keys,
the classes and the types on the way to it.
"""

import re
from dataclasses import dataclass, field

_KEY = re.compile(r'Parser key "([^"]+)"|^(\S+)\.help(?=:)')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'|class_path='([^']+)'")
_CALLABLE = re.compile(r"Type (\S.*) expects a function or a callable class")
_SUBTYPES = re.compile(r"Subtypes: \[(.*)\]$")
_GIVEN = re.compile(r"(?:Given value|Got value): (.*?)(?:\. Got value: .*)?$")


@dataclass
class Branch:
    """A line of the tree, with what stands above it."""

    indent: int
    text: str
    keys: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    types: str = ""  # those that were tried
    given: str = ""

    @property
    def key(self) -> str:
        """The key in YAML."""
        return ".init_args.".join(self.keys)


def branches(message: str) -> list[Branch]:
    """The lines of a message.

    Args:
        message: What jsonargparse says of a wrong value.
    """
    path, found = [Branch(-1, "")], list[Branch]()
    for line in message.splitlines():
        text = line.lstrip(" -")
        if not text:
            continue
        indent = len(line) - len(text)
        while len(path) > 1 and path[-1].indent >= indent:
            path.pop()
        above = path[-1]
        given = match[1] if (match := _GIVEN.search(text)) else ""
        if text.startswith("Given value:"):
            for branch in found:
                branch.given = branch.given or (given if branch.indent > indent else "")
        if match := _SUBTYPES.search(text):
            above.types = match[1]
        keys, classes = ([first or second for first, second in token.findall(text)] for token in (_KEY, _CLASS))
        types = "" if keys else match[1] if (match := _CALLABLE.search(text)) else above.types
        path.append(Branch(indent, text, above.keys + keys, above.classes + classes, types, given))
        found.append(path[-1])
    return found
