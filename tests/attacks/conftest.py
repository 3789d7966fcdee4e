"""Folders that several users share."""

from __future__ import annotations

from tests.support.other_user import own, shared

__all__ = ["own", "shared"]
