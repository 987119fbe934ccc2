"""Who is told, as the process's settings and the project say: of live sagas, and, apart, of dry runs."""

from pydantic import SecretStr

from sagacity.config import Settings
from sagacity.definition.project import Project
from sagacity.runtime.outlets import Outlets
from sagacity.runtime.webhook import HookSettings
from sagacity.telemetry import on_notice


def live_outlets(project: Project, settings: Settings) -> Outlets:
    """Who workers tell of live sagas: the log on stderr always.

    Raises:
        ConfigError: the web hook's address or its secret cannot be used.
    """
    url = settings.notify_url or next(iter(project.notify), None)
    hook = None
    if url is not None:
        hook = HookSettings(
            url=url,
            secret=_said(settings.notify_secret),
            every=settings.notify_every,
            console=settings.notify_console,
        )
    return Outlets(listeners=(on_notice, *project.listeners), hook=hook)


def dry_outlets(project: Project, settings: Settings) -> Outlets:
    """Who is told what dry runs would have told.

    Raises:
        ConfigError: the web hook's address or its secret cannot be used, or somebody is told of live sagas
            too.
    """
    url = settings.dry_notify_url or next(iter(project.dry_notify), None)
    hook = None
    if url is not None:
        hook = HookSettings(
            url=url,
            secret=_said(settings.dry_notify_secret),
            every=settings.notify_every,
            console=settings.notify_console,
            lane="dry",
        )
    outlets = Outlets(listeners=project.dry_listeners, hook=hook)
    if outlets.there:
        outlets.check_apart(live_outlets(project, settings))
    return outlets


def _said(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
