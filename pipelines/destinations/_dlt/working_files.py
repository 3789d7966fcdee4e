"""dlt's working files in folders that dlt did not expect."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from dlt.common.storages.load_storage import LoadItemStorage
from dlt.extract.storage import ExtractorItemStorage

__all__ = ["accept_percent"]


# Once, as a second call would wrap the wrapper.
@cache
def accept_percent() -> None:
    """Lets dlt work in a folder with a percent sign in its path, as `ws%2Fjob` of Jenkins.

    Why: dlt formats the whole path of a load file with `%` to put an id into the file's name, and every sync would
    end in a TypeError. Replaced by: a template of the file's name alone.
    """
    for storage in (ExtractorItemStorage, LoadItemStorage):
        _escape(storage)


def _escape(storage: Any) -> None:
    template = storage._get_data_item_path_template

    def escaped(self: Any, *names: str) -> str:
        folder, name = os.path.split(str(template(self, *names)))
        return os.path.join(folder.replace("%", "%%"), name)

    storage._get_data_item_path_template = escaped
