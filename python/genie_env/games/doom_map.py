"""Doom's take_cover map with other walls, another floor or other light.

A WAD is a file of named lumps with a directory at its end. The map's text (UDMF) names the textures, and
the game's own WAD holds them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct("<4sii")
"""Kind, number of lumps, where the directory is."""
_ENTRY = struct.Struct("<ii8s")
"""Where a lump is, its size, its name."""
BRIGHTEST = 255


@dataclass(frozen=True)
class MapChanges:
    """What is to be seen in place of the map's own; None: its own."""

    walls: str | None = None
    """A texture of the game, for instance "STONE2"."""
    floor: str | None = None
    """A flat of the game, for instance "GRASS1"; the ceiling stays."""
    light: int | None = None
    """0 to BRIGHTEST; the map has 210."""

    def __post_init__(self) -> None:
        for what, name in (("walls", self.walls), ("floor", self.floor)):
            if name is not None and not isinstance(name, str):
                raise ValueError(f"{what} is {name!r}; expected the name of a texture")
        light = self.light
        if light is not None and (type(light) is not int or not 0 <= light <= BRIGHTEST):
            raise ValueError(f"light is {light!r}; expected a whole number from 0 to {BRIGHTEST}")

    def __bool__(self) -> bool:
        return self != MapChanges()


def changed_map(scenario: Path, game: Path, changes: MapChanges) -> bytes:
    """The WAD `scenario` with the changes. Raises ValueError for a texture that the WAD `game` has
    not."""
    lumps = _lumps(scenario)
    new = {"texturemiddle": changes.walls, "texturefloor": changes.floor}
    known = _textures(game) if any(new.values()) else {}
    for field, name in new.items():
        if name is not None and name.upper() not in known[field]:
            some = ", ".join(sorted(known[field])[:: max(1, len(known[field]) // 6)])
            raise ValueError(
                f"{game.name} has no {'wall' if field == 'texturemiddle' else 'floor'} {name!r}; it "
                f"has {some} and others"
            )
    edited = []
    for lump, content in lumps:
        if lump == "TEXTMAP":
            for field, name in new.items():
                if name is not None:
                    text = f'{field} = "{name.upper()}"'.encode()
                    content = re.sub(rf'{field} = "[^"]*"'.encode(), text, content)
            if changes.light is not None:
                light = f"lightlevel = {changes.light};".encode()
                content = re.sub(rb"lightlevel = \d+;", light, content)
        edited.append((lump, content))
    return _wad(edited)


def _lumps(file: Path, wanted: set[str] | None = None) -> list[tuple[str, bytes]]:
    """Names and contents, in order; without their contents those that are not `wanted`."""
    with file.open("rb") as wad:
        _, count, where = _HEADER.unpack(wad.read(_HEADER.size))
        wad.seek(where)
        entries = [_ENTRY.unpack(wad.read(_ENTRY.size)) for _ in range(count)]
        lumps = []
        for at, size, raw in entries:
            name = raw.rstrip(b"\0").decode("ascii")
            wad.seek(at)
            lumps.append((name, wad.read(size) if wanted is None or name in wanted else b""))
    return lumps


def _wad(lumps: list[tuple[str, bytes]]) -> bytes:
    content, directory = b"", b""
    for name, lump in lumps:
        directory += _ENTRY.pack(_HEADER.size + len(content), len(lump), name.encode())
        content += lump
    return _HEADER.pack(b"PWAD", len(lumps), _HEADER.size + len(content)) + content + directory


def _textures(game: Path) -> dict[str, set[str]]:
    """The names of a game's wall textures and flats, by the field of a map that takes them."""
    lumps = _lumps(game, {"TEXTURE1", "TEXTURE2"})
    walls: set[str] = set()
    for name, lump in lumps:
        if name in ("TEXTURE1", "TEXTURE2"):
            (count,) = struct.unpack_from("<i", lump)
            for at in struct.unpack_from(f"<{count}i", lump, 4):
                walls.add(lump[at : at + 8].split(b"\0")[0].decode("ascii"))
    names = [name for name, _ in lumps]
    flats = names[names.index("F_START") + 1 : names.index("F_END")]
    return {
        "texturemiddle": walls,
        "texturefloor": {each for each in flats if not each.endswith(("_START", "_END"))},
    }
