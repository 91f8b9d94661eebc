"""What a reader or a check of a base found wrong; the inspection turns it into an error that names the check."""

__all__ = ["Fault"]


class Fault(Exception):  # noqa: N818 - the error is made of it, with the name of the check
    """One thing that is wrong.

    Args:
        problem: end of a sentence whose subject is the base, such as "has no config.json".
        instead: what to do, as an imperative.
    """

    def __init__(self, problem: str, instead: str) -> None:
        self.problem, self.instead = problem, instead
        super().__init__(f"{problem}; {instead}")
