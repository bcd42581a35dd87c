import io

from rich.console import Console

from vlarl.progress import Display


def test_time_left_counts_iterations_and_nothing_before_them() -> None:
    output = io.StringIO()
    display = Display(30, console=Console(file=output, width=200))
    display.iteration(1, {"iteration_seconds": 18.0})
    display.iteration(2, {"iteration_seconds": 22.0})
    first, second = output.getvalue().splitlines()
    assert first.endswith("8.7 min of training left")  # 29 x 18 s
    assert second.endswith("9.3 min of training left")  # 28 x 20 s
