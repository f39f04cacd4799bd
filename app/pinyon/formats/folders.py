"""Namespaces as folders: the name of a folder of files is the name of the namespace that their rows are in.

Characters that no folder can have in its name are written as in URLs: a/b is a%2Fb.
"""

from urllib.parse import unquote

from pinyon.errors import InvalidArgument

LONGEST_NAME = 255
"""Bytes of the longest name of a folder, on the file systems that are in use."""
ESCAPED = {character: f"%{ord(character):02X}" for character in ("%", "/", "\\", *map(chr, range(32)), "\x7f")}


def folder_of(namespace: str) -> str:
    """The name of the folder of a namespace. Raises InvalidArgument if the name is too long for one."""
    name = "".join(ESCAPED.get(character, character) for character in namespace)
    if name.startswith("."):  # such folders are hidden, and two of them have a meaning
        name = "%2E" + name[1:]
    if len(name.encode()) > LONGEST_NAME:
        raise InvalidArgument(
            f"The namespace '{namespace[:80]}...' has a name that is too long for a folder; at most {LONGEST_NAME} "
            "characters are possible. Export it by itself, into a file"
        )
    return name


def namespace_of(folder: str) -> str:
    """The namespace of a folder. A % that folder_of() would not have written stands for itself."""
    name = unquote(folder)
    return name if name.isascii() and _is_of(folder, name) else folder


def _is_of(folder: str, namespace: str) -> bool:
    return len(folder) <= LONGEST_NAME and folder_of(namespace) == folder
