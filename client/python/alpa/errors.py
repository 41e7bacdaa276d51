"""What can go wrong, as exception classes.

Every one is an AlpaError with `.reason`, the stable word that the daemons use (BAD_PROGRAM, NO_FEASIBLE_PLAN, ...), so
that a caller can act on it without reading the message.
"""

import grpc


class AlpaError(Exception):
    """Base of all errors of this package. `reason` is a stable word; the message is for people."""

    default_reason = "UNKNOWN"

    def __init__(self, message, reason=None):
        super().__init__(message)
        self.reason = reason or self.default_reason


class InputError(AlpaError, ValueError):
    """An argument does not fit: count, structure, shape or dtype. Nothing was submitted; nothing changed."""

    default_reason = "BAD_INPUT"


class ProgramError(AlpaError):
    """The program was refused: damaged, not a step, or it holds an op that is not supported."""

    default_reason = "BAD_PROGRAM"


class UnsupportedOpError(ProgramError):
    """The program holds an op that is not supported; the message names it and where it comes from."""

    default_reason = "UNSUPPORTED_OP"


class PlanError(AlpaError):
    """No plan fits what was asked: too few devices, a count that does not divide, a program that cannot be split so; or a
    plan that was given does not fit (`reason` BAD_PLAN)."""

    default_reason = "NO_FEASIBLE_PLAN"


class StaleStateError(AlpaError):
    """A handle whose value is gone: its state was given to a later step, or its aux is no longer kept."""

    default_reason = "STALE_STATE"


class JobFailedError(AlpaError):
    """The job failed. `cause` is USER, PLATFORM or INFRASTRUCTURE; `worker` and `op` say where it began, if known."""

    default_reason = "JOB_FAILED"

    def __init__(self, message, reason=None, cause="NONE", worker="", op=""):
        super().__init__(message, reason)
        self.cause = cause
        self.worker = worker
        self.op = op


class JobNotFoundError(AlpaError):
    """There is no job of that id."""

    default_reason = "JOB_NOT_FOUND"


class UnreachableError(AlpaError, ConnectionError):
    """A daemon does not answer."""

    default_reason = "UNREACHABLE"


class DeadlineError(AlpaError, TimeoutError):
    """An answer did not come in time."""

    default_reason = "DEADLINE"


class DaemonError(AlpaError):
    """alpa.local() could not find or start the daemons."""

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
    """The exception for a stable reason word."""
    return _BY_REASON.get(reason, AlpaError)(message, reason)


def from_rpc(error, doing):
    """The exception for a failed call. `doing` says what was attempted: "submitting the program to 127.0.0.1:7400"."""
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
        message += "; is the daemon running, and is the address right?"
    return cls(message, reason or code.name)
