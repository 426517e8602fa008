"""What an object store's errors mean to who asked a server for something that needs the store: the one translation."""

import contextlib
from collections.abc import Iterator

from ..common.errors import IOFailure, NoSpace, NotFound, ObjectStoreUnavailable, PermissionDenied
from .protocol import ObjectNotFound, ObjectStoreError, StoreFull, StoreRefused, StoreUnavailable


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise PermissionDenied, NotFound, NoSpace, ObjectStoreUnavailable or IOFailure for a store's errors."""
    try:
        yield
    except StoreRefused as error:
        raise PermissionDenied(str(error)) from error
    except ObjectNotFound as error:
        raise NotFound(f"the object store {url} does not keep what is put into it: {error}") from error
    except StoreFull as error:
        raise NoSpace(str(error)) from error
    except StoreUnavailable as error:
        raise ObjectStoreUnavailable(str(error)) from error
    except ObjectStoreError as error:
        raise IOFailure(f"the object store {url} failed: {error}") from error
