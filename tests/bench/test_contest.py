"""The order of the rounds, and what counts."""

from __future__ import annotations

from collections.abc import Callable

from bench.contest import FEW, SLOW_S, Contestant, alternate
from bench.measure import Failed, Sample


def sample(wall_s: float = 1.0, *, was_cut: bool = False) -> Sample:
    return Sample(wall_s, 0, 0, None, None, was_cut=was_cut)


class Script:
    """Contestants that write down what is done to them."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def contestant(
        self, label: str, result: Sample | None = None, *, wrong: bool = False, few: bool = False
    ) -> Contestant:
        def run() -> Sample:
            self.done.append(f"run {label}")
            if result is None:
                raise Failed("it broke")
            return result

        def check() -> None:
            self.done.append(f"check {label}")
            if wrong:
                raise Failed("other content")

        return Contestant(label, 1.0, run, check, self._write(f"clean {label}"), few)

    def _write(self, text: str) -> Callable[[], None]:
        return lambda: self.done.append(text)

    @property
    def runs(self) -> str:
        return "".join(text.removeprefix("run ") for text in self.done if text.startswith("run "))


def test_rounds_alternate_and_begin_with_another_each_time() -> None:
    script = Script()
    rows, failed = alternate([script.contestant(label, sample()) for label in "abc"], rounds=2)
    assert script.runs == "abcbcacab"
    assert failed == {} and [len(row.samples) for row in rows] == [2, 2, 2]


def test_each_run_is_cleaned_before_and_checked_after() -> None:
    script = Script()
    alternate([script.contestant("a", sample())], rounds=2, dropped=0)
    assert script.done == ["clean a", "run a", "check a"] * 2 + ["clean a"]


def test_a_contestant_with_wrong_content_has_no_row_and_does_not_run_again() -> None:
    script = Script()
    rows, failed = alternate(
        [script.contestant("a", sample()), script.contestant("b", sample(), wrong=True)], rounds=3
    )
    assert [row.label for row in rows] == ["a"]
    assert failed == {"b": "other content"} and script.runs.count("b") == 1


def test_a_contestant_that_breaks_is_cleaned_all_the_same() -> None:
    script = Script()
    _, failed = alternate([script.contestant("a")], rounds=1)
    assert failed == {"a": "it broke"} and script.done[-1] == "clean a"


def test_a_slow_first_run_is_the_only_one_and_counts() -> None:
    script = Script()
    rows, _ = alternate(
        [script.contestant("slow", sample(SLOW_S + 1)), script.contestant("b", sample())], rounds=3
    )
    assert [len(row.samples) for row in rows] == [1, 3]


def test_who_is_there_for_completeness_runs_few_rounds() -> None:
    script = Script()
    rows, _ = alternate(
        [script.contestant("a", sample()), script.contestant("b", sample(), few=True)],
        rounds=FEW + 3,
    )
    assert [len(row.samples) for row in rows] == [FEW + 3, FEW]


def test_a_run_that_was_cut_is_not_checked() -> None:
    script = Script()
    rows, failed = alternate([script.contestant("a", sample(was_cut=True), wrong=True)], rounds=1)
    assert failed == {} and rows[0].was_cut
