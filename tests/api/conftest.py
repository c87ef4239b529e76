from tests.manager.conftest import call, manager, settings

__all__ = ["call", "manager", "settings"]
