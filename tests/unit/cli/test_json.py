"""Every JSON event is one line, fits the schema that is shipped, and every verb prints some."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kluis_cli import output
from kluis_cli.output import Output
from kluis_cli.terminal import Reporter
from tests.unit.cli.samples import EVENTS, SHOWN, SNAPSHOT

SCHEMAS = Path(output.__file__).parent / "schemas"


def printed(show: Callable[[Output], object]) -> tuple[list[dict[str, Any]], str]:
    stdout, stderr = io.BytesIO(), io.BytesIO()
    show(Output(stdout, stderr, as_json=True, verbosity=0))
    text = stdout.getvalue().decode("ascii")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()], stderr.getvalue().decode(
        "utf-8", "replace"
    )


@cache
def schema(message_type: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{message_type}.json").read_text("utf-8"))
    return found


def check(event: dict[str, Any]) -> None:
    wanted = schema(event["message_type"])
    jsonschema.validate(event, wanted)
    known = set(wanted["properties"])
    for one in wanted.get("oneOf", ()):
        if one["title"] == event.get("verb"):
            known |= set(one["properties"])
    assert set(event) <= known, set(event) - known


def checked(out: str | bytes) -> list[dict[str, Any]]:
    """The events of a command's output, each as its schema says."""
    events = [json.loads(line) for line in out.splitlines()]
    for event in events:
        check(event)
    return events


@pytest.mark.parametrize("name", SHOWN)
def test_events_fit_their_schemas(name: str) -> None:
    found, _ = printed(SHOWN[name])
    assert found
    for event in found:
        check(event)


def test_events_of_a_running_operation_fit_their_schemas() -> None:
    def run(output: Output) -> None:
        reporter = Reporter(output, None)
        for event in EVENTS:
            reporter(event)
        reporter.close()

    found, _ = printed(run)
    for event in found:
        check(event)
    assert [event["message_type"] for event in found] == [
        "status",
        "verbose_status",
        "error",
        "damage",
        "warning",
    ]
    assert found[0]["percent_done"] == 0.5


def test_every_schema_is_a_schema_and_is_used() -> None:
    used = {event["message_type"] for show in SHOWN.values() for event in printed(show)[0]}
    used |= {"status", "verbose_status"}
    shipped = {path.name for path in SCHEMAS.iterdir()}
    assert shipped == {f"{name}.json" for name in used}
    for name in used:
        jsonschema.Draft202012Validator.check_schema(schema(name))


def test_a_wrong_event_does_not_fit() -> None:
    (event,), _ = printed(SHOWN["backup dry run"])
    del event["snapshot_id"]
    with pytest.raises(jsonschema.ValidationError):
        check(event)


def test_what_scripts_read() -> None:
    (snapshot,) = (e for e in printed(SHOWN["snapshots"])[0] if e["message_type"] == "snapshot")
    assert snapshot["id"] == SNAPSHOT.id
    assert snapshot["tags"] == ["a", "b"]
    assert snapshot["time"] == "2026-01-31T12:00:00.000000000Z"
    assert snapshot["hostname"] == "host\n"
    error, warning, summary = printed(SHOWN["backup"])[0]
    assert (error["message_type"], error["fatal"], error["path_base64"]) == (
        "error",
        False,
        "L2Ev/w==",
    )
    assert warning["message_type"] == "warning"
    assert (summary["verb"], summary["snapshot_id"], summary["exit_status"]) == (
        "backup",
        "4f2a",
        3,
    )


def test_a_failure_is_an_event_and_words() -> None:
    (error,), words = printed(SHOWN["errors"])
    assert error["fatal"] is True
    assert (error["code"], error["exit_status"]) == ("password", 12)
    assert words == "kluis: wrong passphrase\n"
