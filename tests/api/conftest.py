from tests.manager.conftest import call, executor, manager, other_manager, ping_interval, settings

__all__ = ["call", "executor", "manager", "other_manager", "ping_interval", "settings"]
