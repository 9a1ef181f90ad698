# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What can go wrong. Every message says what, where, and what to do now."""


class VerlError(Exception):
    """Root of the errors this package raises on purpose."""


class ConfigError(VerlError):
    """A bad key, value or combination of settings; raised before anything expensive starts."""


class DataError(VerlError):
    """A row or a prompt that cannot be used."""


class MediaError(DataError):
    """A video that cannot be read, or a cache entry that does not fit what was asked for."""


class AlignmentError(DataError):
    """Placeholders and vision features differ in number. Always fatal: the pairing of text and pixels is lost."""


class ContractError(VerlError):
    """A plug-in (reward, advantage, loss, adapter) returned something else than its contract promises."""


class NoSignal(VerlError):
    """No group of responses was worth training on within the allowed number of attempts."""


class WorkerError(VerlError):
    """A remote process failed or died."""


class CheckpointError(VerlError):
    """A checkpoint that is missing, incomplete, or made for something else."""
