"""StatusCode <-> errors <-> errno: the one place where they are translated.

A test walks every status code and every error class, so neither can grow without the other.
"""

import errno

from ...proto import common_pb2 as pb
from . import errors as e
from .exits import ExitCode

_ERROR_OF: dict[int, type[e.CurveFSError]] = {
    pb.NOT_FOUND: e.NotFound,
    pb.ALREADY_EXISTS: e.AlreadyExists,
    pb.NOT_EMPTY: e.NotEmpty,
    pb.NOT_A_DIRECTORY: e.NotADirectory,
    pb.IS_A_DIRECTORY: e.IsADirectory,
    pb.PERMISSION_DENIED: e.PermissionDenied,
    pb.NOT_PERMITTED: e.NotPermitted,
    pb.NO_SPACE: e.NoSpace,
    pb.QUOTA_EXCEEDED: e.QuotaExceeded,
    pb.INVALID_ARGUMENT: e.InvalidArgument,
    pb.NAME_TOO_LONG: e.NameTooLong,
    pb.TOO_MANY_LINKS: e.TooManyLinks,
    pb.NO_ATTRIBUTE: e.NoAttribute,
    pb.READ_ONLY: e.ReadOnly,
    pb.STALE_HANDLE: e.StaleHandle,
    pb.FILE_TOO_LARGE: e.FileTooLarge,
    pb.CROSS_DEVICE: e.CrossDevice,
    pb.UNSUPPORTED: e.Unsupported,
    pb.TOO_LARGE: e.TooLarge,
    pb.IO_ERROR: e.IOFailure,
    pb.CORRUPT_DATA: e.CorruptData,
    pb.RESOURCE_BUSY: e.ResourceBusy,
    pb.FILESYSTEM_GONE: e.FilesystemGone,
    pb.REDIRECT: e.Redirect,
    pb.UNAVAILABLE: e.Unavailable,
    pb.OVERLOADED: e.Overloaded,
    pb.LOCKED: e.Locked,
    pb.SKIPPED: e.Skipped,
    pb.SEQUENCE_GAP: e.SequenceGap,
    pb.RESULT_FORGOTTEN: e.ResultForgotten,
    pb.SESSION_UNKNOWN: e.SessionUnknown,
    pb.SESSION_ENDED: e.SessionEnded,
    pb.TOKEN_REFUSED: e.TokenRefused,
    pb.STALE_EPOCH: e.StaleEpoch,
    pb.ID_REFUSED: e.IdRefused,
    pb.ALREADY_DONE: e.AlreadyDone,
    pb.WRONG_PARTITION: e.WrongPartition,
    pb.VERSION_UNSUPPORTED: e.VersionUnsupported,
    pb.NOT_APPENDED: e.NotAppended,
    pb.CROSS_PARTITION: e.CrossPartition,
    pb.OBJECT_STORE_UNAVAILABLE: e.ObjectStoreUnavailable,
    pb.NO_ALLOWANCE: e.NoAllowance,
    pb.INTERNAL: e.InternalError,
}
_CODE_OF = {error: code for code, error in _ERROR_OF.items()}
_CODE_OF[e.Unreachable] = pb.UNAVAILABLE

_ERRNO_OF: dict[type[e.CurveFSError], int] = {
    e.NotFound: errno.ENOENT,
    e.AlreadyExists: errno.EEXIST,
    e.NotEmpty: errno.ENOTEMPTY,
    e.NotADirectory: errno.ENOTDIR,
    e.IsADirectory: errno.EISDIR,
    e.PermissionDenied: errno.EACCES,
    e.NotPermitted: errno.EPERM,
    e.NoSpace: errno.ENOSPC,
    e.QuotaExceeded: errno.EDQUOT,
    e.InvalidArgument: errno.EINVAL,
    e.NameTooLong: errno.ENAMETOOLONG,
    e.TooManyLinks: errno.EMLINK,
    e.NoAttribute: errno.ENODATA,
    e.ReadOnly: errno.EROFS,
    e.StaleHandle: errno.ESTALE,
    e.FileTooLarge: errno.EFBIG,
    e.CrossDevice: errno.EXDEV,
    e.Unsupported: errno.EOPNOTSUPP,
    # setxattr(2): E2BIG past the size limit; ERANGE is the kernel's answer to a short buffer.
    e.TooLarge: errno.E2BIG,
    e.IOFailure: errno.EIO,
    e.CorruptData: errno.EIO,
    e.ResourceBusy: errno.EBUSY,
    e.FilesystemGone: errno.EIO,
}

_EXIT_OF: dict[type[e.CurveFSError], ExitCode] = {
    e.NotFound: ExitCode.NOT_FOUND,
    e.AlreadyExists: ExitCode.EXISTS,
    e.InvalidArgument: ExitCode.USAGE,
    e.ResourceBusy: ExitCode.BUSY,
    e.Unreachable: ExitCode.UNREACHABLE,
    e.StaleEpoch: ExitCode.REFUSED,
}


def error_of(failure: pb.Failure) -> e.CurveFSError:
    """Return the error that a failure on the wire stands for. An unknown code is an InternalError."""
    match failure.code:
        case pb.REDIRECT:
            return e.Redirect(failure.message, leader=failure.leader)
        case pb.OVERLOADED:
            return e.Overloaded(failure.message, retry_after_ms=failure.retry_after_ms)
        case pb.SEQUENCE_GAP:
            return e.SequenceGap(failure.message, expected_sequence=failure.expected_sequence)
        case pb.NO_ALLOWANCE:
            need = failure.need
            return e.NoAllowance(
                failure.message,
                quota_id=need.quota_id,
                partition_id=need.partition_id,
                bytes_=need.amount.bytes,
                inodes=need.amount.inodes,
            )
        case code:
            return _ERROR_OF.get(code, e.InternalError)(failure.message)


def error_of_code(code: int, message: str = "") -> e.CurveFSError:
    """Return the error of a bare status code other than OK."""
    return error_of(pb.Failure(code=code, message=message))  # type: ignore[arg-type]


def failure_of(error: e.CurveFSError) -> pb.Failure:
    """Return what to put on the wire for an error; the inverse of error_of."""
    failure = pb.Failure(code=code_of(error), message=str(error))
    match error:
        case e.Redirect():
            failure.leader = error.leader
        case e.Overloaded():
            failure.retry_after_ms = error.retry_after_ms
        case e.SequenceGap():
            failure.expected_sequence = error.expected_sequence
        case e.NoAllowance():
            failure.need.quota_id, failure.need.partition_id = error.quota_id, error.partition_id
            failure.need.amount.bytes, failure.need.amount.inodes = error.bytes, error.inodes
        case _:
            pass
    return failure


def code_of(error: e.CurveFSError) -> pb.StatusCode:
    """Return the status code of an error; INTERNAL for one without a code of its own."""
    return _CODE_OF.get(type(error), pb.INTERNAL)  # type: ignore[return-value]


def errno_of(error: e.CurveFSError) -> int:
    """Return the errno an application sees.

    A ClusterError that reaches this point was not cured before its deadline: EIO.
    """
    return _ERRNO_OF.get(type(error), errno.EIO)


def exit_code_of(error: e.CurveFSError) -> ExitCode:
    """Return the exit code of a command that ended with this error."""
    if isinstance(error, e.StartupError):
        return error.exit_code
    return _EXIT_OF.get(type(error), ExitCode.FAILED)
