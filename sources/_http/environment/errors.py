"""The error of a variable that the HTTP library would stumble over without naming it."""

from __future__ import annotations


class NetworkSettingError(ValueError):
    """A variable of the environment that no request can be sent with; `str()` names it and quotes no password."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable}: {problem}")
        self.variable = variable
