from tests.manager.conftest import call, manager, ping_interval, settings

__all__ = ["call", "manager", "ping_interval", "settings"]
