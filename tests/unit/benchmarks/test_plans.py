"""Plans: every call can be typed alone, and every job and data set of the table is in them."""

from __future__ import annotations

import pytest

from benchmarks import datasets, jobs, plans
from benchmarks.harness import arguments
from benchmarks.peers.registry import ALL, LIMITS
from benchmarks.targets import ON_MEDIA, TARGETS


@pytest.mark.parametrize("name", sorted(plans.PLANS))
def test_a_call_s_words_are_understood_as_the_call(name: str) -> None:
    for call in plans.PLANS[name]:
        options = arguments(call.words())
        assert (options.dataset, options.size) == (call.dataset, call.size_mb)
        assert (options.rounds, options.save) == (call.rounds, call.save)
        assert set(call.tools.split(",")) <= set(ALL)
        assert str(options.medium or "") == call.medium


def test_the_full_plan_measures_all_that_is_owed() -> None:
    did = {
        (call.dataset, job, bool(call.medium))
        for call in plans.FULL
        for job in call.jobs.split(",")
    }
    for medium, owed in [
        *((False, each) for each in TARGETS),
        *((True, each) for each in ON_MEDIA),
    ]:
        for dataset in owed.datasets or datasets.ALL:
            if owed.datasets:
                assert (dataset, owed.job, medium) in did, owed
        assert owed.job in {job for _, job, on in did if on == medium}, owed
    assert {job for _, job, _ in did} >= set(jobs.ROUND) | set(jobs.LISTING) | {"churn", "fresh"}


def test_limits_are_marked_so_that_they_are_never_taken_for_peers() -> None:
    assert {tool.name for tool in LIMITS} == {tool.name for tool in ALL.values() if tool.limit}
    assert {owed.against for owed in (*TARGETS, *ON_MEDIA)} <= {
        *(tool.name for tool in LIMITS),
        *("best peer", "a fresh backup"),
    }
