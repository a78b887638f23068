from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason
from lookalike.matching import DEPTH, MatchCalibration

CALIBRATION = MatchCalibration(20.0, 0.3, 0.5, 0.2, fitted_searches=200, absent_share=0.4)
CALIBRATIONS = st.builds(
    MatchCalibration,
    slope=st.floats(0.1, 1000),
    threshold=st.floats(-2, 2),
    density_weight=st.floats(-1, 1),
    density=st.floats(-1, 1),
)
SCORES = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=15).map(
    lambda scores: sorted(scores)[::-1]
)


def of(calibration: MatchCalibration, scores: list[float]) -> list[float]:
    found: list[float] = calibration.probabilities(np.array([scores], np.float32))[0].tolist()
    return found


@settings(deadline=None)
@given(CALIBRATIONS, SCORES)
def test_probabilities_are_between_0_and_1_and_fall_with_the_scores(
    calibration: MatchCalibration, scores: list[float]
) -> None:
    found = of(calibration, scores)
    assert all(0 <= one <= 1 for one in found)
    assert sum(found[:DEPTH]) <= 1 + 1e-9
    assert all(after <= before + 1e-9 for before, after in pairwise(found))


@settings(deadline=None)
@given(CALIBRATIONS, SCORES, st.data())
def test_a_probability_never_falls_as_its_score_rises(
    calibration: MatchCalibration, scores: list[float], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(scores) - 1))
    higher = data.draw(st.floats(scores[place], 1, width=32))
    others = scores[:place] + scores[place + 1 :]
    risen = sorted([*others, higher])[::-1]
    before, after = of(calibration, scores)[place], of(calibration, risen)[risen.index(higher)]
    assert after >= before - 1e-9


@settings(deadline=None)
@given(CALIBRATIONS, SCORES)
def test_places_without_a_product_change_nothing(calibration: MatchCalibration, scores: list[float]) -> None:
    found = of(calibration, scores[:5])
    padded = of(calibration, [*scores[:5], *[float("-inf")] * 9])
    assert padded[: len(found)] == pytest.approx(found)
    assert not any(padded[len(found) :])


def test_a_lone_hit_at_the_threshold_is_as_likely_right_as_not() -> None:
    assert of(CALIBRATION, [0.3 + 0.5 * 0.2]) == pytest.approx([0.5])


def test_the_same_score_says_less_among_others_and_in_a_crowd() -> None:
    alone, among, crowded = [0.6, 0.1], [0.6, 0.58], [0.6, *[0.45] * 9]
    assert of(CALIBRATION, alone)[0] > 0.9
    assert of(CALIBRATION, among)[0] < 0.6
    assert of(CALIBRATION, alone)[0] > of(CALIBRATION, crowded)[0]


def test_it_comes_back_from_its_message_and_its_text() -> None:
    message = CALIBRATION.to_message("m")
    assert MatchCalibration.from_message(message, "match_calibration") == CALIBRATION
    assert (message.model_version, message.version) == ("m", CALIBRATION.version)
    assert MatchCalibration.from_json(CALIBRATION.to_json()) == CALIBRATION


@pytest.mark.parametrize("name", asdict(CALIBRATION))
def test_its_version_is_that_of_all_its_numbers(name: str) -> None:
    other = replace(CALIBRATION, **{name: getattr(CALIBRATION, name) / 2 if name != "fitted_searches" else 7})
    assert other.version != CALIBRATION.version
    assert len(CALIBRATION.version) == 16


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slope", 0.0), ("slope", -1.0), ("slope", 1e4), ("slope", float("nan")), ("threshold", float("inf")),
        ("threshold", -11.0), ("density_weight", 1.5), ("density", -2.0), ("fitted_searches", -1),
        ("absent_share", 1.1),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        replace(CALIBRATION, **{name: value})
    message = CALIBRATION.to_message("m")
    if name == "fitted_searches":  # unsigned on the wire
        return
    setattr(message, name, value)
    with pytest.raises(InvalidInputError, match=rf"^match_calibration\.{name} must be") as caught:
        MatchCalibration.from_message(message, "match_calibration")
    assert (caught.value.reason, caught.value.field) == (
        Reason.FIELD_OUT_OF_RANGE,
        f"match_calibration.{name}",
    )


def test_a_number_of_a_newer_version_is_refused_by_name() -> None:
    kept = json.loads(CALIBRATION.to_json()) | {"temperature": 2}
    with pytest.raises(FailedPreconditionError, match="has temperature") as caught:
        MatchCalibration.from_json(json.dumps(kept))
    assert caught.value.reason is Reason.CONFIG_INVALID
