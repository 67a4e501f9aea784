"""The settings of a running server: where each value came from, and reloading them on SIGHUP."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftransfer.cli.config import read_config
from ftransfer.cli.limit_options import (
    RELOADED,
    bandwidth_limits_of,
    limits_of,
    quota_limits_of,
    refuse_contradictions,
    trusted_of,
)
from ftransfer.names import escape
from ftransfer.shell.errors import WrongUsage

if TYPE_CHECKING:
    from ftransfer.service.service import Service

log = logging.getLogger("ftransfer.server")


class Settings:
    """The values of all flags of `serve`, from the command line, the file or the defaults.

    Args:
        context: Typer's context of the command.
    """

    def __init__(self, context: Any) -> None:
        self.values: Mapping[str, Any] = dict(context.params)
        self._context = context
        self._path: str | None = context.params.get("config")
        self._on_line = {name for name in self.values if _source(context, name) == "COMMANDLINE"}
        self._in_file = {name for name in self.values if _source(context, name) == "DEFAULT_MAP"}
        refuse_contradictions(self.values, self._given)

    def reload(self, service: Service) -> None:
        """Read the file again and apply what can change while the server runs.

        A mistake is logged, and leaves all settings as they were.
        """
        if service.audit is not None:
            service.audit.reopen()
        if self._path is None:
            log.info("settings: unchanged, there is no --config file")
            return
        before, in_file = self.values, self._in_file
        try:
            found = read_config(self._path, self._context)
            self.values = {name: self._value(name, found) for name in before}
            self._in_file = set(found) - self._on_line
            refuse_contradictions(self.values, self._given)
        except WrongUsage as error:
            self.values, self._in_file = before, in_file
            log.error("settings: not changed: %s", error)
            return
        service.set_limits(limits_of(self.values))
        service.limiter.trusted = trusted_of(self.values)
        service.bandwidth.set_limits(bandwidth_limits_of(self.values))
        service.share.quota.limits = quota_limits_of(self.values)
        fixed = sorted(
            name for name in before if name not in RELOADED and before[name] != self.values[name]
        )
        log.info("settings: read from %s", escape(self._path))
        if fixed:
            log.warning(
                "settings: %s cannot change while the server runs; restart it",
                ", ".join(fixed),
            )

    def _value(self, name: str, found: Mapping[str, Any]) -> Any:
        if name in self._on_line or name in ("folder", "config"):
            return self.values[name]
        if name in found:
            return found[name]
        return next(
            option.default for option in self._context.command.params if option.name == name
        )

    def _given(self, name: str) -> str:
        if name in self._on_line:
            return f"--{name.replace('_', '-')}"
        return f"{name} in {escape(str(self._path))}" if name in self._in_file else ""


def _source(context: Any, name: str) -> str:
    return str(getattr(context.get_parameter_source(name), "name", ""))
