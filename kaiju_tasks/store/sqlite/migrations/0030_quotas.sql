-- `quotas`: JSON; how much the principal may use, where that differs from the settings.
ALTER TABLE principals ADD COLUMN quotas TEXT;
