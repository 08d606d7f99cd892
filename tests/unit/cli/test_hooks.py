"""Commands around a backup: none runs in vain, and none spoils the JSON."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kluis.errors import KluisError, NoSpaceError
from kluis_cli.hooks import around
from kluis_cli.output import Output
from kluis_cli.profiles import Hooks


class Story:
    """What happened, in order, in a file that the hooks write to."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "story"
        self._file.touch()

    def note(self, word: str) -> str:
        return f'echo "{word} $KLUIS_EXIT_STATUS" >> {self._file}'

    def back_up(self, status: int) -> int:
        with self._file.open("a") as file:
            file.write("backup\n")
        return status

    def told(self) -> list[str]:
        return [line.strip() for line in self._file.read_text().splitlines()]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


@pytest.fixture
def output() -> Output:
    return Output(io.BytesIO(), io.BytesIO(), as_json=False, verbosity=0)


def hooks(story: Story) -> Hooks:
    return Hooks((story.note("before"),), (story.note("after"),), (story.note("failed"),))


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (0, ["before", "backup", "after 0"]),
        (3, ["before", "backup", "after 3"]),
        (1, ["before", "backup", "failed 1"]),
    ],
)
def test_which_hooks_run(status: int, told: list[str], story: Story, output: Output) -> None:
    assert around(lambda: story.back_up(status), hooks(story), output) == status
    assert story.told() == told


def test_an_error_runs_the_hook_for_failures(story: Story, output: Output) -> None:
    def full() -> int:
        raise NoSpaceError("no space")

    with pytest.raises(NoSpaceError):
        around(full, hooks(story), output)
    assert story.told() == ["before", "failed 13"]


def test_nothing_is_backed_up_after_a_before_that_fails(story: Story, output: Output) -> None:
    failing = Hooks(("exit 7",), (), (story.note("failed"),))
    with pytest.raises(KluisError, match="exit 7"):
        around(lambda: story.back_up(0), failing, output)
    assert story.told() == ["failed 1"]


def test_an_after_that_fails_makes_the_exit_code_1(story: Story, output: Output) -> None:
    failing = Hooks((), ("exit 7",), ())
    assert around(lambda: story.back_up(0), failing, output) == 1
    assert around(lambda: story.back_up(3), failing, output) == 3


def test_without_hooks_only_the_backup_runs(story: Story, output: Output) -> None:
    assert around(lambda: story.back_up(0), None, output) == 0
    assert story.told() == ["backup"]


def test_what_a_hook_prints_goes_to_standard_error(
    output: Output, capfd: pytest.CaptureFixture[str]
) -> None:
    around(lambda: 0, Hooks(("echo spoken",), (), ()), output)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "spoken\n")
