"""The setting of a kill: a command, the files at both ends, and the permitted results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftransfer.digest import Digest
from tests.fault.matrix.content import ABSENT, Dice, Ledger
from tests.fault.matrix.forks import ServerProcess

# Empty, small, sent at once, sent with resume, and two that take long enough to be hit in the
# middle.
SIZES = (0, 1_000, 200_000, 400_000, 3 << 20, 12 << 20)
_NAMES = ("plain.bin", "my photo.jpg", "射频.pptx")


@dataclass(slots=True)
class Scene:
    """One command over a share and a local folder.

    `kind` tells how long it takes, roughly. `target` is the ledger of the side that it writes to.
    """

    kind: str
    verb: Sequence[str]
    arguments: Sequence[str]
    share: Ledger
    local: Ledger
    target: Ledger
    # Name in the receipt -> name on the side that was written
    renamed: dict[str, str] = field(default_factory=dict)
    prefix: str = ""  # what stands before the names in the receipts on that side

    def line(self, server: ServerProcess) -> list[str]:
        return [*self.verb, "--json", server.host, str(server.port), *self.arguments]

    def acknowledged(self, output: bytes) -> list[tuple[str, Digest]]:
        """Return the names and digests of the printed receipts; an incomplete line is none."""
        receipts = []
        for line in output.split(b"\n")[:-1]:
            record = json.loads(line)
            if "digest" in record and "error" not in record and record["digest"]:
                name = self.renamed.get(record["name"], record["name"])
                receipts.append((self.prefix + name, record["digest"]))
        return receipts


def get_scene(dice: Dice, folder: Path) -> Scene:
    """A get onto a name that holds an older version, or nothing."""
    share, local = _ledgers(folder)
    name, size = dice.choice(_NAMES), dice.choice(SIZES)
    digest = share.put(name, dice.content(size))
    if dice.random() < 0.5:
        local.put("here.bin", dice.content(dice.choice(SIZES[:3])))
    local.expect("here.bin", digest)
    arguments = [name, str(local.root / "here.bin")]
    return Scene(f"get {size}", ["get"], arguments, share, local, local, {name: "here.bin"})


def put_scene(dice: Dice, folder: Path) -> Scene:
    """A put onto a name with an older version, or with none; over one connection or three."""
    share, local = _ledgers(folder)
    name, size = dice.choice(_NAMES), dice.choice(SIZES)
    digest = local.put("mine.bin", dice.content(size))
    if dice.random() < 0.5:
        share.put(name, dice.content(dice.choice(SIZES[:3])))
    share.expect(name, digest)
    verb = ["put", "--streams", "3"] if dice.random() < 0.5 else ["put"]
    return Scene(
        f"{' '.join(verb)} {size}", verb, [str(local.root / "mine.bin"), name], share, local, share
    )


def get_tree_scene(dice: Dice, folder: Path) -> Scene:
    """get -r onto a folder that is not there, or holds some of it in older versions."""
    share, local = _ledgers(folder)
    _lay_out_tree(dice, share, local)
    arguments = ["tree", str(local.root)]
    return Scene("get -r", ["get", "-r"], arguments, share, local, local, prefix="tree/")


def put_tree_scene(dice: Dice, folder: Path) -> Scene:
    """put -r, likewise."""
    share, local = _ledgers(folder)
    _lay_out_tree(dice, local, share)
    arguments = [str(local.root / "tree"), "tree"]
    return Scene("put -r", ["put", "-r"], arguments, share, local, share, prefix="tree/")


def sync_down_scene(dice: Dice, folder: Path) -> Scene:
    """sync from the share, with --delete, onto a folder with old versions and extra files."""
    share, local = _ledgers(folder)
    _lay_out_tree(dice, share, local, deletes=True)
    arguments = ["get", "tree", str(local.root / "tree"), "--delete"]
    return Scene("sync get", ["sync"], arguments, share, local, local, prefix="tree/")


def sync_up_scene(dice: Dice, folder: Path) -> Scene:
    """sync to the share, likewise."""
    share, local = _ledgers(folder)
    _lay_out_tree(dice, local, share, deletes=True)
    arguments = ["put", str(local.root / "tree"), "tree", "--delete"]
    return Scene("sync put", ["sync"], arguments, share, local, share, prefix="tree/")


def _lay_out_tree(dice: Dice, source: Ledger, target: Ledger, *, deletes: bool = False) -> None:
    """Make 60 small files and two large ones; the target may have older versions of some."""
    has_older = dice.random() < 0.6
    for number in range(62):
        size = (
            dice.randrange(1_200_000, 3_000_000)
            if number >= 60
            else dice.choice((0, 10, 700, 4_000, 20_000))
        )
        name = f"tree/d{number % 5}/{'deep/' if number % 7 == 0 else ''}f{number}"
        # Times are said, so that no two versions look the same by chance.
        digest = source.put(name, dice.content(size), mtime_ns=1_700_000_000_000_000_000 + number)
        if has_older and dice.random() < 0.4:
            target.put(
                name,
                dice.content(dice.choice((1, 500, 9_000))),
                mtime_ns=1_600_000_000_000_000_000 + number,
            )
        target.expect(name, digest)
    if deletes:
        for number in range(8):
            target.put(f"tree/d{number}/gone{number}", dice.content(100))
            target.expect(f"tree/d{number}/gone{number}", ABSENT)


def _ledgers(folder: Path) -> tuple[Ledger, Ledger]:
    share, local = Ledger(folder / "share"), Ledger(folder / "local")
    share.root.mkdir(parents=True)
    local.root.mkdir()
    return share, local


SCENES: dict[str, Sequence[Callable[[Dice, Path], Scene]]] = {
    "a get": [get_scene],
    "a put": [put_scene],
    "a tree": [get_tree_scene, put_tree_scene],
    "a sync": [sync_down_scene, sync_up_scene],
}
