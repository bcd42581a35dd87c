import io

from rich.console import Console

from vlarl.progress import Display


def test_time_left_counts_iterations_and_nothing_before_them() -> None:
    output = io.StringIO()
    display = Display(30, console=Console(file=output, width=200))
    display.iteration(1, {"iteration_seconds": 18.0}, 1 / 30)
    display.iteration(2, {"iteration_seconds": 22.0}, 2 / 30)
    first, second = output.getvalue().splitlines()
    assert first.startswith("iteration 1/30")
    assert first.endswith("8.7 min of training left")  # 29 x 18 s
    assert second.endswith("9.3 min of training left")  # 28 x 20 s


def test_a_run_that_ends_by_control_steps_is_estimated_from_its_finished_share() -> None:
    output = io.StringIO()
    display = Display(500, console=Console(file=output, width=200))
    display.iteration(3, {"iteration_seconds": 60.0}, 0.25)
    assert output.getvalue().startswith("iteration 3/12")
    assert output.getvalue().strip().endswith("9.0 min of training left")
