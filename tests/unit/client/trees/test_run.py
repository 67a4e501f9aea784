"""What counts as progress of a tree, which begins its retries anew."""

from __future__ import annotations

from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeItem
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import NotFound


def count_moves(run: TreeRun) -> list[None]:
    moves: list[None] = []
    run.attempt(lambda: moves.append(None))
    return moves


def test_only_new_bytes_of_a_file_are_progress() -> None:
    run = TreeRun(TreeOptions(), None, None)
    moves = count_moves(run)
    told = []
    # The first of an attempt is what is in place, here 100 and 150
    for count in (
        100,
        100,
        200,
        150,
        200,
        201,
    ):
        run.within("a", count)
        told.append(len(moves))
    assert told == [0, 0, 1, 1, 1, 2]
    run.within("b", 50)
    assert len(moves) == 2


def test_what_is_done_is_progress_and_what_fails_is_none() -> None:
    run = TreeRun(TreeOptions(), None, None)
    moves = count_moves(run)
    run.failed("a", NotFound("a: is gone"))
    assert not moves
    run.item(TreeItem("b", "copied", 5))
    assert len(moves) == 1
