"""The exceptions of this package.

Each exception is an AlpaError. Its `.reason` is a stable word (BAD_PROGRAM, NO_FEASIBLE_PLAN, ...). In most cases, the
word comes from a daemon. Callers can act on the word without parsing the message.
"""

import grpc


class AlpaError(Exception):
    """The base of all errors of this package. `reason` is a stable word; the message is human-readable."""

    default_reason = "UNKNOWN"

    def __init__(self, message, reason=None):
        super().__init__(message)
        self.reason = reason or self.default_reason


class InputError(AlpaError, ValueError):
    """An argument has a wrong count, structure, shape, dtype or value. Nothing was submitted, and nothing changed."""

    default_reason = "BAD_INPUT"


class ProgramError(AlpaError):
    """The program was refused: it is damaged, it is not a step, or it contains an unsupported op."""

    default_reason = "BAD_PROGRAM"


class UnsupportedOpError(ProgramError):
    """The program contains an unsupported op. The message names the op and the line of the user's source."""

    default_reason = "UNSUPPORTED_OP"


class PlanError(AlpaError):
    """No plan fits the request. For example, there are too few devices, the device count is not divisible as the pins
    require, or the program cannot be split as pinned. If `reason` is BAD_PLAN, a given plan does not fit."""

    default_reason = "NO_FEASIBLE_PLAN"


class StaleStateError(AlpaError):
    """The value of a handle is gone: its state was passed to a later step, its aux is no longer kept, or its run is
    closed."""

    default_reason = "STALE_STATE"


class JobFailedError(AlpaError):
    """The job failed or was stopped. `cause` is USER, PLATFORM or INFRASTRUCTURE for a failed job, otherwise NONE.
    `worker` and `op` say where the first error occurred, if known."""

    default_reason = "JOB_FAILED"

    def __init__(self, message, reason=None, cause="NONE", worker="", op=""):
        super().__init__(message, reason)
        self.cause = cause
        self.worker = worker
        self.op = op


class JobNotFoundError(AlpaError):
    """There is no job with this id."""

    default_reason = "JOB_NOT_FOUND"


class UnreachableError(AlpaError, ConnectionError):
    """A daemon does not answer."""

    default_reason = "UNREACHABLE"


class DeadlineError(AlpaError, TimeoutError):
    """A reply did not arrive in time, or a job did not start in time."""

    default_reason = "DEADLINE"


class DaemonError(AlpaError):
    """alpa.local() could not find or start a daemon, or a daemon ended."""

    default_reason = "DAEMON"


_BY_REASON = {
    cls.default_reason: cls
    for cls in (ProgramError, UnsupportedOpError, PlanError, StaleStateError, JobFailedError, JobNotFoundError)
}
_BY_REASON["BAD_PLAN"] = PlanError
_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: UnreachableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.INVALID_ARGUMENT: InputError,
    grpc.StatusCode.UNIMPLEMENTED: ProgramError,
}


def from_reason(reason, message):
    """Returns the exception for a stable reason word."""
    return _BY_REASON.get(reason, AlpaError)(message, reason)


def from_rpc(error, doing):
    """Returns the exception for a failed call. `doing` is the attempted action: "submitting step to 127.0.0.1:7400"."""
    if isinstance(error, AlpaError):
        return error
    reason = ""
    for key, value in error.trailing_metadata() or ():
        if key == "alpa-reason":
            reason = value if isinstance(value, str) else value.decode()
    code = error.code()
    message = f"{doing}: {error.details() or code.name}"
    cls = _BY_REASON.get(reason) or _BY_CODE.get(code, AlpaError)
    if cls is UnreachableError and not reason:
        message += "; check that the daemon runs and that the address is right"
    return cls(message, reason or code.name)
