"""What a listing could not read: told at its end, so that it lists all that there is."""

from __future__ import annotations

from kluis.errors import DamageError
from kluis.events import Damage
from kluis.format import names
from kluis.frozen import field, mutable

# So many losses are named in the error that ends a listing; the rest is counted.
LOSSES_NAMED = 3


@mutable
class Losses:
    """Folders and snapshots that could not be listed; a listing goes on and tells at its end."""

    damages: list[Damage] = field(default_factory=list)

    def folder(self, path: bytes, snapshot: str, error: Exception) -> None:
        """Notes a folder whose tree cannot be read."""
        where = path or b"/"
        self.damages.append(
            Damage(
                f"{names.SNAPSHOTS}/{snapshot}",
                str(error),
                "what lies in this folder cannot be listed",
                (where,),
                "kluis repair",
            )
        )

    def snapshots(self, problems: dict[str, str]) -> None:
        """Notes snapshots that cannot be opened, by id."""
        self.damages += lost_snapshots(problems)

    def raise_any(self) -> None:
        """Raises `DamageError` that names what was lost, if anything was."""
        if not self.damages:
            return
        told = []
        for damage in self.damages[:LOSSES_NAMED]:
            files = ", ".join(shown(path) for path in damage.files)
            told.append(f"{files or damage.object}: {damage.what}")
        more = len(self.damages) - len(told)
        raise DamageError(
            "not everything could be listed: "
            + "; ".join(told)
            + (f"; and {more} more" if more else "")
            + ". Next: kluis verify, kluis repair"
        )


def lost_snapshots(problems: dict[str, str]) -> list[Damage]:
    """A damage for each snapshot (by id) that cannot be opened."""
    return [
        Damage(
            f"{names.SNAPSHOTS}/{identity}",
            reason,
            "nothing can be restored from this snapshot until it is repaired",
            (),
            "kluis repair",
        )
        for identity, reason in sorted(problems.items())
    ]


def shown(path: bytes) -> str:
    """The path in a message: bytes that are not UTF-8 as escapes."""
    return path.decode("utf-8", "backslashreplace")
