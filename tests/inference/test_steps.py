"""Steps, and how long they are."""

from pinyon.inference.steps import STEP_S, Pace, Steps, finished


def test_the_result_of_steps_is_what_they_return() -> None:
    paused = []

    def steps() -> Steps[str]:
        paused.append(1)
        yield
        paused.append(2)
        yield
        return "result"

    assert finished(steps()) == "result"
    assert paused == [1, 2]


def test_a_pace_follows_what_was_measured() -> None:
    pace = Pace(10_000)
    assert pace.within(STEP_S) == 500
    for _ in range(30):
        pace.took(500, 0.5)
    assert 49 <= pace.within(STEP_S) <= 51
    for _ in range(30):
        pace.took(units := pace.within(STEP_S), units / 5_000)
    assert 245 <= pace.within(STEP_S) <= 255


def test_a_call_of_fixed_costs_says_nothing_about_the_pace() -> None:
    pace = Pace(10_000)
    pace.took(10, 0.01)
    assert pace.within(STEP_S) == 500
    pace.took(10, 1.0)  # but it says something if it took longer than a step
    assert pace.within(STEP_S) < 500


def test_a_step_is_never_empty() -> None:
    pace = Pace(100)
    for _ in range(30):
        pace.took(1, 10.0)
    assert pace.within(STEP_S) == 1
