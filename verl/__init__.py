# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning for video-language models."""

__version__ = "0.1.0"
