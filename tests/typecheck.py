# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The run-time type checker of the tests: shapes by jaxtyping, and an int where a float is declared is fine."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
